/* What the sync worker does: write what a commit has gathered, and make one file or directory durable. */
#ifndef MILLPOND_SYNC_THREAD_H
#define MILLPOND_SYNC_THREAD_H

#include <string.h>

#include "worker_thread.h"

/* A copy of bytes for a file, and what is to be written after them. */
typedef struct sync_write {
    struct sync_write *next;
    const char *path; /* NULL: it goes to `fd`; else it is a note in the file of that name */
    uint64_t offset;
    size_t size;
    int fd;
    char data[]; /* and the path behind it */
} sync_write;

/* Behind `last`, or the first one. path: NULL, or ends with a zero. NULL when there is no memory. */
static sync_write *sync_write_new(sync_write *last, int fd, const char *path, const char *data, size_t size,
                                  uint64_t offset) {
    size_t path_size = path ? strlen(path) + 1 : 0;
    sync_write *made = (sync_write *)malloc(sizeof(sync_write) + size + path_size);
    if (!made) return NULL;
    made->next = NULL;
    made->path = path ? made->data + size : NULL;
    made->offset = offset;
    made->size = size;
    made->fd = fd;
    memcpy(made->data, data, size);
    if (path) memcpy(made->data + size, path, path_size);
    if (last) last->next = made;
    return made;
}

static void sync_writes_free(void *first) {
    sync_write *each = (sync_write *)first, *next;
    for (; each; each = next) {
        next = each->next;
        free(each);
    }
}

/* All the writes, in their order, up to the first error. A note that cannot be written keeps nobody else from being
 * written. */
static void sync_write_all(worker_job *job) {
    const sync_write *each = (const sync_write *)job->writes;
    for (; each && !job->refused; each = each->next) {
        if (each->path) {
            int error = calls_note(job->disk, each->path, each->data, each->size, each->offset);
            if (!job->error) job->error = error;
        } else {
            job->error = job->refused = calls_write(job->disk, each->fd, each->data, each->size, each->offset);
        }
    }
    job->writes = NULL;
}

/* Then the sync, unless fd is -1. */
static void sync_act(worker_job *job) {
    sync_write_all(job);
    if (!job->error && job->fd >= 0) job->error = calls_sync(job->disk, job->fd);
}

/* Of jobs that nobody has begun: where there are no threads, and somebody wants to see what is written and not synced. */
static void sync_write_waiting(worker *self) {
    size_t i;
    for (i = 0; i < self->waiting.count; i++)
        sync_write_all(&self->waiting.jobs[(self->waiting.head + i) % self->waiting.capacity]);
}
#endif
