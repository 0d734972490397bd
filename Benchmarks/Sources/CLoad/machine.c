// A virtual machine in the eyes of passt, as cheap as it can be: the kernel of this network namespace, its tap device bridged to a stream socket.
// Frames carry no virtio-net header on either side, so the kernel sums and cuts for itself, as a guest's does behind QEMU's stream socket.
#include "CLoad.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/un.h>

enum { room = 1 << 20, longest = 65549 };

static int open_tap(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) { close(fd); return -1; }
    return fd;
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) { close(fd); return -1; }
    load_set(fd, SOL_SOCKET, SO_SNDBUF, 1 << 20);
    return fd;
}

// Everything that the tap has, up to a buffer full, with one write. Blocks while the socket is full, as a device's queue stops.
static int from_tap(int tap, int sock, unsigned char *buffer) {
    size_t end = 0;
    while (room - end >= longest + 4) {
        ssize_t count = read(tap, buffer + end + 4, longest);
        if (count <= 0) break;
        *(unsigned *)(buffer + end) = htonl((unsigned)count);
        end += 4 + (size_t)count;
    }
    for (size_t done = 0; done < end;) {
        ssize_t count = send(sock, buffer + done, end - done, MSG_NOSIGNAL);
        if (count <= 0) return -1;
        done += (size_t)count;
    }
    return 0;
}

// One large read, and a write for each frame in it; what is left of a frame moves to the front.
static int to_tap(int tap, int sock, unsigned char *buffer, size_t *kept) {
    ssize_t count = recv(sock, buffer + *kept, room - *kept, MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN)) return -1;
    if (count < 0) return 0;
    size_t end = *kept + (size_t)count, offset = 0;
    while (end - offset >= 4) {
        size_t length = ntohl(*(unsigned *)(buffer + offset));
        if (length > longest) return -1;
        if (end - offset - 4 < length) break;
        if (write(tap, buffer + offset + 4, length) < 0 && errno != EIO && errno != EINVAL) return -1;
        offset += 4 + length;
    }
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
