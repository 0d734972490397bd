// A virtual machine that shares its memory with passt: a front-end of vhost-user and a driver in one, for the kernel of this network namespace, whose tap
// device is bridged to the rings. The tap carries virtio-net headers as the rings do, so that frames pass as they are; buffers to receive are a page each,
// as Linux has them, and a frame takes as many as it needs.
#include "CLoad.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { size = 256, mask = size - 1, page = 4096, longest = 12 + 65549, slot = 68 << 10, slots = 64, fromGuest = 1, toGuest = 0 };
enum { ringsAt = 0, pagesAt = 1 << 20, slotsAt = 4 << 20, total = 16 << 20 };

struct ring {
    struct vring_desc *descriptors;
    struct vring_avail *available;
    struct vring_used *used;
    unsigned short next, seen;
    int kick, call;
};

static struct {
    unsigned char *memory;
    int file, sock, tap;
    struct ring rings[2];
    unsigned short freeSlots[slots];
    int freeCount;
} v;

static unsigned short *used_event(struct ring *ring) { return &ring->available->ring[size]; }
static unsigned short *available_event(struct ring *ring) { return (unsigned short *)&ring->used->ring[size]; }

// Messages.

struct message { unsigned request, flags, size; unsigned char body[320]; } __attribute__((packed));

static int say(unsigned request, const void *body, unsigned length, int fd, int needsReply) {
    struct message message = {.request = request, .flags = 1 | (needsReply ? 8 : 0), .size = length};
    if (length) memcpy(message.body, body, length);
    struct iovec vector = {&message, 12 + length};
    union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_LEN(sizeof(int));
    }
    return sendmsg(v.sock, &header, MSG_NOSIGNAL) == (ssize_t)(12 + length) ? 0 : -1;
}

static int confirmed(unsigned request) {
    struct message answer;
    return recv(v.sock, &answer, 20, MSG_WAITALL) == 20 && answer.request == request ? 0 : -1;
}

static int start(int index) {
    struct ring *ring = &v.rings[index];
    unsigned char *base = v.memory + ringsAt + index * (64 << 10);
    ring->descriptors = (void *)base;
    ring->available = (void *)(base + 8192);
    ring->used = (void *)(base + 16384);
    ring->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ring->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    unsigned number[2] = {(unsigned)index, size}, first[2] = {(unsigned)index, 0}, on[2] = {(unsigned)index, 1};
    struct { unsigned index, flags; unsigned long long descriptors, used, available, log; } address = {
        (unsigned)index, 0, (unsigned long long)ring->descriptors, (unsigned long long)ring->used, (unsigned long long)ring->available, 0};
    unsigned long long which = (unsigned long long)index;
    return say(8, number, 8, -1, 0) | say(10, first, 8, -1, 0) | say(9, &address, 40, -1, 0) | say(13, &which, 8, ring->call, 0)
        | say(12, &which, 8, ring->kick, 0) | say(18, on, 8, -1, 1) | confirmed(18);
}

static int introduce(void) {
    unsigned long long features = 1ull << 0 | 1ull << 1 | 1ull << 7 | 1ull << 8 | 1ull << 11 | 1ull << 12 | 1ull << 15 | 1ull << 29 | 1ull << 30 | 1ull << 32;
    unsigned long long confirmation = 1 << 3;
    struct { unsigned count, padding; unsigned long long guest, size, user, offset; } table = {
        1, 0, (unsigned long long)v.memory, total, (unsigned long long)v.memory, 0};
    return say(3, NULL, 0, -1, 0) | say(2, &features, 8, -1, 0) | say(16, &confirmation, 8, -1, 0) | say(5, &table, 40, v.file, 1) | confirmed(5);
}

// Rings.

static void offer(struct ring *ring, unsigned head) { ring->available->ring[ring->next++ & mask] = (unsigned short)head; }

// What was offered is seen; a kick where it is wanted.
static void publish(struct ring *ring) {
    unsigned short before = __atomic_load_n(&ring->available->idx, __ATOMIC_RELAXED);
    if (before == ring->next) return;
    __atomic_store_n(&ring->available->idx, ring->next, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if ((unsigned short)(ring->next - *available_event(ring) - 1) < (unsigned short)(ring->next - before)) eventfd_write(ring->kick, 1);
}

static int hasUsed(struct ring *ring) { return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) != ring->seen; }

