// Memory that another process reads and writes meanwhile: each access is one load or store, in an order that both sides agree upon
// (virtio 1.2, sections 2.7.7 and 2.7.13).
#ifndef CLINUX_SHARED_H
#define CLINUX_SHARED_H

// Addresses must be aligned.
static inline unsigned short linux_load16(const void *address) { return __atomic_load_n((const unsigned short *)address, __ATOMIC_ACQUIRE); }
static inline unsigned long long linux_load64(const void *address) {
    return __atomic_load_n((const unsigned long long *)address, __ATOMIC_RELAXED);
}
static inline void linux_store16(void *address, unsigned short value) { __atomic_store_n((unsigned short *)address, value, __ATOMIC_RELEASE); }
static inline void linux_store32(void *address, unsigned value) { __atomic_store_n((unsigned *)address, value, __ATOMIC_RELAXED); }
// Sets bits, after whatever was stored before.
static inline void linux_set_bits(void *address, unsigned char bits) { __atomic_fetch_or((unsigned char *)address, bits, __ATOMIC_RELEASE); }
// Between a store and a load of something else, on both sides: one of them sees what the other has stored.
static inline void linux_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

#endif
