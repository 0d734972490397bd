// A virtual machine in the eyes of passt, as cheap as it can be: the kernel of this network namespace, whose tap device is bridged to a stream
// socket. The tap carries virtio-net headers, so that the kernel does its work once for 64 KiB as it does for a network card; the card's part is done
// here: super-segments of the kernel are cut to the MTU, and arriving segments that follow one another are joined. Checksums of TCP are left
// partial, as by guests of libkrun. IPv4 TCP only; everything else passes as it is.
#include "CLoad.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { room = 1 << 20, longest = 65549, mostJoined = 60, ip = 14, tcp = 34 };
typedef struct virtio_net_hdr Offload;

static unsigned get16(const unsigned char *p) { return (unsigned)p[0] << 8 | p[1]; }
static unsigned get32(const unsigned char *p) { return get16(p) << 16 | get16(p + 2); }
static void put16(unsigned char *p, unsigned value) { p[0] = (unsigned char)(value >> 8); p[1] = (unsigned char)value; }
static void put32(unsigned char *p, unsigned value) { put16(p, value >> 16); put16(p + 2, value); }

static unsigned fold(unsigned sum) { sum = (sum & 0xffff) + (sum >> 16); return (sum & 0xffff) + (sum >> 16); }
static unsigned sum16(const unsigned char *p, int count) { unsigned sum = 0; for (int i = 0; i < count; i += 2) sum += get16(p + i); return sum; }

static void set_ip(unsigned char *frame, unsigned length, unsigned identification) {
    put16(frame + ip + 2, length);
    put16(frame + ip + 4, identification);
    put16(frame + ip + 10, 0);
    put16(frame + ip + 10, ~fold(sum16(frame + ip, 20)) & 0xffff);
}

static int open_tap(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0) return -1;
    return fd;
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
    load_set(fd, SOL_SOCKET, SO_SNDBUF, 1 << 20);
    return fd;
}

// Puts the frame behind a length, or as many frames as it has to be cut to; returns the end.
static size_t emit(unsigned char *to, const unsigned char *frame, size_t length, const Offload *offload) {
    size_t headers = tcp + (size_t)(frame[tcp + 12] >> 4) * 4;
    if (offload->gso_type != VIRTIO_NET_HDR_GSO_TCPV4 || length - headers <= offload->gso_size) {
        put32(to, (unsigned)length);
        memcpy(to + 4, frame, length);
        return 4 + length;
    }
    size_t end = 0, size = offload->gso_size;
    unsigned sequence = get32(frame + tcp + 4), identification = get16(frame + ip + 4);
    for (size_t start = headers; start < length; start += size) {
        size_t part = length - start < size ? length - start : size;
        unsigned char *out = to + end + 4;
        put32(to + end, (unsigned)(headers + part));
        memcpy(out, frame, headers);
        memcpy(out + headers, frame + start, part);
        set_ip(out, (unsigned)(headers - ip + part), identification++);
        put32(out + tcp + 4, sequence + (unsigned)(start - headers));
        if (start + part < length) out[tcp + 13] &= ~0x09;  // FIN and PSH are the last one's.
        end += 4 + headers + part;
    }
    return end;
}

// Everything that the tap has, up to a buffer full, with one write. Blocks while the socket is full, as a device's queue stops.
static int from_tap(int tap, int sock, unsigned char *buffer) {
    static unsigned char frame[sizeof(Offload) + longest];
    size_t end = 0;
    while (room - end >= 3 * longest) {
        ssize_t count = read(tap, frame, sizeof frame);
        if (count < (ssize_t)sizeof(Offload) + tcp + 20) {
            if (count <= (ssize_t)sizeof(Offload)) break;
            memset(frame + count, 0, 64);
        }
        end += emit(buffer + end, frame + sizeof(Offload), (size_t)count - sizeof(Offload), (Offload *)frame);
    }
    for (size_t done = 0; done < end;) {
        ssize_t count = send(sock, buffer + done, end - done, MSG_NOSIGNAL);
        if (count <= 0) return -1;
        done += (size_t)count;
    }
    return 0;
}

// Data and nothing but data: ACK, perhaps PSH, no options of IP.
static size_t data_of(const unsigned char *frame, size_t length) {
    if (length < tcp + 20 || get16(frame + 12) != 0x0800 || frame[ip] != 0x45 || frame[ip + 9] != 6 || (frame[tcp + 13] & 0xf7) != 0x10) return 0;
    size_t end = ip + get16(frame + ip + 2), headers = tcp + (size_t)(frame[tcp + 12] >> 4) * 4;
    return end == length && end > headers ? end - headers : 0;
}

