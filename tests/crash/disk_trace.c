/* A library to preload into the server: writes down, in one order, what it does to the files below $TRACE_ROOT
 * and what it sends to its clients. tests/crash/disk_trace.py reads the trace and plays power cuts with it.
 *
 *     record   u32 kind | i32 result-free argument | u64 inode | u64 a | u64 b | u32 n | n bytes
 *
 * A write is traced and done under one lock, so the order in the trace is the order of effect. A sync is traced when
 * it begins and, if it succeeds, when it ends: what was written before its beginning is durable after its end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, TRUNCATE, ALLOCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR, SEND };
enum { DESCRIPTORS = 4096 };

struct head { uint32_t kind; int32_t id; uint64_t inode, a, b; uint32_t n; } __attribute__((packed));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace_fd = -1;
static char root[PATH_MAX];
static uint64_t inodes[DESCRIPTORS];          /* of the descriptors below the root, 0: not one of them */
static int32_t last_sync;

#define REAL(type, name, ...) \
    static type (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static void put(uint32_t kind, int32_t id, uint64_t inode, uint64_t a, uint64_t b, const void *data, size_t n) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    struct head head = {kind, id, inode, a, b, (uint32_t)n};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, n}};
    if (real_writev(trace_fd, parts, 2) != (ssize_t)(sizeof head + n)) abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("TRACE_FILE"), *base = getenv("TRACE_ROOT");
    if (!name || !base || !realpath(base, root)) return;
    trace_fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int below(const char *path) {
    size_t n = strlen(root);
    return trace_fd >= 0 && n && !strncmp(path, root, n) && (path[n] == '/' || !path[n]);
}

/* The absolute path of `name` in the directory `at`; the name itself need not exist. */
static int absolute(int at, const char *name, char *out) {
    char base[PATH_MAX], link[64];
    if (name[0] == '/') return snprintf(out, PATH_MAX, "%s", name) < PATH_MAX;
    if (at == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n < 0) return 0;
        base[n] = 0;
    }
    return snprintf(out, PATH_MAX, "%s/%s", base, name) < PATH_MAX;
}

static uint64_t tracked(int fd) { return fd >= 0 && fd < DESCRIPTORS ? inodes[fd] : 0; }

static void opened(int fd, const char *path, int flags, int existed) {
    struct stat info;
    if (fd < 0 || fd >= DESCRIPTORS || fstat(fd, &info)) return;
    inodes[fd] = info.st_ino;
    put(OPEN, S_ISDIR(info.st_mode), info.st_ino, !existed, (flags & O_TRUNC) != 0, path, strlen(path));
}

