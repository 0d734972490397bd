"""client.py WHAT HOST PORT ...: runs in the guest and prints "ok" or what went wrong; see server.py for the other side.

  send N          N bytes to a sink, the digest must match        receive N       N bytes from a source
  duplex N        N bytes to an echo while they come back         first N         the server closes first, we send after that
  ask WORD        prints the answer to WORD                       abort           resets, the server must see it
  error           prints the error of connecting and seconds      reset           prints the error of reading
  parallel N M    N connections at once, M bytes echoed on each   udp-ask WORD    prints the answer to the datagram
  udp-error       prints the error that a datagram leads to       udp-sizes N...  datagrams of these sizes are echoed whole
  stop N S        as receive, but stops reading for S seconds     stop-peer N S   as send, to a server that stops reading for S seconds
  late N S        as duplex, but reads nothing for S seconds
  urgent N        N bytes from and to a server, some of them urgent   tiny N S        as stop-peer, N bytes in pieces of one
  drips N S       five times N bytes that come one at a time, reading nothing for S seconds; then none may stand still
  hold N FILE     N connections until FILE is there, still in use turns N         N connections, one after the other
  udp-flows N     N sockets, each gets its own answer             udp-burst N M   N datagrams of M bytes in a row
  downloads N M   N times four sources at once, of about M bytes, none of which may stand still for five seconds
"""
import errno
import os
import select
import socket
import struct
import sys
import threading
import time

from pattern import digest, pattern, receive_all, send_urgent

what, host, port, *rest = sys.argv[1:]
numbers = [int(word) for word in rest if word.isdigit()]
family = socket.AF_INET6 if ":" in host else socket.AF_INET


# Seconds without a byte, and for all that is sent at once.
PATIENCE = float(os.environ.get("PATIENCE", "10"))


def connect(word=None, timeout=PATIENCE):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    sock.connect((host, int(port)))
    if word:
        sock.sendall(word.encode() + b"\n")
    return sock


def udp(timeout=5):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(timeout)
    sock.connect((host, int(port)))
    return sock


def name(error):
    return "timeout" if isinstance(error, TimeoutError) and not error.errno else errno.errorcode.get(error.errno, str(error))


def ask(word):
    return receive_text(connect(word))


def receive_text(sock):
    text = b""
    while data := sock.recv(4096):
        text += data
    return text.decode()


def send(count):
    # For all of it, and paths that are gone for a while.
    sock = connect("sink", timeout=60)
    data = pattern(count)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    answer = receive_text(sock)
    assert answer == f"{count} {digest(data)}", f"the server got {answer}"


def receive(count):
    result = receive_all(connect(f"source {count}"))
    assert result == (count, digest(pattern(count)), "eof"), result


def late(count, seconds):
    echo(count, seconds=seconds)


def echo(count, sock=None, seconds=0):
    sock = sock or connect("echo")
    data = pattern(count)

    errors = []

    def sender():
        # The kernel tells of a reset once: whoever calls first hears of it, and the other one sees an end.
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            errors.append(name(error))

    thread = threading.Thread(target=sender)
    thread.start()
    time.sleep(seconds)
    result = receive_all(sock)
    thread.join()
    assert not errors and result == (count, digest(data), "eof"), (result, errors)


