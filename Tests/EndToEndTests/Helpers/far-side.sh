# far-side.sh NAME: the host has another interface, with another host at its end, NAME-far. The router knows the way there.
#
#     host  wan1 ---------- far0  far
#     192.0.2.1/24       192.0.2.2/24
#     2001:db8:3::1/64   2001:db8:3::2/64
name=$1
nsenter --net="/run/netns/$name-far" sh -eu -c '
    for conf in all default lo; do echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad; done'
ip link add wan1 netns "$name-host" type veth peer name far0 netns "$name-far"
ip -n "$name-host" -batch - <<END
link set wan1 up
addr add 192.0.2.1/24 dev wan1
addr add 2001:db8:3::1/64 dev wan1 nodad
END
ip -n "$name-far" -batch - <<END
link set lo up
link set far0 up
addr add 192.0.2.2/24 dev far0
addr add 2001:db8:3::2/64 dev far0 nodad
route add default via 192.0.2.1
route add default via 2001:db8:3::1 dev far0
END
ip -n "$name-router" -batch - <<END
route add 192.0.2.0/24 via 198.51.100.1
route add 2001:db8:3::/64 via 2001:db8:1::1 dev lan0
END
