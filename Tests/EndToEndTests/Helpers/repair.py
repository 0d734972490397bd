"""repair.py SOCKET N: a passt-repair that does what it is told N times, and at the next command is gone without an answer."""
import socket
import struct
import sys

TCP_REPAIR = 19
connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.connect(sys.argv[1])
print("connected", flush=True)
for _ in range(int(sys.argv[2])):
    command, descriptors, _, _ = socket.recv_fds(connection, 1, 253)
    mode = struct.unpack("b", command)[0]
    for number in descriptors:
        with socket.socket(fileno=number) as moved:
            moved.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, mode)
    connection.sendall(command)
socket.recv_fds(connection, 1, 253)
