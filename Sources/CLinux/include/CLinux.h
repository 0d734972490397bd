// What Swift cannot import from the C library and the kernel's headers by itself: variadic functions,
// macros with casts, control-message walking and errno. Everything else is used from Swift as the
// headers declare it. There is no logic here, but for one look at /proc before the program begins (CLinux.c).
//
// Conventions: a shim that makes a system call is named `linux_NAME`, takes what the call takes and
// returns `-errno` on failure, so that no Swift code runs between the call and the reading of errno.
#ifndef CLINUX_H
#define CLINUX_H

// Before the kernel's <linux/if.h>, which then leaves out what both declare.
#include <net/if.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/errqueue.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/net_tstamp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

// <linux/tcp.h> declares the whole of `struct tcp_info`; <netinet/tcp.h> stops before the fields added since 4.2. Both declare these
// structures, differently, and a program that sees both (tests do, through other modules) must not take them for one.
#define tcphdr linux_tcphdr
#define tcp_info linux_tcp_info
#define tcp_repair_opt linux_tcp_repair_opt
#define tcp_repair_window linux_tcp_repair_window
#define tcp_md5sig linux_tcp_md5sig
#define tcp_zerocopy_receive linux_tcp_zerocopy_receive
#include <linux/tcp.h>
#undef tcphdr
#undef tcp_info
#undef tcp_repair_opt
#undef tcp_repair_window
#undef tcp_md5sig
#undef tcp_zerocopy_receive

// Constants that kernel headers of older distributions lack.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x8
#endif
#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define LINUX_RESULT(expression)                 \
    ({                                           \
        __typeof__(expression) result = (expression); \
        result < 0 ? -(__typeof__(result))errno : result; \
    })

// Variadic functions.
static inline int linux_open(const char *path, int flags, unsigned int mode) { return LINUX_RESULT(open(path, flags, mode)); }
static inline int linux_openat(int directory, const char *path, int flags, unsigned int mode) { return LINUX_RESULT(openat(directory, path, flags, mode)); }
static inline int linux_ioctl_pointer(int fd, unsigned long request, void *argument) { return LINUX_RESULT(ioctl(fd, request, argument)); }
static inline int linux_ioctl_value(int fd, unsigned long request, unsigned long argument) { return LINUX_RESULT(ioctl(fd, request, argument)); }
static inline int linux_fcntl(int fd, int command, long argument) { return LINUX_RESULT(fcntl(fd, command, argument)); }
static inline int linux_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) { return LINUX_RESULT(prctl(option, a, b, c, d)); }

