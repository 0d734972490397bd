"""abuse.py WHAT COUNT SERVER ROUTER: runs in the guest, as root of its namespace, and sends frames that no kernel would.

  syn         SYNs from many addresses and ports to port 4500 of SERVER, and to where nobody is; none is ever completed
  udp         datagrams to COUNT destinations
  ping        echo requests of COUNT identifiers
  arp         claims to be ROUTER, in requests and replies
  own         frames from the router's own link-layer address
  spoof       datagrams and SYNs from addresses that cannot be, and from others' that can
  fragments   parts of packets, of both families
  extensions  chains of IPv6 extension headers
  lengths     every length field with every extreme, frames cut anywhere
  noise       random bytes behind headers that make sense
  numbers     resets, SYNs and data with wrong numbers into a live connection, which must go on
  idle        COUNT connections to port 4600 of SERVER, whose data is never read here; until it is ended

Prints "ok" and how many frames went out.
"""
import errno
import random
import socket
import struct
import sys
import time

what, count, server, router = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
random.seed(7)
name = next(n for _, n in socket.if_nameindex() if n != "lo")
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((name, 0))
mac = wire.getsockname()[4]
their_mac = bytes.fromhex("9a559a559a55")
six = ":" in server
sent, waiting = 0, []


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def own_address():
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((server, 9))
        return probe.getsockname()[0]


def dropped():
    """What the interface has dropped for lack of room, so far."""
    line = next(line for line in open("/proc/self/net/dev") if line.strip().startswith(name + ":"))
    return int(line.split(":")[1].split()[11])


def put(frame):
    waiting.append(frame)
    if len(waiting) == 100:
        flush()


def flush():
    """Sends what waits. The other side is to see all of it, so what the interface's queue could not take is sent again, but for the largest floods."""
    global sent
    for attempt in range(50 if count < 50000 else 1):
        before = dropped()
        for frame in waiting:
            try:
                wire.send(frame)
            except OSError as error:
                # Not even the kernel takes it; a full queue shows below.
                if error.errno not in (errno.EINVAL, errno.EMSGSIZE, errno.ENOBUFS):
                    raise
        if dropped() == before:
            break
        time.sleep(0.002 * (attempt + 1))
    sent += len(waiting)
    waiting.clear()


def ethernet(kind, payload, source=None, destination=their_mac):
    return destination + (source or mac) + struct.pack("!H", kind) + payload


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ip4(proto, payload, source, destination, fragment=0, length=None):
    head = struct.pack("!BBHHHBBH", 0x45, 0, (length if length is not None else 20 + len(payload)) & 0xFFFF, 1, fragment, 64, proto, 0)
    head += address(source) + address(destination)
    return ethernet(0x0800, head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload)


def ip6(proto, payload, source, destination, length=None):
    head = struct.pack("!IHBB", 6 << 28, (length if length is not None else len(payload)) & 0xFFFF, proto, 64)
    return ethernet(0x86DD, head + address(source) + address(destination) + payload)


def ip(proto, payload, source, destination):
    return (ip6 if ":" in destination else ip4)(proto, payload, source, destination)


def udp(source, destination, payload=b"x", length=None):
    return struct.pack("!HHHH", source, destination, (length if length is not None else 8 + len(payload)) & 0xFFFF, 0) + payload


def tcp(source, destination, flags, sequence=1000, acknowledgment=0, payload=b""):
    return struct.pack("!HHIIBBHHH", source, destination, sequence & 0xFFFFFFFF, acknowledgment & 0xFFFFFFFF, 0x50, flags, 65535, 0, 0) + payload


def neighbours(number):
    return f"2001:db8:1::{0x1000 + number % 0x1000:x}" if six else f"198.51.100.{20 + number % 200}"


nobody = "2001:db8:2::77" if six else "203.0.113.77"
own = own_address()

if what == "syn":
    for number in range(count):
        put(ip(6, tcp(1 + number % 65000, 4500, 2), neighbours(number), server if number % 2 else nobody))
