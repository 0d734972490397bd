// A virtual machine that costs next to nothing, so that what is measured is passt alone: no kernel, one connection of TCP, frames prepared once and
// sent many at a time. Losses slow it down
// as they do a kernel: slow start, halving, going back to what was acknowledged.
#include "CLoad.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/un.h>

enum { ip = 14, tcp = 34, data = 54, prefix = 4, room = 1 << 20, batch = 256 << 10, longest = 65549, shift = 8 };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static unsigned get16(const unsigned char *p) { return (unsigned)p[0] << 8 | p[1]; }
static unsigned get32(const unsigned char *p) { return get16(p) << 16 | get16(p + 2); }
static void put16(unsigned char *p, unsigned value) { p[0] = (unsigned char)(value >> 8); p[1] = (unsigned char)value; }
static void put32(unsigned char *p, unsigned value) { put16(p, value >> 16); put16(p + 2, value); }

static struct {
    int sock;
    unsigned port, mss, remote, local;
    unsigned char gateway[6];
    // Sequence numbers: first unacknowledged, next, furthest so far, next expected.
    unsigned una, next, most, expected;
    unsigned window, scale, congestion, threshold, equal, acknowledged;
    int isOpen, isOver, resolved;
    long long bytes, heard, elapsed;
} w;

static int failed(const char *reason) {
    fprintf(stderr, "load: bare: %s after %lld bytes\n", reason, w.bytes);
    return -1;
}

static const unsigned char own[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

// Waits for room: what was begun must be ended.
static int write_all(const unsigned char *from, size_t length) {
    while (length > 0) {
        ssize_t count = send(w.sock, from, length, MSG_NOSIGNAL);
        if (count <= 0) return failed("sending failed");
        from += count;
        length -= (size_t)count;
    }
    return 0;
}

// Ethernet, IPv4 and TCP before `payload` bytes; checksums of TCP stay partial, as from guests of libkrun.
static void head(unsigned char *frame, unsigned sequence, unsigned flags, unsigned options, unsigned payload) {
    unsigned sum = 0, length = 40 + options + payload;
    put32(frame - prefix, ip + length);
    memcpy(frame, w.gateway, 6);
    memcpy(frame + 6, own, 6);
    put16(frame + 12, 0x0800);
    memset(frame + ip, 0, 40);
    frame[ip] = 0x45;
    put16(frame + ip + 2, length);
    frame[ip + 6] = 0x40;
    frame[ip + 8] = 64;
    frame[ip + 9] = 6;
    put32(frame + ip + 12, w.local);
    put32(frame + ip + 16, w.remote);
    for (int i = 0; i < 20; i += 2) sum += get16(frame + ip + i);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(frame + ip + 10, ~(sum + (sum >> 16)) & 0xffff);
    put16(frame + tcp, w.port);
    put16(frame + tcp + 2, 5201);
    put32(frame + tcp + 4, sequence);
    put32(frame + tcp + 8, flags & ACK ? w.expected : 0);
    frame[tcp + 12] = (unsigned char)((5 + options / 4) << 4);
    frame[tcp + 13] = (unsigned char)flags;
    put16(frame + tcp + 14, flags & SYN ? 0xffff : (4 << 20) >> shift);
}

static int control(unsigned flags, const void *payload, unsigned length) {
    unsigned char bytes[prefix + data + 64];
    head(bytes + prefix, w.next, flags, 0, length);
    memcpy(bytes + prefix + data, payload, length);
    w.next += length;
    w.most = w.next;
    return write_all(bytes, prefix + data + length);
}

static int open_connection(void) {
    unsigned char bytes[prefix + data + 8], *options = bytes + prefix + data;
    head(bytes + prefix, 0, SYN, 8, 0);
    put32(options, 0x02040000 | w.mss);
    put32(options + 4, 0x01030300 | shift);
    w.next = w.una = w.most = 1;
    return write_all(bytes, sizeof bytes);
}

static int arp(unsigned operation, const unsigned char *to, unsigned address) {
    unsigned char bytes[prefix + 42] = {0}, *frame = bytes + prefix;
    put32(bytes, 42);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, own, 6);
    put16(frame + 12, 0x0806);
    put32(frame + 14, 0x00010800);
    put32(frame + 18, 0x06040000 | operation);
    memcpy(frame + 22, own, 6);
    put32(frame + 28, w.local);
    if (to) memcpy(frame + 32, to, 6);
    put32(frame + 38, address);
    return write_all(bytes, sizeof bytes);
}

