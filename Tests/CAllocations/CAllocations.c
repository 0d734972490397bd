// In front of the C library's functions: the program's own definitions come first when names are looked up, for the libraries that it
// loads as well. The library's are still there under their other names. The address sanitizer stands there itself; it calls when memory is taken.
#include "CAllocations.h"

#include <errno.h>
#include <stddef.h>

static _Thread_local long taken;
static _Thread_local long counting;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif

#ifdef HAS_SANITIZER
extern int __sanitizer_install_malloc_and_free_hooks(
    void (*taken)(const volatile void *, size_t), void (*given)(const volatile void *));

static void note(const volatile void *block, size_t size) { taken += counting; }
static void ignore(const volatile void *block) {}

static void prepare(void) {
    static int installed;
    if (!__atomic_exchange_n(&installed, 1, __ATOMIC_RELAXED)) __sanitizer_install_malloc_and_free_hooks(note, ignore);
}
#else
static void prepare(void) {}
#endif

void allocations_begin(void) {
    prepare();
    taken = 0;
    counting = 1;
}

long allocations_end(void) {
    counting = 0;
    return taken;
}

#ifndef HAS_SANITIZER
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

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
#endif
