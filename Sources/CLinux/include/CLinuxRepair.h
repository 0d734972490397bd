// The shims of moving TCP connections; see CLinux.h, which includes this, for the conventions.
#ifndef CLINUX_REPAIR_H
#define CLINUX_REPAIR_H

// Fields of less than a byte.
static inline unsigned char linux_send_scale(const struct linux_tcp_info *info) { return info->tcpi_snd_wscale; }
static inline unsigned char linux_receive_scale(const struct linux_tcp_info *info) { return info->tcpi_rcv_wscale; }

#endif
