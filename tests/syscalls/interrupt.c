/* Preloaded into a process: every system call with which files under INTERRUPT_UNDER are made, read, changed and synced
 * is interrupted first (EINTR), and does then only a part of what it can do in part: half of a range, one byte at least.
 * What it has counted it appends to INTERRUPT_COUNTS when the process ends. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, TRUNCATE, ALLOCATE, SYNC, KINDS };
static const char *const names[KINDS] = {"open", "read", "write", "truncate", "allocate", "sync"};
static unsigned long interrupted[KINDS], shortened[KINDS];
static __thread int again; /* the call before was interrupted: this one is let through */

static int is_under(const char *path) {
    const char *root = getenv("INTERRUPT_UNDER");
    return root && !strncmp(path, root, strlen(root));
}

static int is_ours(int fd) {
    char link[64], path[PATH_MAX];
    ssize_t n;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_under(path);
}

static int interrupts(int kind) {
    again = !again;
    if (again) {
        __atomic_add_fetch(&interrupted[kind], 1, __ATOMIC_RELAXED);
        errno = EINTR;
    }
    return again;
}

static size_t part(int kind, size_t n) {
    if (n < 2) return n;
    __atomic_add_fetch(&shortened[kind], 1, __ATOMIC_RELAXED);
    return (n + 1) / 2;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pread(int fd, void *data, size_t n, off_t at) {
    if (!is_ours(fd)) return REAL(pread)(fd, data, n, at);
    return interrupts(READ) ? -1 : REAL(pread)(fd, data, part(READ, n), at);
}
ssize_t pread64(int fd, void *data, size_t n, off64_t at) { return pread(fd, data, n, at); }

ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    struct iovec less = *parts;
    if (!is_ours(fd)) return REAL(preadv2)(fd, parts, count, at, flags);
    less.iov_len = part(READ, less.iov_len);
    return interrupts(READ) ? -1 : REAL(preadv2)(fd, &less, 1, at, flags);
}
ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags) {
    return preadv2(fd, parts, count, at, flags);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    if (!is_ours(fd)) return REAL(pwrite)(fd, data, n, at);
    return interrupts(WRITE) ? -1 : REAL(pwrite)(fd, data, part(WRITE, n), at);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { return pwrite(fd, data, n, at); }

int ftruncate(int fd, off_t size) {
    if (!is_ours(fd)) return REAL(ftruncate)(fd, size);
    return interrupts(TRUNCATE) ? -1 : REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int posix_fallocate(int fd, off_t at, off_t n) {
    if (!is_ours(fd)) return REAL(posix_fallocate)(fd, at, n);
    return interrupts(ALLOCATE) ? EINTR : REAL(posix_fallocate)(fd, at, n);
}
int posix_fallocate64(int fd, off64_t at, off64_t n) { return posix_fallocate(fd, at, n); }

int fsync(int fd) {
    if (!is_ours(fd)) return REAL(fsync)(fd);
    return interrupts(SYNC) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (!is_ours(fd)) return REAL(fdatasync)(fd);
    return interrupts(SYNC) ? -1 : REAL(fdatasync)(fd);
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    int ours = folder == AT_FDCWD || *path == '/' ? is_under(path) : is_ours(folder);
    if (ours && interrupts(OPEN)) return -1;
    return REAL(openat)(folder, path, flags, mode);
}

#define OPENS(flags) \
    va_list rest; \
    mode_t mode; \
    va_start(rest, flags); \
    mode = flags & O_CREAT ? (mode_t)va_arg(rest, int) : 0; \
    va_end(rest)

int open(const char *path, int flags, ...) {
    OPENS(flags);
    return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    OPENS(flags);
    return opened(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    OPENS(flags);
    return opened(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    OPENS(flags);
    return opened(folder, path, flags, mode);
}

__attribute__((destructor)) static void tell(void) {
    const char *to = getenv("INTERRUPT_COUNTS");
    FILE *file = to ? fopen(to, "a") : NULL;
    int i;
    if (!file) return;
    for (i = 0; i < KINDS; i++) fprintf(file, "%s %lu %lu\n", names[i], interrupted[i], shortened[i]);
    fclose(file);
}