static void acknowledged(unsigned number, unsigned window, int isBare, long long now) {
    unsigned count = number - w.una;
    if (count != 0 && count <= w.most - w.una) {
        w.una = number;
        if ((int)(w.next - number) < 0) w.next = number;
        w.bytes += count;
        w.equal = 0;
        w.heard = now;
        w.congestion += w.congestion < w.threshold ? count : (unsigned)((unsigned long long)w.mss * count / w.congestion + 1);
        if (w.congestion > 64 << 20) w.congestion = 64 << 20;
    } else if (count == 0 && isBare && window == w.window && w.next != w.una && ++w.equal == 3) {
        w.threshold = w.congestion = (w.next - w.una) / 2 > 2 * w.mss ? (w.next - w.una) / 2 : 2 * w.mss;
        w.next = w.una;
    }
    w.window = window;
}

static int took(unsigned char *frame, unsigned length, long long now) {
    if (length >= 42 && get16(frame + 12) == 0x0806) {
        if (get16(frame + 20) == 2) memcpy(w.gateway, frame + 22, 6), w.resolved = 1;
        return get16(frame + 20) == 1 && get32(frame + 38) == w.local ? arp(2, frame + 22, get32(frame + 28)) : 0;
    }
    if (length < data || get16(frame + 12) != 0x0800 || frame[ip + 9] != 6 || get16(frame + tcp + 2) != w.port) return 0;
    unsigned flags = frame[tcp + 13], start = tcp + (frame[tcp + 12] >> 4) * 4u, end = ip + get16(frame + ip + 2), number = get32(frame + tcp + 4);
    if (end > length || start > end) return failed("a frame that is none");
    if (flags & RST) return failed("reset");
    if (flags & SYN) {
        if (w.isOpen) return 0;
        for (unsigned i = data; i + 2 < start; i += frame[i] == 1 ? 1 : frame[i + 1] ? frame[i + 1] : 40u)
            if (frame[i] == 3) w.scale = frame[i + 2];
        w.expected = number + 1;
        w.window = get16(frame + tcp + 14);
        w.isOpen = 1;
        return 0;
    }
    unsigned payload = end - start;
    acknowledged(get32(frame + tcp + 8), get16(frame + tcp + 14) << w.scale, payload == 0, now);
    if (number != w.expected) return payload > 0 ? control(ACK, "", 0) : 0;
    w.expected += payload;
    w.bytes += payload;
    if (flags & FIN) w.isOver = 1;
    if (payload > 0 && w.expected - w.acknowledged >= 65536) {
        w.acknowledged = w.expected;
        return control(ACK, "", 0);
    }
    return 0;
}

static int receive_frames(long long now) {
    static unsigned char buffer[room];
    static size_t kept;
    ssize_t count = recv(w.sock, buffer + kept, room - kept, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) return failed("passt closed the socket");
    size_t end = kept + (size_t)count, offset = 0;
    while (end - offset >= prefix) {
        unsigned length = get32(buffer + offset);
        if (length > longest) return failed("a length that is none");
        if (end - offset - prefix < length) break;
        if (took(buffer + offset + prefix, length, now) < 0) return -1;
        offset += prefix + length;
    }
    kept = end - offset;
    memmove(buffer, buffer + offset, kept);
    if (w.expected == w.acknowledged || !w.isOpen) return 0;
    w.acknowledged = w.expected;
    return control(ACK, "", 0);
}

// A window that is smaller than a segment.
static int send_part(unsigned char *first, unsigned length) {
    unsigned char *frame = first + prefix;
    head(frame, w.next, ACK | PSH, 0, length);
    int result = write_all(first, prefix + data + length);
    head(frame, 0, ACK | PSH, 0, w.mss);
    w.next += length;
    if ((int)(w.next - w.most) > 0) w.most = w.next;
    return result < 0 ? -1 : 1;
}

