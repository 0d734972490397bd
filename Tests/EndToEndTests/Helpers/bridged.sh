# bridged.sh NAME: a machine that is a bridge, as those of containers and nested machines are. Behind it is the host NAME-last with a link address of its own.
#
#     passt ... eth0  br0, the machine's  in0 --- out0  last
#                                                       198.51.100.77/24, 2001:db8:1::77/64
name=$1
ip link add in0 netns "$name-vm" type veth peer name out0 netns "$name-last"
ip -n "$name-vm" -batch - <<END
link add br0 address 02:00:00:00:77:01 type bridge
link set in0 master br0 up
link set br0 up
END
ip -n "$name-last" -batch - <<END
link set lo up
link set out0 up
addr add 198.51.100.77/24 dev out0
addr add 2001:db8:1::77/64 dev out0 nodad
route add default via 198.51.100.254
route add default via 2001:db8:1::fe dev out0
END
