# topology.sh NAME SHAPE: the three hosts of Network.swift.
name=$1 shape=$2

for host in host router remote; do
    ip netns add "$name-$host"
    # New links must not wait for duplicate address detection; errors at full rate. Before Linux 6.12 all namespaces share one limit for what the masks name,
    # and so all tests that run at once: 255 is no type that there is. Older kernels have no mask for IPv6.
    nsenter --net="/run/netns/$name-$host" sh -eu -c '
        cd /proc/sys/net
        for conf in all default lo; do echo 0 >ipv6/conf/$conf/accept_dad; done
        echo 0 >ipv4/icmp_ratelimit
        echo 0 >ipv6/icmp/ratelimit
        echo 0 >ipv4/icmp_ratemask
        [ ! -e ipv6/icmp/ratemask ] || echo 255 >ipv6/icmp/ratemask'
    ip -n "$name-$host" link set lo up
done
[ "$shape" = withoutPing ] || nsenter --net="/run/netns/$name-host" sh -eu -c 'echo 0 0 >/proc/sys/net/ipv4/ping_group_range'
nsenter --net="/run/netns/$name-router" sh -eu -c '
    echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
[ "$shape" = withoutIPv6 ] && nsenter --net="/run/netns/$name-host" sh -eu -c '
    for conf in all default lo; do echo 1 >/proc/sys/net/ipv6/conf/$conf/disable_ipv6; done'

ip link add srv0 netns "$name-remote" type veth peer name lan1 netns "$name-router"
ip -n "$name-remote" -batch - <<END
link set srv0 up
addr add 203.0.113.2/24 dev srv0
addr add 2001:db8:2::2/64 dev srv0 nodad
END
ip -n "$name-router" -batch - <<END
link set lan1 up
addr add 203.0.113.254/24 dev lan1
addr add 2001:db8:2::fe/64 dev lan1 nodad
END
ip -n "$name-remote" -batch - <<END
route add default via 203.0.113.254
route add default via 2001:db8:2::fe dev srv0
END
[ "$shape" = withoutInterface ] || . "${0%/*}/wan.sh"
