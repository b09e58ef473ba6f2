/* Makes syncs fail, or stand still: preloaded into a server under test.
 *
 * FAIL_CONTROL names a file. While it exists it says which syncs are refused: "ERRNO SUBSTRING" of the path. A refused
 * sync does nothing. With 0 in the place of the number they wait until the file is gone. Each of them appends a line to
 * the file of that name with ".seen" behind it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int refused(int fd) {
    char link[64], path[PATH_MAX], text[PATH_MAX + 32], part[PATH_MAX], seen[PATH_MAX];
    const char *control = getenv("FAIL_CONTROL");
    int error, from = control ? open(control, O_RDONLY | O_CLOEXEC) : -1, to;
    ssize_t n;
    if (from < 0) return 0;
    n = read(from, text, sizeof text - 1);
    close(from);
    if (n <= 0) return 0;
    text[n] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    if (sscanf(text, "%d %4095s", &error, part) != 2 || !strstr(path, part)) return 0;
    if (snprintf(seen, sizeof seen, "%s.seen", control) >= (int)sizeof seen) abort();
    to = open(seen, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (to < 0 || write(to, path, strlen(path)) < 0 || write(to, "\n", 1) < 0) abort();
    close(to);
    while (!error && !access(control, F_OK)) nanosleep(&(struct timespec){0, 1000000}, NULL);
    return error;
}

#define SYNC(name) \
    int name(int fd) { \
        static int (*real)(int); \
        int error = refused(fd); \
        if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, #name); \
        if (error) { errno = error; return -1; } \
        return real(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)
