// The shims of processes, signals, namespaces and files; see CLinux.h, which includes this, for the conventions.
#ifndef CLINUX_PROCESS_H
#define CLINUX_PROCESS_H

#include <dirent.h>
#include <linux/nsfs.h>
#include <stdint.h>
#include <sys/file.h>

// Constants that kernel headers of older distributions lack.
#ifndef NS_GET_NSTYPE
#define NS_GET_NSTYPE _IO(0xb7, 0x3)
#endif
static inline unsigned long linux_NS_GET_NSTYPE(void) { return NS_GET_NSTYPE; }

// Processes.
static inline int linux_waitpid(int pid, int *status, int options) { return LINUX_RESULT(waitpid(pid, status, options)); }
static inline int linux_kill(int pid, int number) { return LINUX_RESULT(kill(pid, number)); }
static inline int linux_setsid(void) { return LINUX_RESULT(setsid()); }
static inline int linux_chdir(const char *path) { return LINUX_RESULT(chdir(path)); }
static inline int linux_chroot(const char *path) { return LINUX_RESULT(chroot(path)); }
static inline int linux_execvp(const char *file, char *const arguments[]) { return LINUX_RESULT(execvp(file, arguments)); }
static inline int linux_access(const char *path, int mode) { return LINUX_RESULT(access(path, mode)); }
static inline int linux_WSTOPSIG(int status) { return WSTOPSIG(status); }
static inline int linux_WIFSIGNALED(int status) { return WIFSIGNALED(status); }
static inline int linux_pidfd_open(int pid) {
#ifdef SYS_pidfd_open
    return LINUX_RESULT((int)syscall(SYS_pidfd_open, pid, 0));
#else
    return -ENOSYS;
#endif
}
// Bit n of the results stands for capability n. The kernel's call, since libcap is one more dependency.
static inline int linux_capget(unsigned long long *permitted, unsigned long long *effective) {
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    int result = LINUX_RESULT((int)syscall(SYS_capget, &header, data));
    *permitted = (unsigned long long)data[1].permitted << 32 | data[0].permitted;
    *effective = (unsigned long long)data[1].effective << 32 | data[0].effective;
    return result;
}

// RLIMIT_NOFILE and its like are of a type that Swift takes for another one.
enum { LINUX_LIMIT_OPEN_FILES = RLIMIT_NOFILE, LINUX_LIMIT_FILE_SIZE = RLIMIT_FSIZE };
static inline int linux_limit(int which, uint64_t *soft, uint64_t *hard) {
    struct rlimit limit = { 0, 0 };
    int result = LINUX_RESULT(getrlimit(which, &limit));
    *soft = limit.rlim_cur;
    *hard = limit.rlim_max;
    return result;
}
static inline int linux_set_open_file_limit(uint64_t soft, uint64_t hard) {
    struct rlimit limit = { soft, hard };
    return LINUX_RESULT(setrlimit(RLIMIT_NOFILE, &limit));
}

// Signals, with the kernel's 64-bit sets: bit n - 1 stands for signal n.
static inline int linux_sigprocmask(int how, unsigned long long set, unsigned long long *old) {
    return LINUX_RESULT((int)syscall(SYS_rt_sigprocmask, how, &set, old, sizeof set));
}
static inline int linux_signalfd(unsigned long long set) {
    return LINUX_RESULT((int)syscall(SYS_signalfd4, -1, &set, sizeof set, SFD_CLOEXEC | SFD_NONBLOCK));
}
// The number of the next signal, with LINUX_SIGNAL_OF_PROCESS where another process has sent it and not the kernel; or -EAGAIN.
#define LINUX_SIGNAL_OF_PROCESS 256
static inline int linux_signalfd_next(int fd) {
    struct signalfd_siginfo information;
    long result = LINUX_RESULT(read(fd, &information, sizeof information));
    if (result < (long)sizeof information) return result < 0 ? (int)result : -EIO;
    return (int)information.ssi_signo | (information.ssi_code <= 0 ? LINUX_SIGNAL_OF_PROCESS : 0);
}
static inline int linux_signal_is_ignored(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

// Files.
static inline const char *linux_entry_name(const struct dirent *entry) { return entry->d_name; }
static inline int linux_dup2(int from, int to) { return LINUX_RESULT(dup2(from, to)); }
static inline int linux_pipe(int pair[2]) { return LINUX_RESULT(pipe2(pair, O_CLOEXEC)); }
static inline int linux_pipe_nonblocking(void *pair) { return LINUX_RESULT(pipe2((int *)pair, O_CLOEXEC | O_NONBLOCK)); }
static inline int linux_fstat(int fd, struct stat *status) { return LINUX_RESULT(fstat(fd, status)); }
static inline int linux_flock(int fd, int operation) { return LINUX_RESULT(flock(fd, operation)); }
static inline int linux_unlink(const char *path) { return LINUX_RESULT(unlink(path)); }
static inline int linux_unlinkat(int directory, const char *path) { return LINUX_RESULT(unlinkat(directory, path, 0)); }
static inline int linux_fstatat(int directory, const char *path, struct stat *status, int flags) { return LINUX_RESULT(fstatat(directory, path, status, flags)); }
// The file system's magic number, or -errno.
static inline long linux_filesystem_kind(int fd) {
    struct statfs status;
    long result = LINUX_RESULT((long)fstatfs(fd, &status));
    return result < 0 ? result : (long)status.f_type;
}
static inline long linux_lseek(int fd, long offset, int whence) { return LINUX_RESULT(lseek(fd, offset, whence)); }
static inline long linux_pread(int fd, void *buffer, size_t count, long offset) { return LINUX_RESULT(pread(fd, buffer, count, offset)); }
static inline long linux_pwrite(int fd, const void *buffer, size_t count, long offset) { return LINUX_RESULT(pwrite(fd, buffer, count, offset)); }
static inline int linux_ftruncate(int fd, long length) { return LINUX_RESULT(ftruncate(fd, length)); }
static inline long linux_readlink(const char *path, char *buffer, size_t size) { return LINUX_RESULT(readlink(path, buffer, size)); }
static inline int linux_inotify_create(void) { return LINUX_RESULT(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)); }
static inline int linux_inotify_add(int fd, const char *path, unsigned int mask) { return LINUX_RESULT(inotify_add_watch(fd, path, mask)); }

