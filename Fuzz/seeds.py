#!/usr/bin/env python3
"""Writes seed inputs, one directory per target, below the directory given."""
import pathlib
import socket
import struct
import sys

root = pathlib.Path(sys.argv[1])
GUEST, ROUTER = bytes.fromhex("525400123456"), bytes.fromhex("9a559a559a55")


def put(target, name, data):
    (root / target).mkdir(parents=True, exist_ok=True)
    (root / target / name).write_bytes(data)


def ip4(proto, payload, src="192.0.2.2", dst="192.0.2.1"):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0, socket.inet_aton(src), socket.inet_aton(dst))
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + head[12:]
    return ROUTER + GUEST + b"\x08\x00" + head + payload


def ip6(proto, payload, src="2001:db8::2", dst="2001:db8::1", hops=255):
    addresses = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
    return ROUTER + GUEST + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(payload), proto, hops) + addresses + payload


def tcp(flags, payload=b"", options=b"", port=80):
    return struct.pack("!HHIIBBHHH", 40000, port, 1000, 0, (20 + len(options)) // 4 << 4, flags, 65535, 0, 0) + options + payload


def udp(source, destination, payload):
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def row(*frames, virtio=bytes(10)):
    return b"".join(struct.pack("<HB", len(frame), repair) + virtio + frame for repair, frame in frames)


syn = tcp(2, options=bytes.fromhex("020405b4 01030307 0402 0101"))
dhcp = struct.pack("!BBBBIHH", 1, 1, 6, 0, 7, 0, 0) + bytes(16) + GUEST + bytes(202) + bytes.fromhex("63825363 350101 370401030679 3d070152540012345 6 ff".replace(" ", ""))
dhcp6 = bytes.fromhex("01 123456 0001000a 00030001525400123456 0003000c 00000001 00000000 00000000 00060004 00170018".replace(" ", ""))
ns = bytes.fromhex("87000000 00000000") + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + b"\x01\x01" + GUEST
rs = bytes.fromhex("85000000 00000000 0101") + GUEST
arp = b"\xff" * 6 + GUEST + bytes.fromhex("0806 0001 0800 06 04 0001") + GUEST + socket.inet_aton("192.0.2.2") + bytes(6) + socket.inet_aton("192.0.2.1")
local = {
    "arp": arp, "dhcp": ip4(17, udp(68, 67, dhcp), "0.0.0.0", "255.255.255.255"),
    "dhcpv6": ip6(17, udp(546, 547, dhcp6), "fe80::5054:ff:fe12:3456", "ff02::1:2", 1), "ns": ip6(58, ns), "rs": ip6(58, rs, "fe80::5054:ff:fe12:3456", "ff02::2"),
}
for name, frame in local.items():
    put("local", name, frame)
    put("frames", name, row((1, frame)))
echo = bytes.fromhex("0800f7ff 1234 0000") + b"ping"
put("frames", "connection", row((1, ip4(6, syn)), (3, ip4(6, tcp(0x10))), (3, ip4(6, tcp(0x18, b"GET /\n"))), (3, ip4(6, tcp(0x10))), (3, ip4(6, tcp(0x11)))))
put("frames", "connection6", row((0, ip6(6, syn)), (2, ip6(6, tcp(0x18, b"x"))), (2, ip6(6, tcp(4)))))
put("frames", "refused", row((1, ip4(6, tcp(2, port=9)))))
put("frames", "udp", row((1, ip4(17, udp(4000, 9, b"hello"))), (1, ip4(17, udp(4000, 53, b"q"), dst="192.0.2.53"))))
too_big = ip4(1, bytes.fromhex("0304 0000 0000 0578") + ip4(6, tcp(0x10), "192.0.2.1", "192.0.2.2")[14:])
too_big6 = ip6(58, bytes.fromhex("02000000 00000578") + ip6(17, udp(80, 4000, b"hello"), "2001:db8::1", "2001:db8::2")[14:])
put("frames", "too-big", row((1, ip4(6, syn)), (3, ip4(6, tcp(0x10))), (1, too_big), (0, ip6(17, udp(4000, 80, b"hello"))), (0, too_big6)))
put("frames", "udp-answered", row((1, ip4(17, udp(4000, 80, b"hello"))), (1, ip4(17, udp(4001, 80, b"")))) + bytes(1))
put("frames", "udp-answered-apart", row((1, ip4(17, udp(4000, 80, b"hello"))), (1, ip4(17, udp(4001, 80, b"")))))
put("frames", "udp6", row((0, ip6(17, udp(4000, 9, b"hello"))), (0, ip6(17, udp(4000, 5353, b"m"), dst="ff02::fb"))))
put("frames", "uso", row((1, ip4(17, udp(4000, 9, bytes(3000)))), virtio=struct.pack("<BBHHHH", 1, 5, 42, 1000, 34, 6)))
put("frames", "tso", row((1, ip4(6, syn)), (3, ip4(6, tcp(0x18, bytes(3000)))), virtio=struct.pack("<BBHHHH", 1, 1, 54, 1000, 34, 16)))
put("frames", "ping", row((1, ip4(1, echo)), (0, ip6(58, bytes.fromhex("8000 0000 1234 0000") + b"ping"))))
put("frames", "extension", row((0, ip6(0, bytes([6, 0, 5, 2, 0, 0, 1, 0]) + syn)), (0, ip6(44, bytes([17, 0, 0, 1, 0, 0, 0, 1]) + udp(1, 2, b"x")))))
# Visitors come where an input's length is a multiple of five. They are answered by SYN and acknowledgement, data, FIN.
reply = struct.pack("!HHIIBBHHH", 8080, 5555, 1000, 0, 0x50, 0x12, 65535, 0, 0)
visited = row((1, ip4(6, reply)), (1, arp), (3, ip4(6, reply)), (3, ip4(6, reply[:13] + b"\x18" + reply[14:] + b"hello")), (3, ip4(6, reply[:13] + b"\x11" + reply[14:])))
answered = row((1, ip4(17, udp(8080, 5555, b"answer"))), (1, ip4(17, udp(8080, 5555, bytes(2000)))))
for name, inputs in (("visited", visited), ("answered", answered)):
    put("frames", name, inputs + bytes(-len(inputs) % 5))
put("tcp", "syn", syn)
put("tcp", "data", tcp(0x18, b"data"))


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def netlink(kind, payload):
    return struct.pack("=IHHII", 16 + len(payload), kind, 2, 1, 0) + payload


v4, v6 = socket.inet_aton("192.0.2.1"), socket.inet_pton(socket.AF_INET6, "2001:db8::1")
hop = struct.pack("=HBBi", 16, 0, 0, 2) + attribute(5, v4)
said = {
    "link": netlink(16, struct.pack("=BxHiII", 0, 1, 2, 0x11043, 0) + attribute(3, b"eth0\0") + attribute(4, struct.pack("=I", 1500)) + attribute(1, GUEST)),
    "address": netlink(20, struct.pack("=BBBBi", 2, 24, 0, 0, 2) + attribute(1, v4) + attribute(2, v4) + attribute(6, struct.pack("=IIII", 100, 200, 0, 0))),
    "address6": netlink(20, struct.pack("=BBBBi", 10, 64, 0x80, 0, 2) + attribute(1, v6) + attribute(8, struct.pack("=I", 0x80))),
    "route": netlink(24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + attribute(5, v4) + attribute(4, struct.pack("=i", 2)) + attribute(6, struct.pack("=I", 7))),
    "subnet": netlink(24, struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 2, 253, 1, 0) + attribute(1, v4) + attribute(7, v4) + attribute(4, struct.pack("=i", 2))),
    "multipath": netlink(24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + attribute(9, hop + hop) + attribute(8, attribute(2, struct.pack("=I", 1400)))),
    "route6": netlink(24, struct.pack("=BBBBBBBBI", 10, 0, 0, 0, 254, 9, 0, 1, 0) + attribute(5, v6) + attribute(4, struct.pack("=i", 2)) + attribute(20, b"\1") + attribute(12, bytes(32))),
    "neighbour": netlink(28, struct.pack("=BxHiHBB", 2, 0, 2, 2, 0, 1) + attribute(1, v4) + attribute(2, GUEST)),
    "error": netlink(2, struct.pack("=i", -17) + bytes(16)),
    "done": netlink(3, bytes(4)),
}
for name, message in said.items():
    put("netlink", name, message)
