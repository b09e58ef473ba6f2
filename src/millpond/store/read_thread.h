/* What the bulk worker does: read a range that is not in the page cache, without leaving it there. */
#ifndef MILLPOND_READ_THREAD_H
#define MILLPOND_READ_THREAD_H

#include "disk.h"
#include "worker_thread.h"

static void read_act(worker_job *job) {
    job->error = calls_read(job->disk, job->fd, job->data, job->size, job->offset, &job->got);
    disk_drop(job->fd, job->offset, job->size);
}
#endif
