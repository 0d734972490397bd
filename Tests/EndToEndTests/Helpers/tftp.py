"""tftp.py serve | tftp.py read HOST COUNT: files by TFTP (RFC 1350), whose names are their lengths.

The server answers each request from a port of its own. It sends the first block twice: one may come before the client has answered, and one behind that.
The client prints "ok" if all blocks came from one port of who was asked, and not from the one that was asked.
"""
import socket
import struct
import sys
import threading

from pattern import pattern

BLOCK = 512
REQUEST, DATA, ACKNOWLEDGMENT = 1, 3, 4


def open_socket(port):
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    return sock


def is_acknowledged(sock, peer, number):
    try:
        while True:
            answer, source = sock.recvfrom(600)
            if source[:2] == peer[:2] and answer == struct.pack("!HH", ACKNOWLEDGMENT, number):
                return True
    except TimeoutError:
        return False


def transfer(peer, data):
    sock = open_socket(0)
    sock.settimeout(1)
    for number in range(1, len(data) // BLOCK + 2):
        block = struct.pack("!HH", DATA, number) + data[(number - 1) * BLOCK:number * BLOCK]
        for attempt in range(5):
            for _ in range(2 if number == 1 else 1):
                sock.sendto(block, peer)
            if is_acknowledged(sock, peer, number):
                break
        else:
            return


def serve():
    sock = open_socket(69)
    while True:
        request, peer = sock.recvfrom(600)
        kind, name = struct.unpack("!H", request[:2])[0], request[2:].split(b"\0")[0]
        if kind == REQUEST:
            threading.Thread(target=transfer, args=(peer, pattern(int(name))), daemon=True).start()


def read(host, count):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(1)
    message, port = struct.pack("!H", REQUEST) + f"{count}\0octet\0".encode(), 69
    data, number, attempts, last = b"", 1, 0, False
    while True:
        sock.sendto(message, (host, port))
        if last:
            break
        while True:
            try:
                block, source = sock.recvfrom(600)
            except TimeoutError:
                attempts += 1
                assert attempts < 5, f"nothing behind {len(data)} bytes"
                break
            assert source[0] == host, f"a block from {source[0]}"
            # Of a request that was sent again.
            if port != 69 and source[1] != port:
                continue
            assert source[1] != 69, "a block from the port that was asked"
            # What comes a second time is not answered a second time.
            if struct.unpack("!HH", block[:4]) != (DATA, number):
                continue
            message, port = struct.pack("!HH", ACKNOWLEDGMENT, number), source[1]
            data, number, attempts, last = data + block[4:], number + 1, 0, len(block) < 4 + BLOCK
            break
    assert data == pattern(count), f"{len(data)} bytes, or other ones"


if sys.argv[1] == "serve":
    serve()
try:
    read(sys.argv[2], int(sys.argv[3]))
    print("ok")
except (AssertionError, OSError) as failure:
    sys.exit(f"tftp: {failure!r}")
