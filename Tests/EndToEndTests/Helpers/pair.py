"""pair.py KIND NUMBER A... -- B...: runs two programs with a connected pair of sockets between them, KIND "stream", "seqpacket" or "dgram".

A, which is passt, inherits its end as descriptor NUMBER; "{fd}" in B's words is the number of the other end. Prints "started", and "A STATUS"
when A has ended, be it that it has gone to the background; five seconds later B ends too, or as many as LASTING says.
"""
import os
import socket
import subprocess
import sys

kind, number, *words = sys.argv[1:]
kinds = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET, "dgram": socket.SOCK_DGRAM}
split = words.index("--")
ours, theirs = socket.socketpair(socket.AF_UNIX, kinds[kind])
number = int(number)


def run_a():
    os.dup2(ours.fileno(), number)
    os.set_inheritable(number, True)


# The end in A must be the only one, or nobody would see that it has gone.
child = os.fork()
if child == 0:
    run_a()
    if number != theirs.fileno():
        theirs.close()
    os.execvp(words[0], words[:split])
ours.close()
b = subprocess.Popen([word.format(fd=theirs.fileno()) for word in words[split + 1 :]], pass_fds=[theirs.fileno()])
theirs.close()
print("started", flush=True)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print("A", status, flush=True)
try:
    b.wait(timeout=float(os.environ.get("LASTING", "5")))
except subprocess.TimeoutExpired:
    b.kill()
    b.wait()
