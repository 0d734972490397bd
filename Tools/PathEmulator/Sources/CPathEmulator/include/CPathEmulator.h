// What Swift cannot import by itself: variadic calls, macros with casts, errno. A shim returns `-errno` on failure.
#ifndef CPATHEMULATOR_H
#define CPATHEMULATOR_H

#include <net/if.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_RESULT(expression)                       \
    ({                                                \
        __typeof__(expression) result = (expression); \
        result < 0 ? -(__typeof__(result))errno : result; \
    })

static inline int path_open(const char *path, int flags) { return PATH_RESULT(open(path, flags)); }
static inline int path_setns(int fd) { return PATH_RESULT(setns(fd, CLONE_NEWNET)); }
static inline long path_read(int fd, void *buffer, size_t count) { return PATH_RESULT(read(fd, buffer, count)); }
static inline long path_write(int fd, const void *buffer, size_t count) { return PATH_RESULT(write(fd, buffer, count)); }
static inline void path_close(int fd) { close(fd); }

static inline int path_attach_tap(int fd, const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    return PATH_RESULT(ioctl(fd, TUNSETIFF, &request));
}
static inline int path_set_offloads(int fd) {
    return PATH_RESULT(ioctl(fd, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)));
}

// Address space that costs nothing until it is touched; NULL when there is none.
static inline void *path_reserve(size_t bytes) {
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

// SIGTERM and SIGINT as a descriptor.
static inline int path_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return PATH_RESULT(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

static inline long long path_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}
static inline void path_exact_timers(void) { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }

// Bit 0: the first descriptor is readable, bit 1: the second, and so on. A negative descriptor is left out.
// `nanoseconds` below zero waits without end.
static inline int path_wait(int first, int second, int third, int fourth, long long nanoseconds) {
    struct pollfd polled[4] = {{first, POLLIN, 0}, {second, POLLIN, 0}, {third, POLLIN, 0}, {fourth, POLLIN, 0}};
    struct timespec timeout = {nanoseconds / 1000000000LL, nanoseconds % 1000000000LL};
    if (ppoll(polled, 4, nanoseconds < 0 ? NULL : &timeout, NULL) < 0) return -errno;
    int ready = 0;
    for (int i = 0; i < 4; i++) ready |= (polled[i].revents != 0) << i;
    return ready;
}
static inline int path_is_pipe(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}
#endif
