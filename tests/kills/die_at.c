/* Ends this process, as kill -9 does, at one of the things that it does to its store: preloaded into servers under test.
 *
 * die_at("wsn", "/streams/", 12, BEFORE) counts those calls whose path holds that part, and at the twelfth the process
 * kills itself: before it, after it, or (a write) when some of its pages are written, as a signal may end one in the
 * kernel, too. Kinds of calls:
 *
 *     w  write    s  sync    z  length or blocks of a file    n  names: made, changed or removed
 *
 * Nothing is counted before the first call of die_at, and nothing is changed then. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BEFORE, AFTER, MIDDLE };
enum { PAGE = 4096 };

static char kinds[8], part[256];
static atomic_long left;
static int moment;

void die_at(const char *of_kinds, const char *of_path, long nth, int when) {
    snprintf(kinds, sizeof kinds, "%s", of_kinds);
    snprintf(part, sizeof part, "%s", of_path);
    moment = when;
    atomic_store(&left, nth);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Is this the call at which it ends? */
static int due(char kind, const char *path) {
    return strstr(path, part) && strchr(kinds, kind) && atomic_fetch_sub(&left, 1) == 1;
}

static int due_fd(char kind, int fd) {
    char link[64], path[PATH_MAX];
    ssize_t n;
    if (atomic_load(&left) <= 0 || !strchr(kinds, kind)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return due(kind, path);
}

static int due_name(int at, const char *name) {
    char link[64], path[2 * PATH_MAX];
    ssize_t n = 0;
    if (atomic_load(&left) <= 0) return 0;
    if (name[0] != '/' && at != AT_FDCWD) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        n = readlink(link, path, PATH_MAX);
        if (n < 0) return 0;
        path[n++] = '/';
    }
    snprintf(path + n, PATH_MAX, "%s", name);
    return due('n', path);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* Around a call: `is_due` is asked once. */
#define AROUND(type, is_due, call) \
    int now = is_due; \
    if (now && moment != AFTER) die(); \
    type done = call; \
    if (now) die(); \
    return done

static ssize_t write_at(int fd, const void *data, size_t n, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    int now = due_fd('w', fd);
    if (now && moment == MIDDLE) {
        size_t some = (size_t)((at + (off64_t)(n / 2)) / PAGE * PAGE - at);
        if (some < n) real(fd, data, some, at);
    }
    if (now && moment != AFTER) die();
    ssize_t done = real(fd, data, n, at);
    if (now) die();
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return write_at(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { return write_at(fd, data, n, at); }

static int length(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    AROUND(int, due_fd('z', fd), real(fd, size));
}
int ftruncate(int fd, off_t size) { return length(fd, size); }
int ftruncate64(int fd, off64_t size) { return length(fd, size); }

static int blocks(int fd, off64_t at, off64_t n) {
    REAL(int, "posix_fallocate64", int, off64_t, off64_t);
    AROUND(int, due_fd('z', fd), real(fd, at, n));
}
int posix_fallocate(int fd, off_t at, off_t n) { return blocks(fd, at, n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) { return blocks(fd, at, n); }

int fsync(int fd) { REAL(int, "fsync", int); AROUND(int, due_fd('s', fd), real(fd)); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); AROUND(int, due_fd('s', fd), real(fd)); }

int renameat(int from_at, const char *from, int to_at, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    AROUND(int, due_name(from_at, from), real(from_at, from, to_at, to));
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int at, const char *name, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    AROUND(int, due_name(at, name), real(at, name, flags));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int at, const char *name, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    AROUND(int, due_name(at, name), real(at, name, mode));
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

static int opened(int at, const char *name, int flags, mode_t mode) {
    REAL(int, "openat64", int, const char *, int, ...);
    AROUND(int, flags & O_CREAT ? due_name(at, name) : 0, real(at, name, flags, mode));
}
#define MODE va_list rest; va_start(rest, flags); mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; va_end(rest)
int open(const char *name, int flags, ...) { MODE; return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE; return opened(AT_FDCWD, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE; return opened(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE; return opened(at, name, flags, mode); }