static int open_common(int at, const char *name, int flags, mode_t mode) {
    REAL(int, openat, int, const char *, int, ...);
    char path[PATH_MAX];
    struct stat info;
    if (trace_fd < 0 || !absolute(at, name, path) || !below(path)) {
        int fd = real_openat(at, name, flags, mode);
        if (fd >= 0 && fd < DESCRIPTORS) inodes[fd] = 0;
        return fd;
    }
    pthread_mutex_lock(&lock);
    int existed = !lstat(path, &info), fd = real_openat(at, name, flags, mode), error = errno;
    opened(fd, path, flags, existed);
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE va_list rest; va_start(rest, flags); mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; va_end(rest)
int open(const char *name, int flags, ...) { MODE; return open_common(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE; return open_common(AT_FDCWD, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE; return open_common(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE; return open_common(at, name, flags, mode); }

int close(int fd) {
    REAL(int, close, int);
    if (fd >= 0 && fd < DESCRIPTORS) inodes[fd] = 0;
    return real_close(fd);
}

static ssize_t pwrite_common(int fd, const void *data, size_t n, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    uint64_t inode = tracked(fd);
    if (!inode) return real_pwrite64(fd, data, n, at);
    pthread_mutex_lock(&lock);
    ssize_t done = real_pwrite64(fd, data, n, at);
    int error = errno;
    if (done > 0) put(WRITE, 0, inode, (uint64_t)at, 0, data, (size_t)done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return pwrite_common(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { return pwrite_common(fd, data, n, at); }

ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    uint64_t inode = tracked(fd);
    if (!inode) return real_write(fd, data, n);
    pthread_mutex_lock(&lock);
    ssize_t done = real_write(fd, data, n);
    int error = errno;
    if (done > 0) put(WRITE, 0, inode, (uint64_t)lseek(fd, 0, SEEK_CUR) - (uint64_t)done, 0, data, (size_t)done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

/* Ways to write that the store does not use: the trace would be wrong without a word. */
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) { (void)v, (void)n, (void)at; if (tracked(fd)) abort(); errno = ENOSYS; return -1; }
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t at, int f) { (void)v, (void)n, (void)at, (void)f; if (tracked(fd)) abort(); errno = ENOSYS; return -1; }

static int truncate_common(int fd, off64_t size) {
    REAL(int, ftruncate64, int, off64_t);
    uint64_t inode = tracked(fd);
    if (!inode) return real_ftruncate64(fd, size);
    pthread_mutex_lock(&lock);
    int done = real_ftruncate64(fd, size), error = errno;
    if (!done) put(TRUNCATE, 0, inode, (uint64_t)size, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int ftruncate(int fd, off_t size) { return truncate_common(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_common(fd, size); }

static int allocate_common(int fd, off64_t at, off64_t n) {
    REAL(int, posix_fallocate64, int, off64_t, off64_t);
    uint64_t inode = tracked(fd);
    if (!inode) return real_posix_fallocate64(fd, at, n);
    pthread_mutex_lock(&lock);
    int done = real_posix_fallocate64(fd, at, n);
    if (!done) put(ALLOCATE, 0, inode, (uint64_t)at, (uint64_t)n, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int posix_fallocate(int fd, off_t at, off_t n) { return allocate_common(fd, at, n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) { return allocate_common(fd, at, n); }

static int sync_common(int fd, int (*real)(int)) {
    uint64_t inode = tracked(fd);
    if (!inode) return real(fd);
    pthread_mutex_lock(&lock);
    int32_t id = ++last_sync;
    put(SYNC_BEGIN, id, inode, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    int done = real(fd), error = errno;
    if (!done) {
        pthread_mutex_lock(&lock);
        put(SYNC_END, id, inode, 0, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return done;
}
int fsync(int fd) { REAL(int, fsync, int); return sync_common(fd, real_fsync); }
int fdatasync(int fd) { REAL(int, fdatasync, int); return sync_common(fd, real_fdatasync); }

/* `kind` with the path of `name`, after `done` succeeded; for a rename both paths, a NUL between them. */
int renameat(int from_at, const char *from, int to_at, const char *to) {
    REAL(int, renameat, int, const char *, int, const char *);
    char both[2 * PATH_MAX], path[PATH_MAX];
    if (trace_fd < 0 || !absolute(from_at, from, both) || !below(both) || !absolute(to_at, to, path))
        return real_renameat(from_at, from, to_at, to);
    size_t n = strlen(both) + 1;
    strcpy(both + n, path);
    pthread_mutex_lock(&lock);
    int done = real_renameat(from_at, from, to_at, to), error = errno;
    if (!done) put(RENAME, 0, 0, 0, 0, both, n + strlen(path));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int at, const char *name, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    char path[PATH_MAX];
    if (trace_fd < 0 || !absolute(at, name, path) || !below(path)) return real_unlinkat(at, name, flags);
    pthread_mutex_lock(&lock);
    int done = real_unlinkat(at, name, flags), error = errno;
    if (!done) put(UNLINK, 0, 0, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int mkdirat(int at, const char *name, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t);
    char path[PATH_MAX];
    if (trace_fd < 0 || !absolute(at, name, path) || !below(path)) return real_mkdirat(at, name, mode);
    pthread_mutex_lock(&lock);
    int done = real_mkdirat(at, name, mode), error = errno;
    struct stat info;
    if (!done && !lstat(path, &info)) put(MKDIR, 1, info.st_ino, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

/* What clients are sent; `id` is the descriptor, so that one connection's bytes can be put together. */
ssize_t send(int fd, const void *data, size_t n, int flags) {
    REAL(ssize_t, send, int, const void *, size_t, int);
    if (trace_fd < 0) return real_send(fd, data, n, flags);
    pthread_mutex_lock(&lock);
    ssize_t done = real_send(fd, data, n, flags);
    int error = errno;
    if (done > 0) put(SEND, fd, 0, 0, 0, data, (size_t)done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
