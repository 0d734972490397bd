"""moments.py serve KIND PORT | moments.py watch KIND PORT: when a port comes and goes, KIND being "tcp" or "udp". Prints "open TIME" and "closed TIME", of a clock that is
the same in every namespace.

  serve   has a socket of both families on it until a signal says to end
  watch   prints "watching", then looks a hundred times a second who is bound to it in the namespace that this runs in: "open" are both families, "closed" is none
"""
import signal
import socket
import sys
import time

what, kind, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def tell(word):
    print(f"{word} {time.monotonic():.3f}", flush=True)


def count():
    """Families in which there is a listener, or an unconnected socket for datagrams."""
    state, found = {"tcp": "0A", "udp": "07"}[kind], 0
    for table in kind, kind + "6":
        with open("/proc/self/net/" + table) as lines:
            found += any((words := line.split())[1].endswith(f":{port:04X}") and words[3] == state for line in lines)
    return found


if what == "serve":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", port))
        if kind == "tcp":
            sock.listen()
        tell("open")
        signal.sigwait({signal.SIGTERM})
    tell("closed")
else:
    print("watching", flush=True)
    for word, wanted in ("open", 2), ("closed", 0):
        while count() != wanted:
            time.sleep(0.01)
        tell(word)
