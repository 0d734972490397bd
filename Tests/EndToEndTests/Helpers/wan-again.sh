# wan-again.sh NAME: the host's link to the router, once more, as topology.sh makes it.
name=$1

# Its number must be another.
ip link add spare0 netns "$name-host" type veth peer name spare1 netns "$name-host"
ip link add wan0 netns "$name-host" type veth peer name lan0 netns "$name-router"
ip -n "$name-router" -batch - <<END
link set lan0 up
addr add 198.51.100.254/24 dev lan0
addr add 2001:db8:1::fe/64 dev lan0 nodad
END
ip -n "$name-host" -batch - <<END
link set wan0 up
addr add 198.51.100.1/24 dev wan0
addr add 2001:db8:1::1/64 dev wan0 nodad
route add default via 198.51.100.254
END
ip -n "$name-host" route add default via 2001:db8:1::fe dev wan0
