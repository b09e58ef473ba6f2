/* Readiness of descriptors: epoll on Linux, kqueue on macOS and the BSDs. One poller descriptor, itself
 * readable when something in it is ready, so that an asyncio loop can watch it. `tag` comes back with events. */
#ifndef MILLPOND_POLLER_H
#define MILLPOND_POLLER_H

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define POLLER_READ 1
#define POLLER_WRITE 2
#define POLLER_HANGUP 4

typedef struct {
    uint64_t tag;
    int what;
} poller_event;

#if defined(__linux__)
#include <sys/epoll.h>

static inline int poller_open(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline uint32_t poller_mask(int want) {
    return ((want & POLLER_READ) ? EPOLLIN : 0u) | ((want & POLLER_WRITE) ? EPOLLOUT : 0u);
}

static inline int poller_add(int poller, int fd, int want, uint64_t tag) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = poller_mask(want);
    event.data.u64 = tag;
    return epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static inline int poller_change(int poller, int fd, int had, int want, uint64_t tag) {
    struct epoll_event event;
    (void)had;
    memset(&event, 0, sizeof event);
    event.events = poller_mask(want);
    event.data.u64 = tag;
    return epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

static inline int poller_remove(int poller, int fd) {
    struct epoll_event event;
    return epoll_ctl(poller, EPOLL_CTL_DEL, fd, &event);
}

static inline int poller_wait_ms(int poller, poller_event *out, int most, int timeout_ms) {
    struct epoll_event events[256];
    int i, n = epoll_wait(poller, events, most < 256 ? most : 256, timeout_ms);
    for (i = 0; i < n; i++) {
        uint32_t got = events[i].events;
        out[i].tag = events[i].data.u64;
        out[i].what = ((got & EPOLLIN) ? POLLER_READ : 0) | ((got & EPOLLOUT) ? POLLER_WRITE : 0) |
                      ((got & (EPOLLHUP | EPOLLERR)) ? POLLER_HANGUP : 0);
    }
    return n;
}
#else
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>

static inline int poller_open(void) { return kqueue(); }

static inline int poller_switch(int poller, int fd, int filter, int on, uint64_t tag) {
    struct kevent event;
    EV_SET(&event, fd, filter, on ? EV_ADD : EV_DELETE, 0, 0, (void *)(uintptr_t)tag);
    return kevent(poller, &event, 1, NULL, 0, NULL);
}

static inline int poller_change(int poller, int fd, int had, int want, uint64_t tag) {
    if ((had ^ want) & POLLER_READ && poller_switch(poller, fd, EVFILT_READ, want & POLLER_READ, tag) < 0)
        return -1;
    if ((had ^ want) & POLLER_WRITE && poller_switch(poller, fd, EVFILT_WRITE, want & POLLER_WRITE, tag) < 0)
        return -1;
    return 0;
}

static inline int poller_add(int poller, int fd, int want, uint64_t tag) {
    return poller_change(poller, fd, 0, want, tag);
}

static inline int poller_remove(int poller, int fd) {
    poller_switch(poller, fd, EVFILT_READ, 0, 0);
    poller_switch(poller, fd, EVFILT_WRITE, 0, 0);
    return 0;
}

static inline int poller_wait_ms(int poller, poller_event *out, int most, int timeout_ms) {
    struct kevent events[256];
    struct timespec limit = {timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};
    int i, n = kevent(poller, NULL, 0, events, most < 256 ? most : 256, timeout_ms < 0 ? NULL : &limit);
    for (i = 0; i < n; i++) {
        out[i].tag = (uint64_t)(uintptr_t)events[i].udata;
        out[i].what = (events[i].filter == EVFILT_READ ? POLLER_READ : POLLER_WRITE) |
                      ((events[i].flags & EV_EOF) ? POLLER_HANGUP : 0);
    }
    return n;
}
#endif

/* What is ready now. */
static inline int poller_wait(int poller, poller_event *out, int most) { return poller_wait_ms(poller, out, most, 0); }

#endif
