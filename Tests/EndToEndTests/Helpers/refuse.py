"""refuse.py WHAT COMMAND...: runs it where the kernel refuses something.

  diagnosis     sockets of NETLINK_SOCK_DIAG, as under some containers' filters
  peek-offset   SO_PEEK_OFF, as kernels before 6.9 do for streams
  inotify       watching files, as where a user has as many watches as there may be
  seccomp       the call of that name, which systemd before 254 has in no group of calls that services may do
"""
import ctypes
import os
import struct
import sys

x86 = os.uname().machine == "x86_64"
# The call's number, its arguments by their places, the error.
EPERM, EMFILE, EOPNOTSUPP = 1, 24, 95
refusals = {
    "diagnosis": (41 if x86 else 198, {0: 16, 2: 4}, EPERM),  # socket: AF_NETLINK, NETLINK_SOCK_DIAG
    "peek-offset": (54 if x86 else 208, {1: 1, 2: 42}, EOPNOTSUPP),  # setsockopt: SOL_SOCKET, SO_PEEK_OFF
    "inotify": (294 if x86 else 26, {}, EMFILE),  # inotify_init1
    "seccomp": (317 if x86 else 277, {}, EPERM),
}
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000

call, arguments, error = refusals[sys.argv[1]]
compared = [(0, call)] + [(16 + 8 * place, value) for place, value in arguments.items()]
program = []
for index, (offset, value) in enumerate(compared):
    # What differs goes on behind all that is left, at the last line.
    program += [(LOAD, 0, 0, offset), (EQUAL, 0, 2 * (len(compared) - index) - 1, value)]
program += [(RETURN, 0, 0, ERRNO | error), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
for words in ((38, 1, 0, 0, 0), (22, 2, header, 0, 0)):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
    if libc.prctl(*words) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
