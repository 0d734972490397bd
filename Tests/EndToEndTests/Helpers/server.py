"""server.py PORT [ADDRESS]: what the tests talk to, on every address or on that one, TCP and UDP.

A TCP client's first line says what it wants:
  echo      everything comes back; the server closes after the client has closed
  sink      reads to the end, then answers "COUNT SHA256"
  stop S    as sink, but stops reading for S seconds after the first MiB
  stall S   as stop, after the first byte, and answers "COUNT SHA256 GAP": the longest wait for a byte behind that, in seconds
  source N  sends N bytes and closes
  drip N    as source, one byte at a time
  urgent N  as source, and every third piece of 1000 bytes is urgent
  first N   sends N bytes, closes its sending side, then reads to the end; "report" tells of it
  report    what the last "first" or "abort" saw: "COUNT SHA256 END", END being "eof" or an error's name
  whoami    the client's address
  contacted the address that the client came to
  reset     resets the connection
  abort     reads until the connection ends, for "report"
UDP datagrams are echoed; "whoami" is answered with the sender's address, "count" with how many came before from all.
"""
import hashlib
import socket
import socketserver
import struct
import sys
import threading
import time

from pattern import pattern, receive_all, send_urgent

report = "none"


class Handler(socketserver.StreamRequestHandler):
    rbufsize = 0

    def handle(self):
        global report
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = self.request.recv(1)
            if not byte:
                return
            line += byte
        word, *rest = line.decode().split()
        if word == "echo":
            while data := self.request.recv(65536):
                self.request.sendall(data)
        elif word == "sink":
            self.request.sendall(" ".join(map(str, receive_all(self.request)[:2])).encode())
        elif word == "stop":
            summed = hashlib.sha256()
            count = 0
            while count < 1 << 20:
                data = self.request.recv((1 << 20) - count)
                summed.update(data)
                count += len(data)
            time.sleep(int(rest[0]))
            while data := self.request.recv(1 << 18):
                summed.update(data)
                count += len(data)
            self.request.sendall(f"{count} {summed.hexdigest()}".encode())
        elif word == "stall":
            # As it is, and no growing: so that little waits here.
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            first = self.request.recv(1)
            time.sleep(int(rest[0]))
            summed, count, last, gap = hashlib.sha256(first), len(first), time.monotonic(), 0
            while data := self.request.recv(1 << 18):
                now = time.monotonic()
                gap, last = max(gap, now - last), now
                summed.update(data)
                count += len(data)
            self.request.sendall(f"{count} {summed.hexdigest()} {max(gap, time.monotonic() - last):.3f}".encode())
        elif word == "drip":
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in pattern(int(rest[0])):
                self.request.sendall(bytes([byte]))
        elif word == "urgent":
            send_urgent(self.request, pattern(int(rest[0])))
        elif word == "source":
            self.request.sendall(pattern(int(rest[0])))
        elif word == "first":
            self.request.sendall(pattern(int(rest[0])))
            self.request.shutdown(socket.SHUT_WR)
            report = " ".join(map(str, receive_all(self.request)))
        elif word == "abort":
            self.request.sendall(b"go")
            report = " ".join(map(str, receive_all(self.request)))
        elif word == "report":
            self.request.sendall(report.encode())
        elif word == "whoami":
            self.request.sendall(self.client_address[0].removeprefix("::ffff:").encode())
        elif word == "contacted":
            self.request.sendall(self.request.getsockname()[0].removeprefix("::ffff:").encode())
        elif word == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def shutdown_request(self, request):
        self.close_request(request)


def datagrams(sock):
    count = 0
    while True:
        data, peer = sock.recvfrom(65536)
        if data == b"whoami":
            sock.sendto(peer[0].removeprefix("::ffff:").encode(), peer)
        elif data == b"count":
            sock.sendto(str(count).encode(), peer)
        else:
            count += 1
            sock.sendto(data, peer)


try:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
except ImportError:
    pass  # The small guest's Python has no such module, and needs few descriptors.
port, address = int(sys.argv[1]), (sys.argv[2:] + ["::"])[0]
if ":" not in address:
    address = "::ffff:" + address
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
udp.bind((address, port))
threading.Thread(target=datagrams, args=(udp,), daemon=True).start()
server = Server((address, port), Handler)
print("ready", flush=True)
server.serve_forever()