// Frames that follow one another in a buffer, on their way to the tap as one.
struct joined {
    struct iovec pieces[mostJoined + 1];
    int count;
    unsigned char *first;
    size_t headers, size, payload;
    unsigned next;
    Offload offload;
};

static int flush(int tap, struct joined *joined) {
    if (joined->count == 0) return 0;
    memset(&joined->offload, 0, sizeof joined->offload);
    if (joined->count > 2) {
        unsigned char *frame = joined->first;
        unsigned length = (unsigned)(joined->headers - tcp + joined->payload);
        set_ip(frame, length + 20, get16(frame + ip + 4));
        put16(frame + tcp + 16, fold(fold(sum16(frame + ip + 12, 8) + 6 + length)));
        joined->offload = (Offload){
            .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .hdr_len = (unsigned short)joined->headers,
            .gso_size = (unsigned short)joined->size, .csum_start = tcp, .csum_offset = 16};
    }
    joined->pieces[0] = (struct iovec){&joined->offload, sizeof joined->offload};
    ssize_t count = writev(tap, joined->pieces, joined->count);
    joined->count = 0;
    return count < 0 && errno != EIO && errno != EINVAL && errno != EAGAIN ? -1 : 0;
}

static int take(int tap, struct joined *joined, unsigned char *frame, size_t length) {
    size_t data = data_of(frame, length);
    if (joined->count > 1 && data > 0 && data <= joined->size && joined->count <= mostJoined && joined->payload + data + joined->headers < 65500
        && get32(frame + tcp + 4) == joined->next && memcmp(frame + ip + 12, joined->first + ip + 12, 12) == 0
        && memcmp(frame + tcp + 8, joined->first + tcp + 8, 4) == 0 && frame[tcp + 12] == joined->first[tcp + 12]
        && (frame[tcp + 12] == 0x50 || memcmp(frame + tcp + 20, joined->first + tcp + 20, joined->headers - tcp - 20) == 0)) {
        joined->pieces[joined->count++] = (struct iovec){frame + joined->headers, data};
        joined->payload += data;
        joined->next += (unsigned)data;
        joined->first[tcp + 13] |= frame[tcp + 13];
        return data < joined->size ? flush(tap, joined) : 0;
    }
    if (flush(tap, joined) < 0) return -1;
    joined->pieces[1] = (struct iovec){frame, length};
    joined->count = 2;
    if (data == 0) return flush(tap, joined);
    joined->first = frame;
    joined->headers = length - data;
    joined->size = joined->payload = data;
    joined->next = get32(frame + tcp + 4) + (unsigned)data;
    return 0;
}

// One large read; what is left of a frame moves to the front.
static int to_tap(int tap, int sock, unsigned char *buffer, size_t *kept) {
    static struct joined joined;
    ssize_t count = recv(sock, buffer + *kept, room - *kept, MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN)) return -1;
    if (count < 0) return 0;
    size_t end = *kept + (size_t)count, offset = 0;
    while (end - offset >= 4) {
        size_t length = get32(buffer + offset);
        if (length > longest) return -1;
        if (end - offset - 4 < length) break;
        if (take(tap, &joined, buffer + offset + 4, length) < 0) return -1;
        offset += 4 + length;
    }
    if (flush(tap, &joined) < 0) return -1;
    *kept = end - offset;
    memmove(buffer, buffer + offset, *kept);
    return 0;
}

int load_machine(const char *path, const char *name) {
    static unsigned char outgoing[room], incoming[room];
    size_t kept = 0;
    int tap = open_tap(name), sock = connect_to(path);
    if (tap < 0 || sock < 0) return -errno;
    if (write(1, "ready\n", 6) != 6) return -EIO;
    struct pollfd ready[2] = {{.fd = tap, .events = POLLIN}, {.fd = sock, .events = POLLIN}};
    while (poll(ready, 2, -1) >= 0 || errno == EINTR) {
        if (ready[1].revents && to_tap(tap, sock, incoming, &kept) < 0) break;
        if (ready[0].revents && from_tap(tap, sock, outgoing) < 0) break;
    }
    return 0;
}