put("netlink", "host", b"".join(said[name] for name in ("link", "address", "address6", "route", "subnet", "route6", "done")))


def bound(family, port, address, interface=0, only6=None):
    identity = struct.pack("!HH", port, 0) + address.ljust(16, b"\0") + bytes(16) + struct.pack("=III", interface, 1, 2)
    return netlink(20, struct.pack("BBBB", family, 10, 0, 0) + identity + bytes(20) + attribute(8, b"\0") + (b"" if only6 is None else attribute(11, bytes([only6]))))


put("diagnosis", "four", bound(2, 80, v4) + bound(2, 8080, socket.inet_aton("127.0.0.1"), 1) + netlink(3, bytes(4)))
put("diagnosis", "six", bound(10, 80, b"", only6=0) + bound(10, 81, b"", only6=1) + bound(10, 22, v6))
put("diagnosis", "mapped", bound(10, 24, bytes(10) + b"\xff\xff" + v4))
put("diagnosis", "error", netlink(2, struct.pack("=i", -2) + bytes(16)))
rest = " 00000000:00000000 00:00000000 00000000     0        0 20 1 0000000000000000 100 0 0 10 0\n"
head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
four = "   0: 0100007F:1F90 00000000:0000 0A" + rest
six = "12345: B80D0120000000000000000001000000:0016 00000000000000000000000000000000:0000 0A" + rest
datagrams = "  110: 00000000:0035 00000000:0000 07" + rest
put("table", "tcp", (head + four + six).encode())
put("table", "udp", (head + datagrams * 3).encode())
put("table", "cut", (head + four + six)[:-40].encode())
event = struct.pack("=iIII", 1, 0x200, 0, 16) + b"netns-5a1c".ljust(16, b"\0")
put("directory", "deleted", struct.pack("=iIII", 1, 0x40, 0, 16) + b"other".ljust(16, b"\0") + event)
put("directory", "gone", struct.pack("=iIII", 1, 0x400, 0, 0))
for number, words in enumerate([
    ["--config-net", "--", "true"], ["-f", "-d", "--mtu", "1500", "-a", "192.0.2.2/24", "-g", "192.0.2.1", "-n", "24"], ["-D", "192.0.2.53", "-S", "example.org"],
    ["-t", "80,443:8443,~22", "-u", "auto", "-T", "none", "-U", "all"], ["--map-host-loopback", "none", "--dns-forward", "192.0.2.53", "--host-lo-to-ns-lo"],
    ["--netns", "/run/netns/x", "--userns=/proc/1/ns/user"], ["-M", "52:54:00:12:34:56", "--ns-ifname", "tap0", "--runas", "1000:1000"], ["-t", "2001:db8::1%eth0/1000-2000:3000-4000"],
]):
    put("options", str(number), b"\0".join(word.encode() for word in words))
