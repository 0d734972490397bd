"""send-to-all.py ADDRESS[%INTERFACE] PORT: one datagram to a multicast or broadcast address."""
import socket
import sys

address, port = sys.argv[1:]
family, kind, _, _, target = socket.getaddrinfo(address, int(port), type=socket.SOCK_DGRAM)[0]
sock = socket.socket(family, kind)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
sock.sendto(b"everybody", target)
