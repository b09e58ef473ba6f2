/* The acknowledgement of what was read, at once. */
#ifndef MILLPOND_ACK_NOW_H
#define MILLPOND_ACK_NOW_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static inline void ack_now(int fd) {
#ifdef TCP_QUICKACK
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on); /* fails where fd is not TCP: nothing is lost */
#else
    (void)fd;
#endif
}

#endif
