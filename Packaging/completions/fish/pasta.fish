# fish completion for pasta. Made from the option table by `swift run completions`: not to be edited.
complete -c pasta -f
function __swift_pasta_has_command
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        if contains -- $words[1] -P --pid -l --log-file --log-size -p --pcap --stats --runas -c --conf-path -a --address -n --netmask -g --gateway -M --mac-addr -m --mtu -i --interface -o --outbound --outbound-if4 --outbound-if6 --map-host-loopback --map-guest-addr -D --dns --dns-forward --dns-host -S --search -H --hostname --fqdn --netns --userns -I --ns-ifname --ns-mac-addr -t --tcp-ports -u --udp-ports -T --tcp-ns -U --udp-ns
            set -e words[1]
        else if test "$words[1]" = --
            return 0
        else if not string match -q -- '-*' $words[1]
            return 0
        end
        set -e words[1]
    end
    return 1
end
complete -c pasta -x -n '__swift_pasta_has_command; or not string match -q -- "-*" (commandline -ct)' -a '(__fish_complete_subcommand -P --pid -l --log-file --log-size -p --pcap --stats --runas -c --conf-path -a --address -n --netmask -g --gateway -M --mac-addr -m --mtu -i --interface -o --outbound --outbound-if4 --outbound-if6 --map-host-loopback --map-guest-addr -D --dns --dns-forward --dns-host -S --search -H --hostname --fqdn --netns --userns -I --ns-ifname --ns-mac-addr -t --tcp-ports -u --udp-ports -T --tcp-ns -U --udp-ns)'
complete -c pasta -n 'not __swift_pasta_has_command' -s h -l help -d 'Print this text and exit'
complete -c pasta -n 'not __swift_pasta_has_command' -l version -d 'Print the version and exit'
complete -c pasta -n 'not __swift_pasta_has_command' -s f -l foreground -d 'Stay in the foreground'
complete -c pasta -n 'not __swift_pasta_has_command' -s P -l pid -r -F -d 'Write the process number to FILE once everything is set up'
complete -c pasta -n 'not __swift_pasta_has_command' -s q -l quiet -d 'Print warnings and errors only'
complete -c pasta -n 'not __swift_pasta_has_command' -s d -l debug -d 'Print what happens'
complete -c pasta -n 'not __swift_pasta_has_command' -l trace -d 'The same as --debug'
complete -c pasta -n 'not __swift_pasta_has_command' -s e -l stderr -d 'Accepted for old callers, and without effect'
complete -c pasta -n 'not __swift_pasta_has_command' -s l -l log-file -r -F -d 'Write messages to FILE'
complete -c pasta -n 'not __swift_pasta_has_command' -l log-size -x -d 'Size at which the log file loses its oldest part'
complete -c pasta -n 'not __swift_pasta_has_command' -s p -l pcap -r -F -d 'Record all frames in FILE, in pcap format'
complete -c pasta -n 'not __swift_pasta_has_command' -l stats -x -d 'Print counters when they changed, at most this often'
complete -c pasta -n 'not __swift_pasta_has_command' -l runas -x -a '(__fish_complete_users)' -d 'Become this user if started as root'
complete -c pasta -n 'not __swift_pasta_has_command' -l chroot-fallback -d 'Where the root directory cannot be replaced (an initial ramdisk), change it instead'
complete -c pasta -n 'not __swift_pasta_has_command' -s c -l conf-path -r -F -d 'Make a UNIX socket by which pesto, started by the same user, changes forwarded ports while the program runs'
complete -c pasta -n 'not __swift_pasta_has_command' -s a -l address -x -d 'The guest\'s address, once for each of IPv4 and IPv6'
complete -c pasta -n 'not __swift_pasta_has_command' -s n -l netmask -x -d 'The guest\'s IPv4 prefix, as a number of bits or as a mask'
complete -c pasta -n 'not __swift_pasta_has_command' -s g -l gateway -x -d 'The guest\'s router, once for each of IPv4 and IPv6'
complete -c pasta -n 'not __swift_pasta_has_command' -s M -l mac-addr -x -d 'Our own link address'
complete -c pasta -n 'not __swift_pasta_has_command' -s m -l mtu -x -d 'The MTU that the guest is given, up to 65521'
complete -c pasta -n 'not __swift_pasta_has_command' -s i -l interface -x -a '(__fish_print_interfaces)' -d 'The host interface from which addresses and routes are taken'
complete -c pasta -n 'not __swift_pasta_has_command' -s o -l outbound -x -d 'The host address that connections to the outside come from'
complete -c pasta -n 'not __swift_pasta_has_command' -l outbound-if4 -x -a '(__fish_print_interfaces)' -d 'The host interface that IPv4 leaves by'
complete -c pasta -n 'not __swift_pasta_has_command' -l outbound-if6 -x -a '(__fish_print_interfaces)' -d 'The host interface that IPv6 leaves by'
complete -c pasta -n 'not __swift_pasta_has_command' -l map-host-loopback -x -a 'none' -d 'The guest reaches the host\'s loopback at ADDR, and sees the host\'s loopback as ADDR'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-map-gw -d 'The gateway\'s address does not lead to the host\'s loopback'
complete -c pasta -n 'not __swift_pasta_has_command' -l map-guest-addr -x -a 'none' -d 'The guest reaches the host\'s own external address at ADDR, since it usually has the same one itself'
complete -c pasta -n 'not __swift_pasta_has_command' -s 4 -l ipv4-only -d 'No IPv6 for the guest'
complete -c pasta -n 'not __swift_pasta_has_command' -s 6 -l ipv6-only -d 'No IPv4 for the guest'
complete -c pasta -n 'not __swift_pasta_has_command' -l freebind -d 'Listen on addresses that the host does not have yet'
complete -c pasta -n 'not __swift_pasta_has_command' -s D -l dns -x -a 'none' -d 'A resolver for the guest, as often as needed'
complete -c pasta -n 'not __swift_pasta_has_command' -l dns-forward -x -d 'Queries that the guest sends to ADDR go to --dns-host'
complete -c pasta -n 'not __swift_pasta_has_command' -l dns-host -x -d 'Where --dns-forward leads'
complete -c pasta -n 'not __swift_pasta_has_command' -s S -l search -x -a 'none' -d 'Search domains for the guest, with commas between them'
complete -c pasta -n 'not __swift_pasta_has_command' -l dhcp-dns -d 'Tell the guest its resolvers by DHCP, DHCPv6 and NDP'
complete -c pasta -n 'not __swift_pasta_has_command' -l dhcp-search -d 'Tell the guest its search domains in the same way'
complete -c pasta -n 'not __swift_pasta_has_command' -s H -l hostname -x -d 'The guest\'s host name, given out by DHCP'
complete -c pasta -n 'not __swift_pasta_has_command' -l fqdn -x -d 'The guest\'s full name, given out by DHCP and DHCPv6'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-tcp -d 'No TCP'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-udp -d 'No UDP'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-icmp -d 'No ping, nor anything else of ICMP'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-dhcp -d 'Answer no DHCP'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-dhcpv6 -d 'Answer no DHCPv6'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-ndp -d 'Answer no IPv6 neighbour discovery'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-ra -d 'Send no router advertisements'
complete -c pasta -n 'not __swift_pasta_has_command' -l netns -r -F -a '(path basename /run/netns/* 2>/dev/null)' -d 'Join this network namespace'
complete -c pasta -n 'not __swift_pasta_has_command' -l userns -r -F -d 'The user namespace to join before it'
complete -c pasta -n 'not __swift_pasta_has_command' -l netns-only -d 'Join or create no user namespace'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-netns-quit -d 'Keep running when the file of --netns is deleted'
complete -c pasta -n 'not __swift_pasta_has_command' -l config-net -d 'Set up the namespace\'s interface, addresses and routes'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-copy-routes -d 'With --config-net'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-copy-addrs -d 'With --config-net'
complete -c pasta -n 'not __swift_pasta_has_command' -s I -l ns-ifname -x -d 'The interface\'s name in the namespace'
complete -c pasta -n 'not __swift_pasta_has_command' -l ns-mac-addr -x -d 'The interface\'s link address'
complete -c pasta -n 'not __swift_pasta_has_command' -s t -l tcp-ports -x -a 'none auto all' -d 'TCP ports of the host that lead to the guest'
complete -c pasta -n 'not __swift_pasta_has_command' -s u -l udp-ports -x -a 'none auto all' -d 'UDP ports of the host that lead to the guest, in the same way'
complete -c pasta -n 'not __swift_pasta_has_command' -s T -l tcp-ns -x -a 'none auto all' -d 'TCP ports of the namespace\'s loopback that lead to the host\'s loopback, in the same way'
complete -c pasta -n 'not __swift_pasta_has_command' -s U -l udp-ns -x -a 'none auto all' -d 'UDP ports of the namespace\'s loopback that lead to the host\'s loopback, in the same way'
complete -c pasta -n 'not __swift_pasta_has_command' -l host-lo-to-ns-lo -d 'What comes from the host\'s loopback arrives at the namespace\'s loopback'
complete -c pasta -n 'not __swift_pasta_has_command' -l no-splice -d 'Connections between loopback addresses take no shortcut'
complete -c pasta -n 'not __swift_pasta_has_command' -l splice-only -d 'No interface at all, only connections between loopback addresses, by -t, -u, -T and -U'
