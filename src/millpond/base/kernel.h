/* What Python's library has no door to: the page cache of a file, and giving free heap back. */
#ifndef MILLPOND_KERNEL_H
#define MILLPOND_KERNEL_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#endif

/* Pages of an open file in the page cache, and dirty ones. 0, or -1 where the kernel does not have the call
   (Linux < 6.5) or forbids it (seccomp). The number is the same on every architecture. */
static int kernel_cachestat(int fd, uint64_t *cached, uint64_t *dirty)
{
#if defined(__linux__)
    struct { uint64_t offset, length; } range = {0, 0};
    struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } answer = {0, 0, 0, 0, 0};
    if (syscall(451, fd, &range, &answer, 0) != 0)
        return -1;
    *cached = answer.cached;
    *dirty = answer.dirty;
    return 0;
#else
    (void)fd; (void)cached; (void)dirty;
    return -1;
#endif
}

/* The same count through a mapping, which touches no page. -1: not to be had. */
static int64_t kernel_mincore(int fd)
{
#if defined(__linux__)
    struct stat about;
    long page = sysconf(_SC_PAGESIZE);
    if (fstat(fd, &about) != 0 || about.st_size == 0)
        return 0;
    size_t size = (size_t)about.st_size, pages = (size + (size_t)page - 1) / (size_t)page, i;
    int64_t count = -1;
    unsigned char *vector = malloc(pages);
    void *address = vector ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (address != MAP_FAILED) {
        if (mincore(address, size, vector) == 0)
            for (count = 0, i = 0; i < pages; i++)
                count += vector[i] & 1;
        munmap(address, size);
    }
    free(vector);
    return count;
#else
    (void)fd;
    return -1;
#endif
}

static void kernel_trim(void)
{
#if defined(__linux__) && defined(__GLIBC__)
    malloc_trim(0);
#endif
}

#endif
