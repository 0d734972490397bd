// In front of the C library's functions: the program's own definitions come first when names are looked up, for the libraries that it
// loads as well. The library's are still there under their other names.
#include "CAllocations.h"

#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static _Thread_local long taken;
static _Thread_local long counting;

void allocations_begin(void) {
    taken = 0;
    counting = 1;
}

long allocations_end(void) {
    counting = 0;
    return taken;
}

void *malloc(size_t size) {
    taken += counting;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    taken += counting;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    taken += counting;
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size) {
    taken += counting;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    taken += counting;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    taken += counting;
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}