// Calls made so often, or so early, that errno is returned with the result.
static inline long linux_read(int fd, void *buffer, size_t count) { return LINUX_RESULT(read(fd, buffer, count)); }
static inline long linux_write(int fd, const void *buffer, size_t count) { return LINUX_RESULT(write(fd, buffer, count)); }
static inline long linux_readv(int fd, const struct iovec *vectors, int count) { return LINUX_RESULT(readv(fd, vectors, count)); }
static inline long linux_writev(int fd, const struct iovec *vectors, int count) { return LINUX_RESULT(writev(fd, vectors, count)); }
static inline long linux_sendmsg(int fd, const struct msghdr *message, int flags) { return LINUX_RESULT(sendmsg(fd, message, flags)); }
static inline long linux_recvmsg(int fd, struct msghdr *message, int flags) { return LINUX_RESULT(recvmsg(fd, message, flags)); }
static inline int linux_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags) { return LINUX_RESULT(sendmmsg(fd, messages, count, flags)); }
static inline int linux_recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags) { return LINUX_RESULT(recvmmsg(fd, messages, count, flags, NULL)); }
static inline long linux_recvfrom(int fd, void *buffer, size_t count, int flags, void *address, socklen_t *length) { return LINUX_RESULT(recvfrom(fd, buffer, count, flags, (struct sockaddr *)address, length)); }
static inline long linux_recv(int fd, void *buffer, size_t count, int flags) { return LINUX_RESULT(recv(fd, buffer, count, flags)); }
static inline long linux_send(int fd, const void *buffer, size_t count, int flags) { return LINUX_RESULT(send(fd, buffer, count, flags)); }
static inline int linux_socket(int family, int type, int protocol) { return LINUX_RESULT(socket(family, type, protocol)); }
static inline int linux_socketpair(int family, int type, int protocol, int pair[2]) { return LINUX_RESULT(socketpair(family, type, protocol, pair)); }
static inline int linux_bind(int fd, const void *address, socklen_t length) { return LINUX_RESULT(bind(fd, (const struct sockaddr *)address, length)); }
static inline int linux_connect(int fd, const void *address, socklen_t length) { return LINUX_RESULT(connect(fd, (const struct sockaddr *)address, length)); }
static inline int linux_listen(int fd, int backlog) { return LINUX_RESULT(listen(fd, backlog)); }
static inline int linux_accept4(int fd, void *address, socklen_t *length, int flags) { return LINUX_RESULT(accept4(fd, (struct sockaddr *)address, length, flags)); }
static inline int linux_getsockname(int fd, void *address, socklen_t *length) { return LINUX_RESULT(getsockname(fd, (struct sockaddr *)address, length)); }
static inline int linux_getpeername(int fd, void *address, socklen_t *length) { return LINUX_RESULT(getpeername(fd, (struct sockaddr *)address, length)); }
static inline int linux_setsockopt(int fd, int level, int name, const void *value, socklen_t length) { return LINUX_RESULT(setsockopt(fd, level, name, value, length)); }
static inline int linux_getsockopt(int fd, int level, int name, void *value, socklen_t *length) { return LINUX_RESULT(getsockopt(fd, level, name, value, length)); }
static inline int linux_shutdown(int fd, int how) { return LINUX_RESULT(shutdown(fd, how)); }
static inline int linux_sched_yield(void) { return LINUX_RESULT(sched_yield()); }
static inline int linux_close(int fd) { return LINUX_RESULT(close(fd)); }
static inline long linux_splice(int from, int to, size_t count, unsigned int flags) { return LINUX_RESULT(splice(from, NULL, to, NULL, count, flags)); }
static inline long linux_sendfile(int to, int from, long offset, size_t count) { off_t start = offset; return LINUX_RESULT(sendfile(to, from, &start, count)); }
// A file in memory, without a name. Since Linux 6.3 whoever never executes it should say so, which older ones refuse.
static inline int linux_memory_file(void) {
    int file = memfd_create("frames", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    return file >= 0 ? file : LINUX_RESULT(memfd_create("frames", MFD_CLOEXEC));
}
// Milliseconds.
static inline void linux_pause(int milliseconds) { (void)poll(NULL, 0, milliseconds); }
static inline int linux_epoll_create(void) { return LINUX_RESULT(epoll_create1(EPOLL_CLOEXEC)); }
static inline int linux_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) { return LINUX_RESULT(epoll_ctl(epoll, operation, fd, event)); }
static inline int linux_epoll_wait(int epoll, struct epoll_event *events, int count, int milliseconds) { return LINUX_RESULT(epoll_wait(epoll, events, count, milliseconds)); }
// `nanoseconds` below zero waits without end. -ENOSYS before Linux 5.11.
static inline int linux_epoll_pwait2(int epoll, struct epoll_event *events, int count, long long nanoseconds) {
#ifdef SYS_epoll_pwait2
    struct timespec timeout = { nanoseconds / 1000000000LL, nanoseconds % 1000000000LL };
    return LINUX_RESULT((int)syscall(SYS_epoll_pwait2, epoll, events, count, nanoseconds < 0 ? NULL : &timeout, NULL, (size_t)0));
#else
    return -ENOSYS;
#endif
}

