"""probe.py serve NAME PORT ADDRESS...    answers with NAME, by TCP and UDP
probe.py ask HOST PORT...              prints "tcp PORT NAME" or "udp PORT NAME" for each that answers, in any order
"""
import select
import socket
import sys
import threading
import time

IP_PKTINFO = 8
mode, name, *rest = sys.argv[1:]


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bind(port, address):
    tcp = socket.socket(family(address), socket.SOCK_STREAM)
    udp = socket.socket(family(address), socket.SOCK_DGRAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for sock in tcp, udp:
        if family(address) == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    # Answers leave from the address that was asked.
    udp.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO) if ":" in address else (socket.IPPROTO_IP, IP_PKTINFO)), 1)
    tcp.listen()
    return tcp, udp, address


def serve(tcp, udp, address):
    while True:
        for sock in select.select([tcp, udp], [], [])[0]:
            if sock is tcp:
                connection, _ = tcp.accept()
                connection.sendall(name.encode())
                connection.close()
            else:
                _, information, _, client = udp.recvmsg(16, 64)
                if ":" not in address:
                    # The address without its interface: struct in_pktinfo begins with that.
                    information = [(level, kind, bytes(4) + data[4:]) for level, kind, data in information]
                udp.sendmsg([name.encode()], information, 0, client)


def ask(kind, port):
    sock = socket.socket(family(name), kind)
    sock.settimeout(2)
    try:
        # An interface behind "%" is lost otherwise.
        sock.connect(socket.getaddrinfo(name, port, type=kind)[0][4])
        if kind == socket.SOCK_DGRAM:
            sock.send(b"?")
        answer = sock.recv(64).decode()
    except OSError:
        answer = ""
    if answer:
        answers.append(f"{'tcp' if kind == socket.SOCK_STREAM else 'udp'} {port} {answer}")


if mode == "serve":
    # Here and not in the threads: "ready" is for all of them.
    try:
        bound = [bind(int(rest[0]), address) for address in rest[1:]]
    except OSError as error:
        sys.exit(f"{name}, port {rest[0]}: {error}")
    for sockets in bound:
        threading.Thread(target=serve, args=sockets, daemon=True).start()
    print("ready", flush=True)
    while True:
        time.sleep(60)
answers = []
threads = [threading.Thread(target=ask, args=(kind, int(port))) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM) for port in rest]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*answers, sep="\n")