for number, value in enumerate([
    "none", "all", "auto", "80", "80,443:8443,~22", "1000-2000:3000-4000", "~1-1023", "192.0.2.1/80", "[2001:db8::1]%eth0/1000-2000:3000-4000",
    "%eth0/auto,~8000-9000", "80:192.0.2.1/8080", "all:2001:db8::9", "*,~22", "*/80", "/80-90,100:127.0.0.1",
]):
    put("ports", str(number), value.encode())


def stream(*frames):
    return b"".join(struct.pack("!I", len(frame)) + frame for frame in frames)


for kind in range(8):
    put("machine", f"local{kind}", bytes([kind, 7]) + stream(*local.values()))
put("machine", "connection", bytes([0, 40]) + stream(ip4(6, syn), ip4(6, tcp(0x10)), ip4(6, tcp(0x18, b"GET /\n")), ip4(6, tcp(0x11))))
put("machine", "deaf", bytes([1, 40]) + stream(*[ip4(1, echo)] * 20, ip4(6, syn)))
put("machine", "cut", bytes([4, 3]) + stream(arp) + stream(arp)[:20])
put("machine", "broken", bytes([0, 90]) + stream(arp) + struct.pack("!I", 65550) + bytes(100))
put("machine", "messages", bytes([2, 5]) + arp)


def good(*frames):
    return b"".join(bytes([4, len(frame)]) + frame + bytes([5]) for frame in frames)


def write(offset, data):
    return struct.pack("!BHB", 0, offset, len(data)) + data


def descriptor(ring, head, address, length, flags, after=0):
    return write(ring * 0x1000 + head * 16, struct.pack("<QIHH", 0x100000 + address, length, flags, after))


