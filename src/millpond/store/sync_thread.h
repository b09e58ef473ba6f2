/* One worker thread that makes files durable. It owns nothing: jobs come in with a descriptor and a number,
 * and go out with the number and an errno. No Python state is touched here.
 *
 *   loop thread:  sync_submit -> [ring] -> worker: fdatasync -> [ring] -> wake-up descriptor -> sync_collect
 */
#ifndef MILLPOND_SYNC_THREAD_H
#define MILLPOND_SYNC_THREAD_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/eventfd.h>
#endif

typedef struct {
    uint64_t ticket;
    int64_t took_ns;
    int fd;
    int error;
} sync_job;

typedef struct {
    sync_job *jobs;
    size_t capacity, head, count;
} sync_ring;

typedef struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    sync_ring waiting, done;
    int wake_read, wake_write, stopping, running;
} sync_worker;

static int sync_ring_push(sync_ring *ring, sync_job job) {
    if (ring->count == ring->capacity) {
        size_t i, capacity = ring->capacity ? ring->capacity * 2 : 64;
        sync_job *jobs = (sync_job *)malloc(capacity * sizeof(sync_job));
        if (!jobs) return -1;
        for (i = 0; i < ring->count; i++) jobs[i] = ring->jobs[(ring->head + i) % ring->capacity];
        free(ring->jobs);
        ring->jobs = jobs;
        ring->capacity = capacity;
        ring->head = 0;
    }
    ring->jobs[(ring->head + ring->count++) % ring->capacity] = job;
    return 0;
}

static sync_job sync_ring_pop(sync_ring *ring) {
    sync_job job = ring->jobs[ring->head];
    ring->head = (ring->head + 1) % ring->capacity;
    ring->count--;
    return job;
}

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

static int64_t sync_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void sync_wake(sync_worker *worker) {
    uint64_t one = 1;
    ssize_t ignored = write(worker->wake_write, &one, worker->wake_read == worker->wake_write ? 8 : 1);
    (void)ignored;
}

static void *sync_main(void *argument) {
    sync_worker *worker = (sync_worker *)argument;
    pthread_mutex_lock(&worker->lock);
    for (;;) {
        sync_job job;
        int64_t begin;
        while (!worker->waiting.count && !worker->stopping) pthread_cond_wait(&worker->changed, &worker->lock);
        if (!worker->waiting.count) break;
        job = sync_ring_pop(&worker->waiting);
        pthread_mutex_unlock(&worker->lock);
        begin = sync_now_ns();
        job.error = sync_file(job.fd);
        job.took_ns = sync_now_ns() - begin;
        pthread_mutex_lock(&worker->lock);
        sync_ring_push(&worker->done, job); /* room was reserved by sync_submit */
        sync_wake(worker);
        pthread_cond_broadcast(&worker->changed);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

static int sync_start(sync_worker *worker) {
    sigset_t all, before;
    int error;
#if defined(__linux__)
    worker->wake_read = worker->wake_write = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (worker->wake_read < 0) return errno;
#else
    int ends[2];
    if (pipe(ends)) return errno;
    worker->wake_read = ends[0];
    worker->wake_write = ends[1];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
#endif
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    sigfillset(&all); /* signals belong to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&worker->thread, NULL, sync_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) return error;
    worker->running = 1;
    return 0;
}

static int sync_submit(sync_worker *worker, int fd, uint64_t ticket) {
    sync_job job = {ticket, 0, fd, 0};
    int failed;
    pthread_mutex_lock(&worker->lock);
    failed = sync_ring_push(&worker->waiting, job);
    /* Make room for every answer that can still come, so that the worker never has to fail. */
    while (!failed && worker->done.capacity < worker->done.count + worker->waiting.capacity + 1) {
        size_t before = worker->done.count;
        sync_job none = {0, 0, -1, 0};
        while (worker->done.count < worker->done.capacity) sync_ring_push(&worker->done, none);
        failed = sync_ring_push(&worker->done, none);
        worker->done.count = before;
    }
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    return failed;
}

static int sync_take(sync_worker *worker, sync_job *out) {
    int found = 0;
    pthread_mutex_lock(&worker->lock);
    if (worker->done.count) {
        *out = sync_ring_pop(&worker->done);
        found = 1;
    }
    pthread_mutex_unlock(&worker->lock);
    return found;
}

static void sync_clear_wake(sync_worker *worker) {
    char drained[64];
    while (read(worker->wake_read, drained, sizeof drained) > 0) {}
}

static void sync_wait_for_answer(sync_worker *worker) {
    pthread_mutex_lock(&worker->lock);
    while (!worker->done.count) pthread_cond_wait(&worker->changed, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
}

static void sync_stop(sync_worker *worker) {
    if (!worker->running) return;
    pthread_mutex_lock(&worker->lock);
    worker->stopping = 1;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    worker->running = 0;
    close(worker->wake_read);
    if (worker->wake_write != worker->wake_read) close(worker->wake_write);
    free(worker->waiting.jobs);
    free(worker->done.jobs);
    pthread_mutex_destroy(&worker->lock);
    pthread_cond_destroy(&worker->changed);
}
#endif
