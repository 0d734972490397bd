# wan.sh NAME SHAPE: the host's link to the router, and what leads out by it; part of topology.sh, and run once more where it is made anew.
name=$1 shape=$2

ip link add wan0 netns "$name-host" type veth peer name lan0 netns "$name-router"
ip -n "$name-router" -batch - <<END
link set lan0 up
addr add 198.51.100.254/24 dev lan0
addr add 2001:db8:1::fe/64 dev lan0 nodad
END
ip -n "$name-host" -batch - <<END
link set wan0 up
addr add 198.51.100.1/24 dev wan0
END
[ "$shape" = withoutIPv6 ] || ip -n "$name-host" addr add 2001:db8:1::1/64 dev wan0 nodad
[ "$shape" = withoutDefaultRoute ] && exit
ip -n "$name-host" route add default via 198.51.100.254
[ "$shape" = withoutIPv6 ] || ip -n "$name-host" route add default via 2001:db8:1::fe dev wan0
