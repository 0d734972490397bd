"""sniff-udp.py INTERFACE PORT: prints the destination of each UDP datagram to PORT that arrives."""
import socket
import struct
import sys

interface, port = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind((interface, 3))
print("ready", flush=True)
while True:
    frame = sock.recv(65536)
    kind = frame[12:14]
    if kind == b"\x08\0" and frame[23] == 17:
        family, destination, udp = socket.AF_INET, frame[30:34], frame[14 + (frame[14] & 15) * 4:]
    elif kind == b"\x86\xdd" and frame[20] == 17:
        family, destination, udp = socket.AF_INET6, frame[38:54], frame[54:]
    else:
        continue
    if struct.unpack("!H", udp[2:4])[0] == port:
        print(socket.inet_ntop(family, destination), flush=True)