// As much as the windows allow, whole segments only, with one call. 0 when they allow nothing.
static int send_data(void) {
    static unsigned char buffer[batch + longest + 64];
    static unsigned prepared;
    unsigned stride = prefix + data + w.mss, most = batch / stride > 0 ? batch / stride : 1;
    if (prepared == 0) {
        memset(buffer, 'a', sizeof buffer);
        for (; prepared < most; prepared++) head(buffer + prepared * stride + prefix, 0, ACK | PSH, 0, w.mss);
    }
    unsigned limit = w.window < w.congestion ? w.window : w.congestion, used = w.next - w.una, count = limit > used ? (limit - used) / w.mss : 0;
    if (count > most) count = most;
    for (unsigned i = 0; i < count; i++) {
        put32(buffer + i * stride + prefix + tcp + 4, w.next + i * w.mss);
        put32(buffer + i * stride + prefix + tcp + 8, w.expected);
    }
    if (count == 0) return used == 0 && limit > 0 ? send_part(buffer, limit) : 0;
    w.next += count * w.mss;
    if ((int)(w.next - w.most) > 0) w.most = w.next;
    return write_all(buffer, (size_t)count * stride) < 0 ? -1 : 1;
}

static int wait_for(short events, int milliseconds) {
    struct pollfd ready = {.fd = w.sock, .events = events};
    return poll(&ready, 1, milliseconds) > 0 ? ready.revents : 0;
}

static int run(int isUp, const void *request, unsigned length, long long nanoseconds) {
    if (arp(1, NULL, w.remote) < 0) return -1;
    while (!w.resolved) {
        if (wait_for(POLLIN, 2000) == 0) return failed("nobody answers ARP");
        if (receive_frames(0) < 0) return -1;
    }
    if (open_connection() < 0) return -1;
    while (!w.isOpen) {
        if (wait_for(POLLIN, 2000) == 0) return failed("nobody answers SYN");
        if (receive_frames(0) < 0) return -1;
    }
    w.acknowledged = w.expected;
    if (control(ACK, "", 0) < 0 || control(ACK | PSH, request, length) < 0) return -1;
    long long start = w.heard = load_now(), now = start;
    w.congestion = 10 * w.mss;
    w.threshold = ~0u;
    w.bytes = 0;
    while (!w.isOver && now - start < nanoseconds) {
        int sent = isUp ? send_data() : 0;
        if (sent < 0) return -1;
        // Full windows wait for news; a lost end, for a fifth of a second.
        if (wait_for(POLLIN, sent ? 0 : 100) && receive_frames(now) < 0) return -1;
        now = load_now();
        w.elapsed = now - start;
        if (isUp && w.next != w.una && now - w.heard > 200000000) {
            w.threshold = (w.next - w.una) / 2 > 2 * w.mss ? (w.next - w.una) / 2 : 2 * w.mss;
            w.congestion = 2 * w.mss;
            w.next = w.una;
            w.heard = now;
        }
    }
    return 0;
}

int load_bare(const char *path, const char *from, const char *to, int mtu, int isUp, const void *request, int length, long long nanoseconds,
              long long *bytes, long long *elapsed) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    w.sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w.sock < 0 || connect(w.sock, (struct sockaddr *)&address, sizeof address) < 0) return -errno;
    load_set(w.sock, SOL_SOCKET, SO_SNDBUF, 1 << 20);
    struct in_addr ends[2];
    if (inet_pton(AF_INET, from, &ends[0]) != 1 || inet_pton(AF_INET, to, &ends[1]) != 1 || length > 64 || mtu < 576 || mtu > 65535) return -EINVAL;
    w.local = ntohl(ends[0].s_addr);
    w.remote = ntohl(ends[1].s_addr);
    w.mss = (unsigned)mtu - 40;
    // Another one each time: the last one's may not be forgotten yet.
    w.port = 20000 + (unsigned)getpid() % 40000;
    int status = run(isUp, request, (unsigned)length, nanoseconds) < 0 ? -EIO : 0;
    *bytes = w.bytes;
    *elapsed = w.elapsed;
    close(w.sock);
    return status;
}
