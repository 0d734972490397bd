#include "CLinux.h"

// The Swift runtime asks /proc for the program's path and arguments, and aborts without them before any line of Swift, in words that help nobody. So that is looked at
// before the runtime's own constructors, which have no priority.
__attribute__((constructor(101))) static void linux_check_proc(void) {
    static const char words[] = "/proc is needed, and not mounted here: mount -t proc proc /proc\n";
    char path[1];
    if (readlink("/proc/self/exe", path, sizeof path) > 0) return;
    ssize_t written = write(STDERR_FILENO, words, sizeof words - 1);
    (void)written;
    _exit(1);
}
