/* Reading and writing whole ranges of files, with what the operating systems offer for it. No Python state here.
 *
 * `disk_calls` is the part of the door (disk.pxd) that the workers go through, who have no Python state either.
 */
#ifndef MILLPOND_DISK_H
#define MILLPOND_DISK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Everything or an errno. A write that takes nothing is a full disk. */
static int disk_write(int fd, const char *data, size_t size, uint64_t offset) {
    while (size) {
        ssize_t wrote = pwrite(fd, data, size, (off_t)offset);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return errno;
        if (wrote == 0) return ENOSPC;
        data += wrote;
        offset += (uint64_t)wrote;
        size -= (size_t)wrote;
    }
    return 0;
}

/* Up to `size` bytes, fewer only at the end of the file. */
static int disk_read(int fd, char *data, size_t size, uint64_t offset, size_t *got) {
    *got = 0;
    while (size) {
        ssize_t n = pread(fd, data, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) return 0;
        data += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
        *got += (size_t)n;
    }
    return 0;
}

/* What is in the page cache from `offset` on; *got 0 when the first page would have to be read. */
static int disk_read_hot(int fd, char *data, size_t size, uint64_t offset, size_t *got) {
    *got = 0;
#if defined(RWF_NOWAIT)
    while (size) {
        struct iovec part = {data, size};
        ssize_t n = preadv2(fd, &part, 1, (off_t)offset, RWF_NOWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS)) return 0;
        if (n < 0) return errno;
        if (n == 0) return 0;
        data += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
        *got += (size_t)n;
    }
#else
    (void)fd, (void)data, (void)size, (void)offset;
#endif
    return 0;
}

/* Made when it is not there. */
static int disk_open(const char *path) {
    int fd;
    do fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* The kernel need not keep these pages. For synced ranges only: of dirty pages it would start the write-back. */
static void disk_drop(int fd, uint64_t offset, uint64_t size) {
#if defined(POSIX_FADV_DONTNEED)
    (void)posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
#else
    (void)fd, (void)offset, (void)size;
#endif
}

/* The first bytes of this file will be read soon, by another descriptor: the kernel fetches them, and nobody waits for it.
 * This one is closed. */
static void disk_fetch(int fd, uint64_t size) {
#if defined(POSIX_FADV_WILLNEED)
    (void)posix_fadvise(fd, 0, (off_t)size, POSIX_FADV_WILLNEED);
#else
    (void)size;
#endif
    close(fd);
}

static int disk_truncate(int fd, uint64_t size) {
    while (ftruncate(fd, (off_t)size))
        if (errno != EINTR) return errno;
    return 0;
}

/* The file is exactly `size` long, and its blocks are there (where the file system can promise that). */
static int disk_reserve(int fd, uint64_t size) {
    struct stat info;
    if (fstat(fd, &info)) return errno;
    if ((uint64_t)info.st_size > size) {
        int error = disk_truncate(fd, size);
        if (error) return error;
    }
#if defined(__linux__)
    {
        int error;
        do error = posix_fallocate(fd, 0, (off_t)size);
        while (error == EINTR);
        if (error != EOPNOTSUPP && error != EINVAL) return error;
    }
#endif
    return disk_truncate(fd, size);
}

/* Make a file or a directory durable. A directory needs fsync: fdatasync may leave a new name in memory. One that was
 * interrupted has told nothing of what became of the pages: it is asked for again. */
static int disk_sync(int fd) {
    struct stat info;
    int failed;
    if (fstat(fd, &info)) return errno;
    do {
        if (S_ISDIR(info.st_mode)) failed = fsync(fd);
#if defined(__APPLE__)
        else failed = fcntl(fd, F_FULLFSYNC) == -1;
#else
        else failed = fdatasync(fd);
#endif
    } while (failed && errno == EINTR);
    return failed ? errno : 0;
}

/* What workers do with files; every function returns an errno. `in_line`: NULL, or there are no threads (simulation):
 * when a worker is asked for an answer it asks which of its jobs to do now, -1: none, 0: the first, 1: the last one. */
typedef struct {
    void *self;
    int (*in_line)(void *self);
    int (*write)(void *self, int fd, const char *data, size_t size, uint64_t offset);
    int (*read)(void *self, int fd, char *data, size_t size, uint64_t offset, size_t *got);
    int (*sync)(void *self, int fd);
    int (*note)(void *self, const char *path, const char *data, size_t size, uint64_t offset);
    int (*make)(void *self, const char *path, uint64_t size, int *fd);
} disk_calls;

static inline int calls_write(const disk_calls *disk, int fd, const char *data, size_t size, uint64_t offset) {
    return disk->write(disk->self, fd, data, size, offset);
}

static inline int calls_read(const disk_calls *disk, int fd, char *data, size_t size, uint64_t offset, size_t *got) {
    return disk->read(disk->self, fd, data, size, offset, got);
}

static inline int calls_sync(const disk_calls *disk, int fd) { return disk->sync(disk->self, fd); }

/* Into the file of that name, which is made when it is not there. */
static inline int calls_note(const disk_calls *disk, const char *path, const char *data, size_t size, uint64_t offset) {
    return disk->note(disk->self, path, data, size, offset);
}

/* The file of that name, open, of that size and with its blocks. After an error it is there and open, or *fd is -1. */
static inline int calls_make(const disk_calls *disk, const char *path, uint64_t size, int *fd) {
    return disk->make(disk->self, path, size, fd);
}

/* The real ones. */
static int disk_call_write(void *self, int fd, const char *data, size_t size, uint64_t offset) {
    (void)self;
    return disk_write(fd, data, size, offset);
}

static int disk_call_read(void *self, int fd, char *data, size_t size, uint64_t offset, size_t *got) {
    (void)self;
    return disk_read(fd, data, size, offset, got);
}

static int disk_call_sync(void *self, int fd) {
    (void)self;
    return disk_sync(fd);
}

static int disk_call_note(void *self, const char *path, const char *data, size_t size, uint64_t offset) {
    int error, fd = disk_open(path);
    (void)self;
    if (fd < 0) return errno;
    error = disk_write(fd, data, size, offset);
    close(fd);
    return error;
}

static int disk_call_make(void *self, const char *path, uint64_t size, int *fd) {
    (void)self;
    *fd = disk_open(path);
    return *fd < 0 ? errno : disk_reserve(*fd, size);
}
#endif
