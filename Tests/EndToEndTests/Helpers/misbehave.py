"""misbehave.py PATH: clients of --conf-path that do not do as they should. Prints "done"."""
import select
import socket
import struct
import sys
import time

HELLO = b"basil:s\0" + struct.pack(">III", 2, 128, 16)


def connect():
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A full queue is waited for only by a socket that blocks.
    sock.connect(sys.argv[1])
    sock.settimeout(20)
    return sock


def read(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, "closed"
        data += piece
    return data


def tables(sock):
    assert read(sock, 20) == HELLO
    count = 0
    while True:
        number = read(sock, 1)
        if number == b"\0":
            return count
        head = read(sock, 136)
        rules = struct.unpack(">I", head[132:])[0]
        read(sock, 56 * rules)
        count += 1


def rule(address=b"\0" * 16, target=b"\0" * 16, interface=b"", first=9000, last=9000, to=9000, protocol=6, flags=1):
    return address + target + interface.ljust(16, b"\0")[:16] + struct.pack(">HHHBB", first, last, to, protocol, flags)


def request(*rules, table=1, count=None):
    return bytes([table]) + struct.pack(">I", len(rules) if count is None else count) + b"".join(rules) + b"\0"


def expect(data, outcome):
    """What is answered to this request, sent byte by byte or at once."""
    sock = connect()
    assert tables(sock) == 2
    sock.sendall(data)
    answer = read(sock, 16)
    assert answer[0] == outcome, (data, answer)
    assert sock.recv(1) == b""
    sock.close()


UNREADABLE = 1
bad = [
    request(rule(), table=3),
    request(count=256),
    request(rule(), count=0xffffffff),
    request(rule(first=0)),
    request(rule(first=9001)),
    request(rule(to=0)),
    request(rule(first=1, last=65535, to=2)),
    request(rule(protocol=1)),
    request(rule(flags=0x81)),
    request(rule(address=b"\1" * 16)),
    request(rule(interface=b"x" * 16)),
    request(rule(interface=b"a\0b")),
    request(rule(target=b"\0" * 10 + b"\xff\xff\xc0\0\2\1", address=b"\x20\1" + b"\0" * 13 + b"\1", flags=0)),
    request(rule(address=b"\xff\2" + b"\0" * 13 + b"\1", flags=0)),
    request(rule(flags=7, to=9001)),
    request() + b"x",
    b"\xff" * 40,
]
for data in bad:
    expect(data, UNREADABLE)
# Nothing at all changes nothing.
expect(b"\0", 0)
# Interrupted at every byte; then the rest does not come.
good = request(rule(address=b"\0" * 10 + b"\xff\xff\x7f\0\0\1", flags=0))
for length in range(len(good)):
    sock = connect()
    if length % 3:
        tables(sock)
    sock.sendall(good[:length])
    sock.close()
# In pieces.
sock = connect()
tables(sock)
for byte in good[:7]:
    sock.sendall(bytes([byte]))
    time.sleep(0.002)
# Meanwhile the next one waits, and is served once the first is gone.
second = connect()
assert not select.select([second], [], [], 0.3)[0], "two at once"
sock.close()
assert tables(second) == 2
second.close()
# Many that go away at once, and more than the queue holds.
for _ in range(200):
    connect().close()
waiting = []
for _ in range(40):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(sys.argv[1])
    except BlockingIOError:
        sock.close()
        break
    waiting.append(sock)
for sock in waiting:
    sock.close()
# One that says nothing is told so after ten seconds.
sock = connect()
tables(sock)
start = time.monotonic()
answer = read(sock, 16)
assert answer[0] == 2 and 9 < time.monotonic() - start < 15, answer
print("done")