def first(count):
    sock = connect(f"first {count}")
    result = receive_all(sock)
    assert result == (count, digest(pattern(count)), "eof"), result
    sock.sendall(pattern(count // 2))
    sock.close()
    expected, text = f"{count // 2} {digest(pattern(count // 2))} eof", ""
    for _ in range(200):
        # Under a flood of SYNs, a new connection may have to give way and to be begun anew; the one before must not.
        try:
            if (text := ask("report")) == expected:
                return
        except ConnectionError as failure:
            text = repr(failure)
        time.sleep(0.02)
    assert text == expected, text


def abort():
    sock = connect("abort")
    assert sock.recv(2) == b"go"
    sock.sendall(b"some")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    text = ""
    for _ in range(200):
        if (text := ask("report")).endswith("ECONNRESET"):
            return
        time.sleep(0.02)
    assert False, text


def stop(count, seconds):
    """Says "stopped" where it stops."""
    sock = connect(f"source {count}", timeout=60)
    assert receive_all(sock, 1 << 20)[0] == 1 << 20
    print("stopped", flush=True)
    time.sleep(seconds)
    rest = pattern(count)[1 << 20:]
    result = receive_all(sock)
    assert result == (len(rest), digest(rest), "eof"), result


def stop_peer(count, seconds):
    sock = connect(f"stop {seconds}", timeout=60)
    data = pattern(count)
    sock.sendall(data[: 1 << 20])
    print("stopped", flush=True)
    sock.sendall(data[1 << 20:])
    sock.shutdown(socket.SHUT_WR)
    answer = receive_text(sock)
    assert answer == f"{count} {digest(data)}", f"the server got {answer}"


def urgent(count):
    sock = connect(f"urgent {count}")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    result = receive_all(sock)
    assert result == (count, digest(pattern(count)), "eof"), result
    sock = connect("sink")
    data = pattern(count)
    send_urgent(sock, data)
    sock.shutdown(socket.SHUT_WR)
    answer = receive_text(sock)
    assert answer == f"{count} {digest(data)}", f"the server got {answer}"


def tiny(count, seconds):
    """Nothing may stand still once the server reads again."""
    sock = connect(f"stall {seconds}", timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = pattern(count)
    # The server's window closes by large segments: with small ones its buffer is full first, drops, and leaves the host's kernel waiting by itself.
    large = count // 4
    sock.sendall(data[:large])
    time.sleep(0.5)
    for position in range(large, count):
        sock.sendall(data[position:position + 1])
    sock.shutdown(socket.SHUT_WR)
    *answer, gap = receive_text(sock).split()
    assert answer == [str(count), digest(data)], f"the server got {answer}"
    assert float(gap) < 1.5, f"{gap} seconds without a byte"


def drips(count, seconds):
    failures = []

    def one(sock):
        received, last, gap = b"", time.monotonic(), 0
        try:
            while data := sock.recv(1 << 18):
                now = time.monotonic()
                gap, last = max(gap, now - last), now
                received += data
        except OSError as error:
            failures.append(f"{name(error)} behind {len(received)} bytes")
            return
        if received != pattern(count) or gap > 0.8:
            failures.append(f"{len(received)} of {count} bytes, {gap:.3f} seconds without one")

    socks = [connect(f"drip {count}", timeout=60) for _ in range(5)]
    time.sleep(seconds)
    threads = [threading.Thread(target=one, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def hold(count, path):
    socks = []
    for _ in range(count):
        sock = connect("echo", timeout=30)
        sock.sendall(b"x")
        socks.append(sock)
    for sock in socks:
        assert sock.recv(1) == b"x"
    print("held", flush=True)
    while not os.path.exists(path):
        time.sleep(0.02)
    for sock in socks:
        sock.sendall(b"y")
    for sock in socks:
        assert sock.recv(1) == b"y"
        sock.close()


def turns(count):
    for _ in range(count):
        sock = connect("report")
        assert receive_text(sock)
        sock.close()


def together(one, arguments):
    threads = [threading.Thread(target=one, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def parallel(connections, count):
    socks = [connect("echo") for _ in range(connections)]
    failures = []

    def one(sock):
        try:
            echo(count, sock)
        except Exception as error:
            failures.append(repr(error))

    together(one, socks)
    assert not failures, failures[:3]


def downloads(rounds, count):
    data = pattern(2 * count)
    failures = []

    def one(number):
        # Another length each time, and one that is no multiple of anything.
        length = count + number * 7919 % count
        try:
            got, position = connect(f"source {length}", timeout=5), 0
            while piece := got.recv(1 << 16):
                if piece != data[position:position + len(piece)]:
                    raise ValueError(f"wrong bytes behind {position}")
                position += len(piece)
            if position != length:
                raise ValueError(f"{position} bytes of {length}")
        except Exception as error:
            failures.append(f"{number}: {name(error) if isinstance(error, OSError) else error}")

    for turn in range(rounds):
        together(one, range(4 * turn, 4 * turn + 4))
    assert not failures, failures[:3]


def udp_sizes(sizes):
    sock = udp()
    for size in sizes:
        data = pattern(size)
        for attempt in range(3):
            sock.send(data)
            try:
                answer = sock.recv(65536)
                assert answer == data, f"{size} bytes came back as {len(answer)}"
                break
            except TimeoutError:
                assert attempt < 2, f"{size} bytes did not come back"


def udp_flows(count):
    socks = [udp() for _ in range(count)]
    waiting = {}
    for attempt in range(3):
        for index, sock in enumerate(socks):
            if attempt == 0 or sock in waiting:
                sock.send(b"flow %d" % index)
                waiting[sock] = b"flow %d" % index
                if index % 32 == 31:
                    time.sleep(0.005)
        end = time.monotonic() + 3
        while waiting and time.monotonic() < end:
            for sock in select.select(list(waiting), [], [], 0.1)[0]:
                answer = sock.recv(100)
                assert answer == waiting[sock], f"{answer} instead of {waiting[sock]}"
                del waiting[sock]
        if not waiting:
            return
    assert False, f"{len(waiting)} of {count} flows got no answer"


def udp_burst(count, size):
    """Losing some is UDP's right; changing one or stopping is not."""
    sock = udp()
    got = set()

    def drain(wait):
        while select.select([sock], [], [], wait)[0]:
            data = sock.recv(65536)
            assert data[4:] == tail, "a datagram came back changed"
            got.add(data[:4])

    tail = pattern(size - 4)
    for number in range(count):
        sock.send(struct.pack("!I", number) + tail)
        if number % 16 == 15:
            drain(0)
    drain(1)
    assert len(got) >= 10, f"only {len(got)} of {count} came back"
    sock.send(b"\xff\xff\xff\xff" + tail)
    drain(1)
    assert b"\xff\xff\xff\xff" in got, "nothing passes after the burst"


def error(make):
    start = time.monotonic()
    try:
        make()
        return f"none {time.monotonic() - start:.2f}"
    except OSError as failure:
        return f"{name(failure)} {time.monotonic() - start:.2f}"


def udp_lasting(seconds):
    """One socket that never stops to send. The longest time without an answer."""
    sock = udp(0.05)
    start = last = time.monotonic()
    longest = 0
    while last - start < seconds:
        try:
            sock.send(b"still there?")
            sock.recv(100)
            answered = True
            time.sleep(0.05)
        except OSError:
            answered = False
        now = time.monotonic()
        longest = max(longest, now - last)
        if answered:
            last = now
        elif now - last > 10:
            break
    return f"{longest:.2f}"


def udp_error():
    """The error may arrive after the first datagram, so several are sent."""
    sock = udp(0.5)
    for _ in range(6):
        try:
            sock.send(b"anybody")
            sock.recv(100)
            return "answered"
        except OSError as failure:
            if name(failure) != "timeout":
                return name(failure)
    return "timeout"


def reset():
    sock = connect("reset")
    try:
        return "eof" if not sock.recv(1) else "data"
    except OSError as failure:
        return name(failure)


def udp_ask(word):
    sock = udp(2)
    for attempt in range(3):
        sock.send(word.encode())
        try:
            return sock.recv(1000).decode()
        except TimeoutError:
            if attempt == 2:
                raise


actions = {
    "send": send, "receive": receive, "duplex": echo, "late": late, "first": first, "abort": abort, "parallel": parallel,
    "stop": stop, "stop-peer": stop_peer, "tiny": tiny, "drips": drips, "urgent": urgent, "hold": lambda *_: hold(numbers[0], rest[1]), "turns": turns,
    "udp-sizes": lambda *sizes: udp_sizes(sizes), "udp-flows": udp_flows, "udp-burst": udp_burst, "udp-lasting": udp_lasting,
    "ask": lambda *_: ask(" ".join(rest)), "error": lambda *_: error(lambda: connect(timeout=10)), "reset": reset,
    "downloads": downloads, "udp-ask": lambda *_: udp_ask(rest[0]), "udp-error": udp_error,
}
try:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
except ImportError:
    pass  # The small guest's Python has no such module, and needs few descriptors.
try:
    print(actions[what](*numbers) or "ok")
except AssertionError as failure:
    sys.exit(f"{what}: {failure}")
