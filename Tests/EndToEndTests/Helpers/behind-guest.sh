# behind-guest.sh NAME: two hosts behind the namespace NAME-guest, which becomes their router. Neither end of a connection of the last one's knows how small
# the link between the other two is.
#
#     guest  in0 --- MTU 1400 --- out0  middle  in1 --- MTU 9000 --- out1  last
#            10.77.1.1/24  10.77.1.2/24         10.77.2.1/24  10.77.2.2/24
#            2001:db8:77::1/64  ::2             2001:db8:78::1/64  ::2
name=$1
for host in guest middle last; do
    nsenter --net="/run/netns/$name-$host" sh -eu -c '
        for conf in all default; do echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad; done
        ip link set lo up'
done
for host in guest middle; do
    nsenter --net="/run/netns/$name-$host" sh -eu -c '
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
done
ip link add in0 netns "$name-guest" mtu 1400 type veth peer name out0 netns "$name-middle" mtu 1400
ip link add in1 netns "$name-middle" mtu 9000 type veth peer name out1 netns "$name-last" mtu 9000
ip -n "$name-guest" -batch - <<END
link set in0 up
addr add 10.77.1.1/24 dev in0
addr add 2001:db8:77::1/64 dev in0 nodad
route add 10.77.2.0/24 via 10.77.1.2
route add 2001:db8:78::/64 via 2001:db8:77::2 dev in0
END
ip -n "$name-middle" -batch - <<END
link set out0 up
link set in1 up
addr add 10.77.1.2/24 dev out0
addr add 10.77.2.1/24 dev in1
addr add 2001:db8:77::2/64 dev out0 nodad
addr add 2001:db8:78::1/64 dev in1 nodad
route add default via 10.77.1.1
route add default via 2001:db8:77::1 dev out0
END
ip -n "$name-last" -batch - <<END
link set out1 up
addr add 10.77.2.2/24 dev out1
addr add 2001:db8:78::2/64 dev out1 nodad
route add default via 10.77.2.1
route add default via 2001:db8:78::1 dev out1
END