elif what == "udp":
    for number in range(count):
        put(ip(17, udp(4001 + number // 65000, 1 + number % 65000), own, server))
elif what == "ping":
    for number in range(count):
        head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, number % 65536, 1) + b"abuse..."
        put(ip(58 if six else 1, head, own, server))
elif what == "arp":
    for operation in (1, 2):
        for sender in (mac, their_mac, b"\x02\0\0\0\0\x09"):
            for target in (router, own):
                put(ethernet(0x0806, struct.pack("!HHBBH", 1, 0x800, 6, 4, operation) + sender + address(router) + bytes(6) + address(target), destination=b"\xff" * 6))
elif what == "own":
    for number in range(count):
        frame = ip(17, udp(9, 9), own, server) if number % 2 else ip(6, tcp(9, 9, 2), own, server)
        put(frame[:6] + their_mac + frame[12:])
elif what == "spoof":
    sources = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.1.2.3", router, "203.0.113.254", "240.0.0.1"]
    for number in range(count):
        for source in sources + [socket.inet_ntoa(random.randbytes(4))]:
            put(ip4(17, udp(1 + number % 65000, 9), source, server))
            put(ip4(6, tcp(1 + number % 65000, 9, 2), source, server))
elif what == "fragments":
    for number in range(count):
        put(ip4(17, bytes(24), own, "203.0.113.2", fragment=random.choice([0x2000, 1, 0x1FFF, 0x2001, 0x3FFF])))
        put(ip6(44, struct.pack("!BBHI", 17, 0, random.choice([1, 8, 0xFFF9]), number) + bytes(16), "2001:db8:1::1", "2001:db8:2::2"))
elif what == "extensions":
    for number in range(count):
        depth = random.randrange(1, 150)
        kinds = [random.choice([0, 43, 44, 60]) for _ in range(depth)] + [random.choice([6, 17, 58, 59, 255])]
        chain = b"".join(struct.pack("!BBBBI", kind, random.choice([0, 0, 0, 1, 255]), random.randrange(256), random.randrange(256), 0) for kind in kinds[1:])
        put(ip6(kinds[0], chain + tcp(1, 9, 2), "2001:db8:1::1", "2001:db8:2::2"))
elif what == "lengths":
    frames = [ip4(6, tcp(1, 9, 2), "198.51.100.1", "203.0.113.2"), ip4(17, udp(1, 9), "198.51.100.1", "203.0.113.2"), ip6(6, tcp(1, 9, 2), "2001:db8:1::1", "2001:db8:2::2")]
    for frame in frames:
        for cut in range(14, len(frame)):
            put(frame[:cut])
            for value in (0, 1, 0x7F, 0x80, 0xFF):
                put(frame[:cut] + bytes([value]) + frame[cut + 1:])
    for length in (0, 1, 19, 20, 27, 28, 65535):
        put(ip4(17, udp(1, 9, length=length), "198.51.100.1", "203.0.113.2", length=length))
        put(ip6(17, udp(1, 9, length=length), "2001:db8:1::1", "2001:db8:2::2", length=length))
elif what == "noise":
    for number in range(count):
        rubbish = random.randbytes(random.randrange(0, 200))
        kind = number % 5
        if kind == 0:
            put(ethernet(random.choice([0x0800, 0x86DD, 0x0806, random.randrange(65536)]), rubbish))
        elif kind == 1:
            put(ip4(random.choice([1, 6, 17, random.randrange(256)]), rubbish, own if not six else "198.51.100.1", "203.0.113.2"))
        elif kind == 2:
            put(ip6(random.choice([0, 6, 17, 43, 44, 58, 60]), rubbish, "2001:db8:1::1", "2001:db8:2::2"))
        elif kind == 3:
            put(ip4(17, udp(68, 67, b"\1\1\6\0" + bytes(232) + b"\x63\x82\x53\x63" + rubbish), "0.0.0.0", "255.255.255.255"))
        else:
            put(ip6(17, udp(546, 547, b"\1\0\0\1" + rubbish), "fe80::1234", "ff02::1:2"))
elif what == "numbers":
    live = socket.create_connection((server, 4000), timeout=10)
    live.sendall(b"echo\nbefore")
    data = b""
    while len(data) < 6:
        data += live.recv(100)
    port = live.getsockname()[1]
    for number in range(count):
        guess, other = random.getrandbits(32), random.getrandbits(32)
        for flags, payload in ((4, b""), (20, b""), (2, b""), (18, b""), (24, b"evil"), (17, b""), (0, b"evil")):
            put(ip(6, tcp(port, 4000, flags, guess, other, payload), own, server))
    flush()
    live.sendall(b"after")
    live.shutdown(socket.SHUT_WR)
    while part := live.recv(100):
        data += part
    assert data == b"beforeafter", data
elif what == "idle":
    connections = []
    for _ in range(count):
        connections.append(socket.create_connection((server, 4600), timeout=10))
    print("ok", flush=True)
    time.sleep(1000)
else:
    sys.exit(f"no such attack: {what}")
flush()
print(f"ok {sent}")