// From now on a call comes for what is used; nonzero when something is there already.
static int ask(struct ring *ring) {
    *used_event(ring) = ring->seen;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return hasUsed(ring);
}

static void takeBack(void) {
    struct ring *ring = &v.rings[fromGuest];
    for (; hasUsed(ring); ring->seen++) v.freeSlots[v.freeCount++] = (unsigned short)ring->used->ring[ring->seen & mask].id;
}

static int from_tap(void) {
    struct ring *ring = &v.rings[fromGuest];
    for (int frames = 0; frames < 16 && v.freeCount > 0; frames++) {
        unsigned head = v.freeSlots[v.freeCount - 1];
        unsigned char *to = v.memory + slotsAt + head * slot;
        ssize_t count = read(v.tap, to, longest);
        if (count < 0 && errno != EAGAIN) return -1;
        if (count <= 12) break;
        v.freeCount--;
        ring->descriptors[head] = (struct vring_desc){(unsigned long long)to, (unsigned)count, 0, 0};
        offer(ring, head);
        if (count > 16384) publish(ring);
    }
    publish(ring);
    return 0;
}

static int to_tap(void) {
    struct ring *ring = &v.rings[toGuest];
    while (hasUsed(ring)) {
        struct iovec pieces[64];
        unsigned count = 0, buffers = 1, heads[64];
        for (; count < buffers; count++, ring->seen++) {
            struct vring_used_elem *element = &ring->used->ring[ring->seen & mask];
            unsigned char *from = v.memory + pagesAt + element->id * page;
            if (count == 0) buffers = ((struct virtio_net_hdr_mrg_rxbuf *)from)->num_buffers;
            if (buffers == 0 || buffers > 64 || (unsigned short)(ring->used->idx - ring->seen) == 0) return -1;
            heads[count] = element->id;
            pieces[count] = (struct iovec){from, element->len};
        }
        if (writev(v.tap, pieces, (int)count) < 0 && errno != EIO && errno != EINVAL && errno != EAGAIN) return -1;
        for (unsigned i = 0; i < count; i++) offer(ring, heads[i]);
        if ((unsigned short)(ring->next - ring->available->idx) >= 16) publish(ring);
    }
    publish(ring);
    return 0;
}

static int open_all(const char *path, const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int header = 12;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    v.tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (v.tap < 0 || ioctl(v.tap, TUNSETIFF, &request) < 0 || ioctl(v.tap, TUNSETVNETHDRSZ, &header) < 0) return -1;
    if (ioctl(v.tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0) return -1;
    v.sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    v.file = memfd_create("guest", MFD_CLOEXEC);
    if (v.sock < 0 || v.file < 0 || ftruncate(v.file, total) < 0) return -1;
    v.memory = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, v.file, 0);
    return v.memory == MAP_FAILED ? -1 : connect(v.sock, (struct sockaddr *)&address, sizeof address);
}

int load_vhost_machine(const char *path, const char *name) {
    if (open_all(path, name) < 0 || introduce() < 0 || start(fromGuest) < 0) return errno ? -errno : -EPROTO;
    for (unsigned short head = 0; head < slots; head++) v.freeSlots[v.freeCount++] = head;
    struct ring *receiving = &v.rings[toGuest], *sending = &v.rings[fromGuest];
    if (start(toGuest) < 0) return errno ? -errno : -EPROTO;
    for (unsigned head = 0; head < size; head++) {
        receiving->descriptors[head] = (struct vring_desc){(unsigned long long)(v.memory + pagesAt + head * page), page, VRING_DESC_F_WRITE, 0};
        offer(receiving, head);
    }
    publish(receiving);
    if (write(1, "ready\n", 6) != 6) return -EIO;
    while (1) {
        takeBack();
        if (to_tap() < 0 || from_tap() < 0) return errno ? -errno : -EPROTO;
        if (ask(receiving) || (v.freeCount == 0 && ask(sending))) continue;
        eventfd_t ignored;
        struct pollfd ready[4] = {{receiving->call, POLLIN, 0}, {v.sock, POLLIN, 0}, {v.freeCount > 0 ? v.tap : -1, POLLIN, 0}, {v.freeCount > 0 ? -1 : sending->call, POLLIN, 0}};
        if (poll(ready, 4, -1) < 0 && errno != EINTR) return -errno;
        if (ready[1].revents) return 0;
        if (ready[0].revents) eventfd_read(receiving->call, &ignored);
        if (ready[3].revents) eventfd_read(sending->call, &ignored);
    }
}
