/* Reading and writing whole ranges of files, with what the operating systems offer for it. No Python state here. */
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

/* The kernel need not keep these pages. For synced ranges only: of dirty pages it would start the write-back. */
static void disk_drop(int fd, uint64_t offset, uint64_t size) {
#if defined(POSIX_FADV_DONTNEED)
    (void)posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
#else
    (void)fd, (void)offset, (void)size;
#endif
}

/* The file is exactly `size` long, and its blocks are there (where the file system can promise that). */
static int disk_reserve(int fd, uint64_t size) {
    struct stat info;
    if (fstat(fd, &info)) return errno;
    if ((uint64_t)info.st_size > size && ftruncate(fd, (off_t)size)) return errno;
#if defined(__linux__)
    {
        int error = posix_fallocate(fd, 0, (off_t)size);
        if (error != EOPNOTSUPP && error != EINVAL) return error;
    }
#endif
    return ftruncate(fd, (off_t)size) ? errno : 0;
}
#endif
