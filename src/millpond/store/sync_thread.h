/* What the sync worker does: make one file or directory durable. */
#ifndef MILLPOND_SYNC_THREAD_H
#define MILLPOND_SYNC_THREAD_H

#include <sys/stat.h>

#include "worker_thread.h"

/* A directory needs fsync: fdatasync may leave a new name in memory. */
static int sync_file(int fd) {
    struct stat info;
    if (fstat(fd, &info)) return errno;
    if (S_ISDIR(info.st_mode)) return fsync(fd) ? errno : 0;
#if defined(__APPLE__)
    return fcntl(fd, F_FULLFSYNC) == -1 ? errno : 0;
#else
    return fdatasync(fd) ? errno : 0;
#endif
}

static void sync_act(worker_job *job) { job->error = sync_file(job->fd); }
#endif
