"""abuse-machine.py WHAT COUNT SOCKET [SERVER]: a virtual machine without any manners on the stream socket of passt.

  lengths     COUNT connections, each of which announces a frame that cannot be, behind one that can, and is dropped
  torn        COUNT connections that end in the middle of a frame, wherever that is; frames before it come in pieces
  reconnect   COUNT connections that say nothing, or one word, and go
  flood       COUNT frames in one connection as fast as they go: rubbish, and what others must be asked for
  deaf        asks for more than any buffer holds (COUNT pings, and a stream from port 4600 of SERVER), reads nothing until
              there is a file SOCKET.read, and then finds whole frames only

Prints "ok" and what it counted; "deaf" prints "full" first, when passt has stopped sending.
"""
import os
import random
import socket
import struct
import sys
import time

what, count, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
random.seed(11)
MAC, ROUTER = bytes.fromhex("525400123456"), bytes.fromhex("9a559a559a55")
OWN = "198.51.100.1"


def connect():
    for _ in range(1000):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(path)
        # Until the end of the one before is noticed, the next is turned away.
        sock.settimeout(0.02)
        try:
            is_turned_away = not sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            is_turned_away = False
        except ConnectionResetError:
            is_turned_away = True
        sock.settimeout(20)
        if not is_turned_away:
            return sock
        sock.close()
        time.sleep(0.01)
    sys.exit("passt takes no connection")


def framed(frame, length=None):
    return struct.pack("!I", len(frame) if length is None else length) + frame


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ip4(proto, payload, destination):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0) + socket.inet_aton(OWN) + socket.inet_aton(destination)
    return ROUTER + MAC + b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def tcp(source, destination, flags, sequence, acknowledgment, options=b""):
    size = (20 + len(options)) // 4 << 4
    return struct.pack("!HHIIBBHHH", source, destination, sequence, acknowledgment, size, flags, 65535, 0, 0) + options


def udp(source, destination, payload):
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def ping(number):
    return ip4(1, struct.pack("!BBHHH", 8, 0, 0xF7FF - number % 3 & 0xFFFF, number % 3, 0) + bytes(1000), "198.51.100.254")


def is_gone(sock):
    """The other side has closed."""
    try:
        while sock.recv(65536):
            pass
        return True
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


ARP = b"\xff" * 6 + MAC + bytes.fromhex("0806 0001 0800 06 04 0001") + MAC + socket.inet_aton(OWN) + bytes(6) + socket.inet_aton("198.51.100.254")

if what == "lengths":
    for number in range(count):
        sock = connect()
        bad = random.choice([0, 1, 13, 69633, 69634, 1 << 24, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
        sock.sendall(framed(ARP) + framed(random.randbytes(random.randrange(3000)), bad))
        if not is_gone(sock):
            sys.exit(f"a frame of {bad} bytes was taken")
        sock.close()
    print("ok", count)
elif what == "torn":
    for number in range(count):
        sock = connect()
        stream = framed(ARP) * random.randrange(1, 5) + framed(ping(number)) + framed(random.randbytes(random.randrange(14, 5000)))
        stream = stream[:random.randrange(1, len(stream))]
        while stream:
            size = random.choice([1, 2, 3, 5, 100, 1000])
            sock.sendall(stream[:size])
            stream = stream[size:]
        sock.close()
    print("ok", count)
elif what == "reconnect":
    for number in range(count):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(path)
        try:
            if number % 2:
                sock.sendall(random.choice([b"x", b"\0\0", b"\0\0\0\x2a" + ARP, struct.pack("!I", 60)]))
            if number % 3:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It was turned away.
        sock.close()
    print("ok", count)
elif what == "flood":
    sock = connect()
    sock.setblocking(False)
    sent, bytes_read = 0, 0
    while sent < count:
        frames = []
        for number in range(100):
            kind = random.randrange(4)
            if kind == 0:
                frames.append(random.randbytes(random.randrange(14, 1514)))
            elif kind == 1:
                frames.append(ip4(17, udp(4000 + number, random.randrange(1, 65536), random.randbytes(20)), "203.0.113.2"))
            elif kind == 2:
                frames.append(ip4(6, tcp(random.randrange(1, 65536), 4500, random.choice([2, 2, 16, 24, 4]), random.getrandbits(32), 0), "203.0.113.2"))
            else:
                frames.append(ping(number))
        sock.settimeout(20)
        sock.sendall(b"".join(map(framed, frames)))
        sent += len(frames)
        sock.setblocking(False)
        try:
            while data := sock.recv(1 << 20):
                bytes_read += len(data)
        except BlockingIOError:
            pass
    sock.close()
    print("ok", sent, bytes_read)
elif what == "deaf":
    server = sys.argv[4]
    sock = connect()
    # A connection with a window of 1 GiB, whose peer never stops talking.
    sock.sendall(framed(ARP) + framed(ip4(6, tcp(40000, 4600, 2, 1000, 0, bytes.fromhex("020405b4 0303 0e00")), server)))
    buffer = b""

    def frames():
        global buffer
        while len(buffer) >= 4:
            length = struct.unpack_from("!I", buffer)[0]
            if not 14 <= length <= 65549:
                sys.exit(f"a torn frame: length {length}")
            if len(buffer) < 4 + length:
                return
            frame, buffer = buffer[4 : 4 + length], buffer[4 + length :]
            yield frame

    answer = None
    while answer is None:
        buffer += sock.recv(65536)
        for frame in frames():
            if frame[12:14] == b"\x08\x00" and frame[23] == 6 and frame[47] == 0x12:
                answer = struct.unpack_from("!I", frame, 38)[0]
    sock.sendall(framed(ip4(6, tcp(40000, 4600, 16, 1001, answer + 1), server)))
    for number in range(count):
        sock.sendall(framed(ping(number)))
    print("full", flush=True)
    while not os.path.exists(path + ".read"):
        time.sleep(0.02)
    # What waits comes whole.
    sock.settimeout(1)
    total = 0
    try:
        while total < 8 << 20 and (data := sock.recv(1 << 20)):
            total += len(data)
            buffer += data
            for _ in frames():
                pass
    except TimeoutError:
        pass
    print("ok", total, flush=True)
else:
    sys.exit(f"no such attack: {what}")
