"""syslog.py FILE: takes what is sent to /dev/log and appends it to FILE, a line each."""
import socket
import sys

sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind("/dev/log")
with open(sys.argv[1], "ab", buffering=0) as file:
    while True:
        file.write(sock.recv(65536).strip(b"\n\0") + b"\n")
