// The shims of the system-call filter and of the memory kept for afterwards; see CLinux.h for the conventions.
#ifndef CLINUX_SECCOMP_H
#define CLINUX_SECCOMP_H

#include <errno.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

// Macros with casts in them.
static inline unsigned int linux_AUDIT_ARCH_X86_64(void) { return AUDIT_ARCH_X86_64; }
static inline unsigned int linux_AUDIT_ARCH_AARCH64(void) { return AUDIT_ARCH_AARCH64; }
static inline unsigned int linux_SECCOMP_RET_KILL_PROCESS(void) { return SECCOMP_RET_KILL_PROCESS; }
static inline unsigned int linux_SECCOMP_RET_ALLOW(void) { return SECCOMP_RET_ALLOW; }

// `instructions` are of 8 bytes each: code, two jumps, a constant. Holds for the thread that calls. Not seccomp(): filters around us, as of
// service managers, often have only this one of the two.
static inline int linux_seccomp_filter(const void *instructions, unsigned short count) {
    struct sock_fprog program = { count, (struct sock_filter *)instructions };
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : -errno;
}

// _exit() in the form of a function that returns.
static inline int linux_leave(int status) { _exit(status); return status; }

// Lets the heap grow by `count` bytes now, and never again shrink or turn to mmap.
static inline int linux_reserve_heap(size_t count) {
    if (!mallopt(M_MMAP_MAX, 0) || !mallopt(M_TRIM_THRESHOLD, INT_MAX)) return -EINVAL;
    // Written to, so that the compiler does not do without.
    volatile char *memory = malloc(count);
    if (!memory) return -ENOMEM;
    *memory = 0;
    free((void *)memory);
    return 0;
}

#endif
