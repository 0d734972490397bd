"""many.py serve PORT | many.py connect HOST PORT COUNT: short connections, each with one byte there and one back, four at a time.

The client prints how many went wrong.
"""
import os
import socket
import sys


def serve(port):
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", port))
    listener.listen(4096)

    def work():
        while True:
            sock, _ = listener.accept()
            try:
                sock.send(sock.recv(1))
            except OSError:
                pass
            sock.close()

    for _ in range(4):
        if os.fork() == 0:
            work()
    print("ready", flush=True)
    work()


def connect(host, port, count):
    failures = 0
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in range(count):
        sock = socket.socket(family)
        sock.settimeout(10)
        try:
            sock.connect((host, port))
            sock.send(b"x")
            # The server closes first: a connection that ends early, or by a reset, is a failure.
            if sock.recv(1) != b"x" or sock.recv(1) != b"":
                failures += 1
        except OSError:
            failures += 1
        sock.close()
    return failures


def main():
    if sys.argv[1] == "serve":
        return serve(int(sys.argv[2]))
    host, port, count = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os._exit(min(connect(host, port, count // 4), 255))
        children.append(child)
    print(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


main()
