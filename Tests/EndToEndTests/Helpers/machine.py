"""machine.py INTERFACE SOCKET [KIND [FAULT]]: a virtual machine in the eyes of passt. The kernel of the namespace that this runs in is the
machine's: a tap device INTERFACE is bridged to the socket at the path SOCKET, or to the inherited descriptor fd:N.

KIND is "stream" (frames behind a length of four bytes, as from QEMU; the default), "seqpacket" or "dgram" (a frame a message); "vfkt" is
"dgram" with a greeting and a bound path of its own, "bound" the same without a greeting. FAULT is "lose", which
loses every hundredth of its long frames, or "swap", which sends it behind the next one; "short" is a network card that takes no frame of more than 1514 bytes. Or it is "shy", a machine that has been up for long: INTERFACE, which is there
already, is up before the connection is, and nothing is said until a question for its link address is answered. Prints "ready" when the interface is there, and
ends with the connection.
"""
import fcntl
import os
import select
import socket
import struct
import sys
import time

SIOCGIFFLAGS, IFF_RUNNING = 0x8913, 0x40
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000

name, where, kind = sys.argv[1], sys.argv[2], (sys.argv[3:] + ["stream"])[0]
fault, count, held = (sys.argv[4:] + [""])[0], 0, None
types = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET, "dgram": socket.SOCK_DGRAM, "vfkt": socket.SOCK_DGRAM, "bound": socket.SOCK_DGRAM}
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
if fault == "shy":
    flags = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        while not flags & IFF_RUNNING:
            time.sleep(0.05)
            flags = struct.unpack("16sH22x", fcntl.ioctl(asking, SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0)))[1]
    # The kernel tells itself a little later.
    time.sleep(0.1)
if where.startswith("fd:"):
    sock = socket.socket(socket.AF_UNIX, types[kind], fileno=int(where[3:]))
else:
    sock = socket.socket(socket.AF_UNIX, types[kind])
    if kind in ("vfkt", "bound"):
        sock.bind(where + ".machine")
    sock.connect(where)
if kind == "vfkt":
    sock.send(b"VFKT")
print("ready", flush=True)


def to_passt(frame):
    sock.sendall(struct.pack("!I", len(frame)) + frame) if kind == "stream" else sock.send(frame)


def tells_link_address(frame):
    """An answer of ARP, or a neighbour advertisement."""
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" or frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 136


def to_tap(frame):
    if fault == "short" and len(frame) > 1514:
        return
    try:
        os.write(tap, frame)
    except OSError:
        pass  # The interface is down.


buffer = b""
while True:
    ready = select.select([tap, sock], [], [], 0.002 if held else None)[0]
    if not ready:
        # Nothing follows the frame that was held back.
        to_passt(held)
        held = None
    for readable in ready:
        if readable is tap:
            frame = os.read(tap, 65550)
            if fault == "shy":
                if not tells_link_address(frame):
                    continue
                fault = ""
            if fault and len(frame) > 1000:
                count += 1
                if fault == "lose" and count % 100 == 0:
                    continue
                if fault == "swap" and count % 100 == 0 and not held:
                    held = frame
                    continue
            to_passt(frame)
            if held:
                to_passt(held)
                held = None
        elif kind != "stream":
            frame = sock.recv(65550)
            if not frame:
                sys.exit()
            to_tap(frame)
        else:
            data = sock.recv(1 << 20)
            if not data:
                sys.exit()
            buffer += data
            while len(buffer) >= 4:
                length = struct.unpack_from("!I", buffer)[0]
                if len(buffer) < 4 + length:
                    break
                to_tap(buffer[4 : 4 + length])
                buffer = buffer[4 + length :]
