"""vhost.py INTERFACE SOCKET [CONTROL]: as machine.py, for a machine that shares its memory with passt (vhost-user). The kernel of the namespace that this runs in
is the machine's: a tap device INTERFACE, whose frames have virtio-net headers, is bridged to rings in a file in memory. SOCKET is a path, or an inherited
descriptor fd:N. Prints "ready" when the interface is there, and ends with the connection.

By lines that are written to CONTROL, a pipe that is made, the machine is migrated: "save" lets it stand still and takes the state of its device, which is answered by "saved BYTES", or "saved 0"
where it was refused; then "go SOCKET" lets it go on at another passt with that state, or "go" where it is, answered by "there". "visit SOCKET" brings the state to another passt without that the
machine ever runs there, answered by "back".

Each side kicks and calls for everything: no fences are needed for that, which Python has none of. Indices go through a view of 16-bit numbers, which stores and
loads each as a whole. `struct.pack_into` clears the place before it writes, and whoever looks in between sees an index of 0.
"""
import array
import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, TUNSETVNETHDRSZ, TUNSETOFFLOAD = 0x400454CA, 2, 0x1000, 0x4000, 0x400454D8, 0x400454D0
SIZE, PAGE, SLOT, SLOTS = 256, 4096, 68 << 10, 32
PAGES, FRAMES, TOTAL = 1 << 20, 4 << 20, 8 << 20
USER, GUEST = 0x7000_0000_0000, 0x4000_0000
# CSUM, GUEST_CSUM, GUEST_TSO4/6, HOST_TSO4/6, MRG_RXBUF, PROTOCOL_FEATURES, VERSION_1
FEATURES = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 12 | 1 << 15 | 1 << 30 | 1 << 32

libc = ctypes.CDLL(None)
name, where = sys.argv[1], sys.argv[2]
tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
fcntl.ioctl(tap, TUNSETVNETHDRSZ, struct.pack("i", 12))
fcntl.ioctl(tap, TUNSETOFFLOAD, 1 | 2 | 4)  # TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6
file = os.memfd_create("guest")
os.ftruncate(file, TOTAL)
memory = mmap.mmap(file, TOTAL)
numbers = memoryview(memory).cast("H")


def connect(where):
    if where.startswith("fd:"):
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=int(where[3:]))
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.connect(where)
    return made


def say(request, body=b"", descriptors=(), reply=None):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sock.sendmsg([struct.pack("=III", request, 1 if reply else 9, len(body)) + body], rights)
    answer = sock.recv(12 + (reply or 8), socket.MSG_WAITALL)
    assert len(answer) > 12 and struct.unpack_from("=II", answer) == (request, 5), (request, answer)
    return answer[12:]


