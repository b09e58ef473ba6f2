/* What the sync worker does: make one file or directory durable. */
#ifndef MILLPOND_SYNC_THREAD_H
#define MILLPOND_SYNC_THREAD_H

#include "worker_thread.h"

static void sync_act(worker_job *job) { job->error = calls_sync(job->disk, job->fd); }
#endif