static inline int linux_eventfd(void) { return LINUX_RESULT(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

// Timers. Zero nanoseconds disarm.
static inline int linux_timerfd_create(void) { return LINUX_RESULT(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }
static inline int linux_timerfd_set(int fd, long long first, long long interval) {
    struct itimerspec times = {
        { interval / 1000000000LL, interval % 1000000000LL },
        { first / 1000000000LL, first % 1000000000LL },
    };
    return LINUX_RESULT(timerfd_settime(fd, 0, &times, NULL));
}
static inline long long linux_clock(int clock) {
    struct timespec now = { 0, 0 };
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}
// Seconds to add to UTC for local time now.
static inline long linux_local_offset(void) {
    time_t now = time(NULL);
    struct tm local;
    return localtime_r(&now, &local) ? local.tm_gmtoff : 0;
}

// Connecting to the UNIX socket of that path. Its structure is one that Swift can only fill byte by byte.
static inline int linux_connect_local(int fd, const char *path) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path) return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length + 1);
    return LINUX_RESULT(connect(fd, (struct sockaddr *)&address, sizeof address));
}

// Sending descriptors over a UNIX socket. The kernel takes at most 253 at a time (SCM_MAX_FD).
#define LINUX_MOST_DESCRIPTORS 253
static inline long linux_send_descriptors(int fd, const void *bytes, size_t length, const int *descriptors, size_t count, int flags) {
    union { struct cmsghdr align; char bytes[CMSG_SPACE(LINUX_MOST_DESCRIPTORS * sizeof(int))]; } control;
    struct iovec vector = { (void *)bytes, length };
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    if (count > LINUX_MOST_DESCRIPTORS) return -EINVAL;
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = linux_cmsg_put(control.bytes, sizeof control.bytes, 0, SOL_SOCKET, SCM_RIGHTS, descriptors, count * sizeof(int));
    }
    return LINUX_RESULT(sendmsg(fd, &message, MSG_NOSIGNAL | flags));
}
// `descriptors` has room for `most`, at most LINUX_MOST_DESCRIPTORS. `complete` is 0 if the message or its descriptors did not fit.
static inline long linux_receive_some_descriptors(
    int fd, void *bytes, size_t capacity, int *descriptors, size_t most, size_t *count, int *complete, int flags) {
    union { struct cmsghdr align; char bytes[CMSG_SPACE(LINUX_MOST_DESCRIPTORS * sizeof(int))]; } control;
    struct iovec vector = { bytes, capacity };
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_LEN(most * sizeof(int));
    long result = LINUX_RESULT(recvmsg(fd, &message, MSG_CMSG_CLOEXEC | flags));
    long length = result < 0 ? -1 : linux_cmsg_get(&message, SOL_SOCKET, SCM_RIGHTS, descriptors, most * sizeof(int));
    *count = length < 0 ? 0 : (size_t)length / sizeof(int);
    *complete = !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    return result;
}

// The same with room for all of them.
static inline long linux_receive_descriptors(int fd, void *bytes, size_t capacity, int *descriptors, size_t *count, int *complete, int flags) {
    return linux_receive_some_descriptors(fd, bytes, capacity, descriptors, LINUX_MOST_DESCRIPTORS, count, complete, flags);
}

#endif