class Ring:
    def __init__(self, index):
        self.index, self.next, self.seen = index, 0, 0
        self.descriptors, self.available, self.used = index << 16, (index << 16) + 8192, (index << 16) + 16384
        self.kick, self.call = libc.eventfd(0, 0), libc.eventfd(0, 0)

    def start(self, base):
        index = self.index
        say(8, struct.pack("=II", index, SIZE))
        say(10, struct.pack("=II", index, base))
        say(9, struct.pack("=IIQQQQ", index, 0, USER + self.descriptors, USER + self.used, USER + self.available, 0))
        say(13, struct.pack("=Q", index), [self.call])
        say(12, struct.pack("=Q", index), [self.kick])
        say(18, struct.pack("=II", index, 1))

    def stop(self):
        return struct.unpack("=II", say(11, struct.pack("=II", self.index, 0), reply=8))[1]

    def offer(self, head, offset, length, flags):
        struct.pack_into("QIHH", memory, self.descriptors + 16 * head, GUEST + offset, length, flags, 0)
        numbers[(self.available + 4) // 2 + self.next % SIZE] = head
        self.next = (self.next + 1) & 0xFFFF

    def publish(self):
        numbers[(self.available + 2) // 2] = self.next
        os.write(self.kick, struct.pack("=Q", 1))

    def take(self):
        if numbers[(self.used + 2) // 2] == self.seen:
            return None
        head, length = struct.unpack_from("II", memory, self.used + 4 + 8 * (self.seen % SIZE))
        self.seen = (self.seen + 1) & 0xFFFF
        return head, length


def begin():
    offered = struct.unpack("=Q", say(1, reply=8))[0]
    assert offered & FEATURES == FEATURES, hex(offered)
    say(3)
    say(2, struct.pack("=Q", FEATURES))
    say(16, struct.pack("=Q", 8 | 1 << 19))
    say(5, struct.pack("=IIQQQQ", 1, 0, GUEST, TOTAL, USER, 0), [file])


def transfer(direction, state=b""):
    """The device's state, from passt (0) or to it (1)."""
    reading, writing = os.pipe()
    ours, theirs = (reading, writing) if direction == 0 else (writing, reading)
    answer = struct.unpack("=Q", say(42, struct.pack("=II", direction, 0), [theirs], reply=8))[0]
    assert answer == 0x100, hex(answer)
    os.close(theirs)
    # As much as a queue may hold: without a copy for each piece.
    pieces, left = [], memoryview(state)
    while direction == 0 and (piece := os.read(ours, 1 << 16)):
        pieces.append(piece)
    while direction == 1 and left:
        left = left[os.write(ours, left):]
    os.close(ours)
    return b"".join(pieces) if struct.unpack("=Q", say(43, reply=8))[0] == 0 else b""


def migrate(line):
    global sock, state, bases
    words = line.split()
    if words == ["save"]:
        bases = [ring.stop() for ring in rings]
        state = transfer(0)
        print("saved", len(state), flush=True)
    elif words[0] == "visit":
        here, sock = sock, connect(words[1])
        begin()
        assert transfer(1, state) == b""
        sock.close()
        sock = here
        print("back", flush=True)
    elif words[0] == "go":
        if len(words) > 1:
            sock.close()
            sock = connect(words[1])
            begin()
            assert transfer(1, state) == b""
        for ring, base in zip(rings, bases):
            ring.start(base)
        bases = None
        print("there", flush=True)


control = []
if len(sys.argv) > 3:
    os.mkfifo(sys.argv[3])
    control = [os.open(sys.argv[3], os.O_RDWR)]
sock = connect(where)
begin()
sending = Ring(1)
receiving = Ring(0)
rings, bases, state = [sending, receiving], None, b""
for ring in rings:
    ring.start(0)
free = list(range(SLOTS))
for head in range(SIZE):
    receiving.offer(head, PAGES + head * PAGE, PAGE, 2)
receiving.publish()
print("ready", flush=True)


def to_tap():
    while (first := receiving.take()) is not None:
        buffers = [first]
        for _ in range(struct.unpack_from("H", memory, PAGES + first[0] * PAGE + 10)[0] - 1):
            buffers.append(receiving.take())
        try:
            os.write(tap, b"".join(memory[PAGES + head * PAGE:PAGES + head * PAGE + length] for head, length in buffers))
        except OSError:
            pass  # The interface is down.
        for head, _ in buffers:
            receiving.offer(head, PAGES + head * PAGE, PAGE, 2)
    receiving.publish()


def from_tap():
    while (back := sending.take()) is not None:
        free.append(back[0])
    while free:
        try:
            frame = os.read(tap, 65549 + 12)
        except OSError:
            break
        head = free.pop()
        memory[FRAMES + head * SLOT:FRAMES + head * SLOT + len(frame)] = frame
        sending.offer(head, FRAMES + head * SLOT, len(frame), 0)
        sending.publish()


while True:
    watched = [receiving.call, sending.call, sock] + control + ([tap] if free and bases is None else [])
    for readable in select.select(watched, [], [])[0]:
        if readable is sock:
            if not sock.recv(1000):
                sys.exit()
        elif readable in control:
            for line in os.read(readable, 4096).decode().splitlines():
                migrate(line)
        elif readable is not tap:
            os.read(readable, 8)
    if bases is None:
        to_tap()
        from_tap()