def message(request, body=b""):
    data = struct.pack("<III", request, 1, len(body)) + body
    return bytes([3, len(data)]) + data + bytes([5])


lent = b"".join(descriptor(0, head, 0x10000 + head * 2048, 2048, 2) + bytes([2, head]) for head in range(16))
for kind in range(32):
    put("memory", f"local{kind}", bytes([kind]) + lent + good(*[frame for frame in local.values() if len(frame) < 256]))
put("memory", "connection", bytes([31]) + lent + good(ip4(6, syn), ip4(6, tcp(0x10)), ip4(6, tcp(0x18, b"GET /\n")), ip4(6, tcp(0x11))))
put("memory", "indirect", bytes([31]) + write(0x8000, bytes(12) + arp) + write(0x9000, struct.pack("<QIHH", 0x108000, 12 + len(arp), 0, 0)) + descriptor(1, 3, 0x9000, 16, 4) + bytes([1, 3, 5]))
put("memory", "circle", bytes([31]) + descriptor(1, 0, 0x8000, 8, 1, 1) + descriptor(1, 1, 0x8000, 8, 1, 0) + bytes([1, 0, 5]))
put("memory", "restart", bytes([31]) + good(arp) + message(11, struct.pack("<II", 1, 0)) + message(10, struct.pack("<II", 1, 1)) + message(18, struct.pack("<II", 0, 0)) + good(arp))
put("memory", "questions", bytes([0]) + b"".join(message(request) for request in (1, 15, 17, 3, 4, 99)))


def end(address, port):
    return struct.pack("!H6x", port) + bytes(10) + b"\xff\xff" + socket.inet_aton(address)


def connection(port, received, unsent, not_sent=0):
    """SavedConnection, and its queues."""
    ends = end("192.0.2.2", port) + end("203.0.113.7", 443) + end("198.51.100.1", 20000 + port) + end("203.0.113.7", 443)
    numbers = struct.pack("!9I", 5000, 5000, 70000, 1, 100, 100, 100, 60000, 777)
    sizes = struct.pack("!HHBBBBBBH", 1460, 1440, 7, 8, 0, 7, 9, 10, 0)
    kernels = struct.pack("!12I", 1000, 2000, not_sent, 1448, 99, 1000, 60000, 60000, 60000, 2000, len(received), len(unsent))
    return (ends + numbers + sizes + kernels).ljust(256, b"\0") + received + unsent


def state(*connections):
    head = b"passtSw1" + struct.pack("!IIQ4s4x", 1, len(connections), 0x525400123456, socket.inet_aton("192.0.2.2"))
    return head + bytes(32) + b"".join(connections)


for steps in range(16):
    put("state", f"none{steps}", bytes([steps]) + state())
    put("state", f"some{steps}", bytes([steps]) + state(connection(1, b"", b""), connection(2, b"hello", b"world"), connection(3, bytes(500), bytes(700), 300)))
put("state", "hole", b"\x0f" + state(bytes(256), connection(2, b"", b"x")))
put("state", "same", b"\x0f" + state(connection(2, b"", b""), connection(2, b"", b"")))
put("state", "short", b"\x0f" + state(connection(2, b"hello", b"world"))[:-3])
put("resolver", "usual", b"# x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch a.test b.test.\noptions edns0\n")


def rule(first, last, to, protocol=6, flags=1, address=bytes(16), target=bytes(16), interface=b""):
    return address + target + interface.ljust(16, b"\0") + struct.pack("!HHHBB", first, last, to, protocol, flags)


mapped = bytes(10) + b"\xff\xff" + socket.inet_aton("127.0.0.1")
rules = [rule(80, 80, 8080), rule(8000, 8010, 9000, 17), rule(1, 65535, 1, flags=7), rule(1, 65535, 1, flags=3), rule(22, 22, 22, 6, 0, mapped, mapped, b"lo")]
for number, one in enumerate(rules):
    put("control", f"rule{number}", one)
    put("control", f"request{number}", struct.pack("!BI", 1, 1) + one + b"\0")
put("control", "both", struct.pack("!BI", 1, len(rules)) + b"".join(rules) + struct.pack("!BI", 2, 1) + rules[0] + b"\0")
put("control", "hello", b"basil:s\0" + struct.pack("!III", 2, 128, 16) + b"\1" + b"HOST".ljust(128, b"\0") + struct.pack("!II", 63, 0) + b"\0")
