"""reconnect.py SOCKET COUNT: COUNT virtual machines, one after the other, each of which connects to passt's stream socket, asks for the gateway's
link address, gets the answer, and goes. Some go in the middle of a frame, some with a connection half open or data on its way. Prints "ok TURNED-AWAY".
"""
import socket
import struct
import sys
import time

path, count = sys.argv[1], int(sys.argv[2])
own, guest, gateway, server = b"\x52\x54\0\x12\x34\x56", *map(socket.inet_aton, ["198.51.100.1", "198.51.100.254", "203.0.113.2"])


def framed(frame):
    return struct.pack("!I", len(frame)) + frame


question = framed(b"\xff" * 6 + own + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + own + guest + bytes(6) + gateway)


def syn(port):
    segment = struct.pack("!HHIIBBHHH", port, 4000, 1000, 0, 5 << 4, 2, 65535, 0, 0)
    packet = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + guest + server
    return framed(b"\x9a\x55" * 3 + own + b"\x08\0" + packet + segment)


def answer(sock):
    """Whether the gateway answered; False where the connection ended instead."""
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
        while len(data) >= 4 and len(data) >= 4 + (length := struct.unpack_from("!I", data)[0]):
            frame, data = data[4 : 4 + length], data[4 + length :]
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
                return True
    return False


turned_away = served = 0
while served < count:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        try:
            sock.sendall(question)
            if not answer(sock):
                raise ConnectionError
        except ConnectionError:
            # The one before is still being dismissed.
            turned_away += 1
            time.sleep(0.001)
            continue
        served += 1
        if served % 10 == 0:
            sock.sendall(syn(1024 + served % 60000))
        if served % 3 == 0:
            sock.sendall(question[: 1 + served % 40])
print("ok", turned_away)
