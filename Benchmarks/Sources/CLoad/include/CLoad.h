// What Swift cannot import by itself: variadic calls, casts between address types, errno. A shim returns `-errno` on failure.
#ifndef CLOAD_H
#define CLOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netinet/tcp.h>

#define LOAD_RESULT(expression)                       \
    ({                                                \
        __typeof__(expression) result = (expression); \
        result < 0 ? -(__typeof__(result))errno : result; \
    })

struct load_address {
    struct sockaddr_storage storage;
    socklen_t length;
};

static inline int load_parse_address(const char *text, unsigned short port, struct load_address *address) {
    memset(address, 0, sizeof *address);
    struct sockaddr_in *four = (struct sockaddr_in *)&address->storage;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->storage;
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        address->length = sizeof *four;
        return 0;
    }
    if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1) return -EINVAL;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    address->length = sizeof *six;
    return 0;
}
static inline int load_connect(int fd, const struct load_address *to) {
    return LOAD_RESULT(connect(fd, (const struct sockaddr *)&to->storage, to->length));
}
static inline int load_bind(int fd, const struct load_address *to) {
    return LOAD_RESULT(bind(fd, (const struct sockaddr *)&to->storage, to->length));
}
static inline int load_socket(int family, int type) { return LOAD_RESULT(socket(family, type | SOCK_CLOEXEC, 0)); }
static inline int load_accept(int fd) { return LOAD_RESULT(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)); }
static inline int load_set(int fd, int level, int name, int value) { return LOAD_RESULT(setsockopt(fd, level, name, &value, sizeof value)); }
static inline int load_congestion(int fd, const char *name) { return LOAD_RESULT(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name))); }
static inline int load_timeout(int fd, int milliseconds) {
    struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
    return LOAD_RESULT(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
}
static inline long load_send(int fd, const void *bytes, size_t count) { return LOAD_RESULT(send(fd, bytes, count, MSG_NOSIGNAL)); }
static inline long load_recv(int fd, void *bytes, size_t count, int flags) { return LOAD_RESULT(recv(fd, bytes, count, flags)); }
// Some fields of the kernel's `struct tcp_info`, which <netinet/tcp.h> knows only in part.
struct load_information {
    unsigned rtt, min_rtt, retransmissions, window, mss;
};
struct load_information load_inform(int fd);
// Bridges a tap device of this namespace to passt's socket until the connection ends; -errno where that cannot begin.
int load_machine(const char *path, const char *name);
int load_vhost_machine(const char *path, const char *name);
// A machine that is one TCP connection and nothing else: sends `request`, then as much as it can or, unless `isUp`, takes what comes, for that long.
// Sets the bytes that were acknowledged or came in order, and the time that it took; -errno where it failed.
int load_bare(const char *path, const char *from, const char *to, int mtu, int isUp, const void *request, int length, long long nanoseconds,
              long long *bytes, long long *elapsed);

// Sends `count` datagrams of `size` bytes from one buffer, numbered from `first` at offset 16. `to` may be NULL on a connected socket.
static inline int load_send_batch(int fd, unsigned char *bytes, size_t size, unsigned count, unsigned long first, const struct load_address *to) {
    enum { most = 64 };
    struct mmsghdr messages[most];
    struct iovec vectors[most][2];
    unsigned char heads[most][24];
    if (count > most) count = most;
    if (size < 24) return -EINVAL;
    memset(messages, 0, sizeof messages);
    for (unsigned i = 0; i < count; i++) {
        unsigned long number = first + i;
        memcpy(heads[i], bytes, 16);
        memcpy(heads[i] + 16, &number, 8);
        vectors[i][0] = (struct iovec){heads[i], 24};
        vectors[i][1] = (struct iovec){bytes + 24, size - 24};
        messages[i].msg_hdr.msg_iov = vectors[i];
        messages[i].msg_hdr.msg_iovlen = 2;
        if (to) {
            messages[i].msg_hdr.msg_name = (void *)&to->storage;
            messages[i].msg_hdr.msg_namelen = to->length;
        }
    }
    return LOAD_RESULT(sendmmsg(fd, messages, count, 0));
}
// Receives up to 64 datagrams into rows of `row` bytes; their lengths and the sender of the first.
static inline int load_receive_batch(int fd, unsigned char *rows, size_t row, unsigned *lengths, struct load_address *from) {
    enum { most = 64 };
    struct mmsghdr messages[most];
    struct iovec vectors[most];
    memset(messages, 0, sizeof messages);
    for (unsigned i = 0; i < most; i++) {
        vectors[i] = (struct iovec){rows + i * row, row};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    messages[0].msg_hdr.msg_name = &from->storage;
    messages[0].msg_hdr.msg_namelen = sizeof from->storage;
    int count = LOAD_RESULT(recvmmsg(fd, messages, most, MSG_WAITFORONE, NULL));
    for (int i = 0; i < count; i++) lengths[i] = messages[i].msg_len;
    from->length = messages[0].msg_hdr.msg_namelen;
    return count;
}
static inline long load_send_to(int fd, const void *bytes, size_t count, const struct load_address *to) {
    return LOAD_RESULT(sendto(fd, bytes, count, 0, (const struct sockaddr *)&to->storage, to->length));
}

static inline int load_epoll_add(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
    return LOAD_RESULT(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}
// Up to 256 descriptors that are ready.
static inline int load_epoll_wait(int epoll, int *ready) {
    struct epoll_event events[256];
    int count = LOAD_RESULT(epoll_wait(epoll, events, 256, -1));
    for (int i = 0; i < count; i++) ready[i] = events[i].data.fd;
    return count;
}
static inline int load_epoll(void) { return LOAD_RESULT(epoll_create1(EPOLL_CLOEXEC)); }
static inline void load_epoll_remove(int epoll, int fd) { epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); }

// Makes the next close an abort.
static inline int load_linger(int fd) {
    struct linger linger = {1, 0};
    return LOAD_RESULT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
}
static inline int load_blocking(int fd, int on) {
    int flags = fcntl(fd, F_GETFL);
    return LOAD_RESULT(fcntl(fd, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK));
}
// As many descriptors as allowed.
static inline void load_raise_limits(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
}
static inline long long load_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}
static inline void load_sleep(long long nanoseconds) {
    if (nanoseconds <= 0) return;
    struct timespec time = {nanoseconds / 1000000000LL, nanoseconds % 1000000000LL};
    nanosleep(&time, NULL);
}
#endif
