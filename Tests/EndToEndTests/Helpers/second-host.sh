# second-host.sh NAME: a second host behind the router, NAME-other, that has the first one's addresses. "second-host.sh turn lan0 lan2", on the router: from here
# on it is the one that is reached; with lan2 and lan0, the first one again.
if [ "$1" = turn ]; then
    ip -batch - <<END
addr del 198.51.100.254/24 dev $2
addr del 2001:db8:1::fe/64 dev $2
addr add 198.51.100.254/24 dev $3
addr add 2001:db8:1::fe/64 dev $3 nodad
END
    exit
fi
name=$1
nsenter --net="/run/netns/$name-other" sh -eu -c '
    cd /proc/sys/net
    for conf in all default lo; do echo 0 >ipv6/conf/$conf/accept_dad; done
    echo 0 0 >ipv4/ping_group_range
    # See topology.sh.
    echo 0 >ipv4/icmp_ratemask
    [ ! -e ipv6/icmp/ratemask ] || echo 255 >ipv6/icmp/ratemask'
ip link add wan0 netns "$name-other" type veth peer name lan2 netns "$name-router"
ip -n "$name-router" link set lan2 up
ip -n "$name-other" -batch - <<END
link set lo up
link set wan0 up
addr add 198.51.100.1/24 dev wan0
addr add 2001:db8:1::1/64 dev wan0 nodad
route add default via 198.51.100.254
route add default via 2001:db8:1::fe dev wan0
END
