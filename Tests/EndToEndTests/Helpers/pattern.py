"""Bytes that both sides can make, and reading to the end."""
import errno
import hashlib
import socket
import sys

# 1021 is prime to every power of two: a block that is lost, repeated or moved does not go unnoticed.
_BLOCK = b"".join(hashlib.sha256(bytes([i & 255, i >> 8])).digest() for i in range(1021))


def pattern(count):
    return (_BLOCK * (count // len(_BLOCK) + 1))[:count]


def digest(data):
    return hashlib.sha256(data).hexdigest()


def receive_all(sock, most=sys.maxsize):
    """(count, digest, "eof" or the error's name), of all or of the first `most` bytes."""
    summed, count, end = hashlib.sha256(), 0, "eof"
    try:
        while data := sock.recv(min(1 << 18, most - count)):
            summed.update(data)
            count += len(data)
    except OSError as error:
        end = errno.errorcode.get(error.errno, str(error))
    return count, summed.hexdigest(), end


def send_urgent(sock, data):
    """Every third piece of 1000 bytes is urgent."""
    for start in range(0, len(data), 1000):
        rest = data[start:start + 1000]
        while rest:
            rest = rest[sock.send(rest, socket.MSG_OOB if start % 3000 == 0 else 0):]