// Linux's own process and namespace calls.
static inline int linux_setns(int fd, int kind) { return LINUX_RESULT(setns(fd, kind)); }
static inline int linux_unshare(int flags) { return LINUX_RESULT(unshare(flags)); }
// fork() through clone, so that a child can start in namespaces of its own. Returns as fork() does.
static inline long linux_fork(unsigned long namespaces) {
    return LINUX_RESULT(syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL));
}
static inline int linux_pivot_root(const char *root, const char *old) { return LINUX_RESULT((int)syscall(SYS_pivot_root, root, old)); }
static inline int linux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) { return LINUX_RESULT(mount(source, target, type, flags, data)); }
static inline int linux_umount(const char *target, int flags) { return LINUX_RESULT(umount2(target, flags)); }
static inline int linux_close_range(unsigned int first, unsigned int last, unsigned int flags) {
#ifdef SYS_close_range
    return LINUX_RESULT((int)syscall(SYS_close_range, first, last, flags));
#else
    return -ENOSYS;
#endif
}
static inline int linux_capset(int inheritable_low, int permitted_low, int permitted_high) {
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2] = {
        { (unsigned)permitted_low, (unsigned)permitted_low, (unsigned)inheritable_low },
        { (unsigned)permitted_high, (unsigned)permitted_high, 0 },
    };
    return LINUX_RESULT((int)syscall(SYS_capset, &header, data));
}
// Raw calls: the library's own would change all threads and look names up.
static inline int linux_setresuid(unsigned int id) { return LINUX_RESULT((int)syscall(SYS_setresuid, id, id, id)); }
static inline int linux_setresgid(unsigned int id) { return LINUX_RESULT((int)syscall(SYS_setresgid, id, id, id)); }
// -1 leaves a number as it is.
static inline int linux_setresuid_each(unsigned int real, unsigned int effective, unsigned int saved) { return LINUX_RESULT((int)syscall(SYS_setresuid, real, effective, saved)); }
static inline int linux_setresgid_each(unsigned int real, unsigned int effective, unsigned int saved) { return LINUX_RESULT((int)syscall(SYS_setresgid, real, effective, saved)); }
static inline int linux_setgroups_none(void) { return LINUX_RESULT((int)syscall(SYS_setgroups, 0, NULL)); }

static inline int linux_errno(void) { return errno; }

// Macros with casts or sizes in them.
static inline unsigned long linux_TUNSETIFF(void) { return TUNSETIFF; }
static inline unsigned long linux_TUNGETIFF(void) { return TUNGETIFF; }
static inline unsigned long linux_TUNSETOFFLOAD(void) { return TUNSETOFFLOAD; }
static inline unsigned long linux_TUNSETVNETHDRSZ(void) { return TUNSETVNETHDRSZ; }
static inline unsigned long linux_TUNSETSNDBUF(void) { return TUNSETSNDBUF; }
static inline int linux_mmap_failed(const void *address) { return address == MAP_FAILED; }
static inline void linux_ignore_signal(int number) { signal(number, SIG_IGN); }
static inline void linux_default_signal(int number) { signal(number, SIG_DFL); }
static inline int linux_WIFEXITED(int status) { return WIFEXITED(status); }
static inline int linux_WEXITSTATUS(int status) { return WEXITSTATUS(status); }
static inline int linux_WTERMSIG(int status) { return WTERMSIG(status); }
static inline int linux_WIFSTOPPED(int status) { return WIFSTOPPED(status); }

// Control messages. `linux_cmsg_put` writes one at `offset` of a buffer and returns the offset behind it, or 0 if it does not fit.
static inline size_t linux_cmsg_space(size_t length) { return CMSG_SPACE(length); }
static inline size_t linux_cmsg_put(void *buffer, size_t capacity, size_t offset, int level, int type, const void *data, size_t length) {
    if (offset > capacity || capacity - offset < CMSG_SPACE(length)) return 0;
    struct cmsghdr *header = (struct cmsghdr *)((char *)buffer + offset);
    memset(header, 0, CMSG_SPACE(length));
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(header), data, length);
    return offset + CMSG_SPACE(length);
}
// Copies at most `capacity` bytes of the first control message of that kind; returns its whole length, or -1 without one.
static inline long linux_cmsg_get(const struct msghdr *message, int level, int type, void *data, size_t capacity) {
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR((struct msghdr *)message, header)) {
        if (header->cmsg_level != level || header->cmsg_type != type || header->cmsg_len < CMSG_LEN(0)) continue;
        size_t length = header->cmsg_len - CMSG_LEN(0);
        memcpy(data, CMSG_DATA(header), length < capacity ? length : capacity);
        return (long)length;
    }
    return -1;
}

// The streams of the C library, which are macros or globals that Swift 6 calls unsafe to share.
static inline void linux_set_opterr(int value) { opterr = value; }
static inline void linux_set_optind(int value) { optind = value; }
static inline int linux_get_optind(void) { return optind; }
static inline char *linux_get_optarg(void) { return optarg; }
static inline char **linux_environment(void) { return environ; }

#include "CLinuxProcess.h"
#include "CLinuxSeccomp.h"
#include "CLinuxRepair.h"
#include "CLinuxShared.h"

#endif
