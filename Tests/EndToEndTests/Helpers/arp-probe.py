"""arp-probe.py INTERFACE ADDRESS: who answers an address probe (RFC 5227) within a second: "somebody" or "nobody"."""
import socket
import struct
import sys
import time

interface, address = sys.argv[1:]
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
sock.bind((interface, 0x0806))
mac = sock.getsockname()[4]
probe = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes(4) + bytes(6) + socket.inet_aton(address)
sock.send(b"\xff" * 6 + mac + struct.pack("!H", 0x0806) + probe)
end = time.monotonic() + 1
while (left := end - time.monotonic()) > 0:
    sock.settimeout(left)
    try:
        frame = sock.recv(2000)
    except TimeoutError:
        break
    if frame[20:22] == b"\0\2" and frame[28:32] == socket.inet_aton(address):
        sys.exit(print("somebody"))
print("nobody")
