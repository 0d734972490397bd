"""vhost-reconnect.py SOCKET COUNT: front-ends of vhost-user, one after the other, that leave in the middle of what they have to say: each after one message more
than the last one, and one in ten in the middle of a message. The guest's memory has 64 MiB."""
import array
import ctypes
import os
import socket
import struct
import sys

path, count = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None)
file = os.memfd_create("guest")
os.ftruncate(file, 64 << 20)
counter = libc.eventfd(0, 0)
user, guest = 0x7000_0000_0000, 0x4000_0000


def ring(index):
    start = user + (index << 16)
    return [
        (8, struct.pack("=II", index, 256), []), (10, struct.pack("=II", index, 0), []),
        (9, struct.pack("=IIQQQQ", index, 0, start, start + 16384, start + 8192, 0), []), (14, struct.pack("=Q", index), [counter]),
        (13, struct.pack("=Q", index), [counter]), (12, struct.pack("=Q", index), [counter]), (18, struct.pack("=II", index, 1), []),
    ]


table = struct.pack("=IIQQQQQQQQ", 2, 0, guest, 32 << 20, user, 0, guest + (32 << 20), 32 << 20, user + (32 << 20), 32 << 20)
messages = [(3, b"", []), (2, struct.pack("=Q", 1 << 32 | 1 << 30 | 1 << 26 | 1 << 15), []), (16, struct.pack("=Q", 2), []), (5, table, [file, file])]
messages += ring(1) + ring(0) + [(6, struct.pack("=QQ", 65536, 0), [file]), (5, table, [file, file]), (12, struct.pack("=Q", 0), [counter])]


def visit(number):
    """False when nobody has heard it: the last one has not been missed yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        for request, body, descriptors in messages[:number % (len(messages) + 1)]:
            data = struct.pack("=III", request, 9, len(body)) + body
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            try:
                if number % 10 == 9 and request in (5, 12):
                    sock.sendmsg([data[:14]], rights)
                    return True
                sock.sendmsg([data], rights)
                if not sock.recv(20, socket.MSG_WAITALL):
                    return False
            except OSError:
                return False
    return True


for number in range(count):
    while not visit(number):
        pass
print("done")
