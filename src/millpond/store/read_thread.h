/* What the bulk worker does: read a range that is not in the page cache, without leaving it there; without a file, wait. */
#ifndef MILLPOND_READ_THREAD_H
#define MILLPOND_READ_THREAD_H

#include "disk.h"
#include "worker_thread.h"

#define READ_REST_NS 100000000

static void read_act(worker_job *job) {
    if (job->fd < 0) {
        struct timespec rest = {0, READ_REST_NS};
        if (!job->disk->in_line) nanosleep(&rest, NULL);
        return;
    }
    job->error = calls_read(job->disk, job->fd, job->data, job->size, job->offset, &job->got);
    disk_drop(job->fd, job->offset, job->size);
}
#endif
