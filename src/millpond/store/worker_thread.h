/* A worker for what may block on the disk. It owns nothing: jobs come in with a descriptor and a number, and go out with
 * the number and an errno. No Python state is touched here.
 *
 *   loop thread:  worker_submit -> [ring] -> worker: act(job) -> [ring] -> wake-up descriptor -> worker_take
 *
 * It is one thread, or a few: another one starts when a job finds all of them at work, up to THREADS_AT_ONCE; beyond that,
 * up to `threads_max`, when JOBS_PER_THREAD wait for each. Then jobs begin in their order and end in any.
 *
 * Of a disk that is `in_line` there is no thread. A job is carried out when its answer is taken, in the caller's thread,
 * so that a simulation is the same each time.
 *
 * What `act` does is in sync_thread.h (make a file durable), read_thread.h (read a cold part of a file) and packer.pyx
 * (compress one, and back).
 */
#ifndef MILLPOND_WORKER_THREAD_H
#define MILLPOND_WORKER_THREAD_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#if defined(__linux__)
#include <sys/eventfd.h>
#include <sys/resource.h>
#endif

typedef struct {
    uint64_t ticket;
    int64_t took_ns;
    uint64_t offset; /* reads only, as the next four */
    char *data;
    size_t size;
    size_t got;
    const disk_calls *disk;
    const void *packed; /* how to get the data out of a packed file; NULL: it is a plain one */
    void *writes;       /* syncs only: what is written before (sync_thread.h); NULL: nothing */
    int fd;
    int error;
    int refused; /* the error is that of a write */
} worker_job;

typedef void (*worker_act)(worker_job *job);

typedef struct {
    worker_job *jobs;
    size_t capacity, head, count;
} worker_ring;

enum { WORKER_THREADS_MAX = 16, THREADS_AT_ONCE = 4, JOBS_PER_THREAD = 4 };

typedef struct {
    pthread_t threads[WORKER_THREADS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t work, answer;
    worker_ring waiting, done;
    worker_act act;
    int threads_max, running, idle; /* threads: as many as may be, as there are, as wait for a job */
    int together;                   /* while jobs wait, so many answers are told of at once; 0: each */
    int wake_read, wake_write, wakes_itself, stopping, started;
    pid_t process; /* that has the threads: a child of fork has none of them */
    const disk_calls *in_line; /* NULL: threads */
} worker;

static int worker_ring_push(worker_ring *ring, worker_job job) {
    if (ring->count == ring->capacity) {
        size_t i, capacity = ring->capacity ? ring->capacity * 2 : 64;
        worker_job *jobs = (worker_job *)malloc(capacity * sizeof(worker_job));
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

static worker_job worker_ring_pop(worker_ring *ring) {
    worker_job job = ring->jobs[ring->head];
    ring->head = (ring->head + 1) % ring->capacity;
    ring->count--;
    return job;
}

static worker_job worker_ring_pop_last(worker_ring *ring) {
    return ring->jobs[(ring->head + --ring->count) % ring->capacity];
}

static int64_t worker_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void worker_wake(worker *self) {
    uint64_t one = 1; /* of an event descriptor; of a pipe only a hint, so eight bytes do as well as one */
    ssize_t ignored = write(self->wake_write, &one, sizeof one);
    (void)ignored;
}

/* There is an answer. When many jobs wait, whoever is woken for each does little more than wake up. */
static void worker_tell(worker *self) {
    if (!self->together || !self->waiting.count || self->done.count % (size_t)self->together == 0) worker_wake(self);
}

/* The calling thread takes what the others leave. Elsewhere than on Linux it would be the whole process. */
static void worker_step_back(void) {
#if defined(__linux__)
    (void)setpriority(PRIO_PROCESS, 0, 10);
#endif
}

static void *worker_main(void *argument) {
    worker *self = (worker *)argument;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        worker_job job;
        int64_t begin;
        while (!self->waiting.count && !self->stopping) pthread_cond_wait(&self->work, &self->lock);
        if (!self->waiting.count) break;
        self->idle--;
        job = worker_ring_pop(&self->waiting);
        if (self->together && !self->waiting.count && self->done.count) worker_wake(self); /* the last job may take long */
        pthread_mutex_unlock(&self->lock);
        begin = worker_now_ns();
        self->act(&job);
        job.took_ns = worker_now_ns() - begin;
        pthread_mutex_lock(&self->lock);
        worker_ring_push(&self->done, job); /* room was reserved by worker_submit */
        self->idle++;
        worker_tell(self);
        pthread_cond_signal(&self->answer);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* One thread more. An errno when there can be none. */
static int worker_grow(worker *self) {
    sigset_t all, before;
    int error;
    sigfillset(&all); /* signals belong to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&self->threads[self->running], NULL, worker_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) return error;
    self->running++;
    self->idle++;
    return 0;
}

/* Its answers wake whoever waits at `wake_fd`, a descriptor of another worker. */
static int worker_start_woken_by(worker *self, worker_act act, int threads_max, int wake_fd,
                                 const disk_calls *disk) {
    if (threads_max < 1 || threads_max > WORKER_THREADS_MAX) return EINVAL;
    self->wake_write = wake_fd;
    self->act = act;
    self->threads_max = threads_max;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->work, NULL);
    pthread_cond_init(&self->answer, NULL);
    self->started = 1;
    self->process = getpid();
    self->in_line = disk->in_line ? disk : NULL;
    return self->in_line ? 0 : worker_grow(self);
}

static int worker_start(worker *self, worker_act act, int threads_max, const disk_calls *disk) {
#if defined(__linux__)
    self->wake_read = self->wake_write = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->wake_read < 0) return errno;
#else
    int ends[2];
    if (pipe(ends)) return errno;
    self->wake_read = ends[0];
    self->wake_write = ends[1];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
#endif
    self->wakes_itself = 1;
    return worker_start_woken_by(self, act, threads_max, self->wake_write, disk);
}

static int worker_is_short(worker *self) {
    int waiting = (int)self->waiting.count;
    if (self->running >= self->threads_max || self->idle >= waiting) return 0;
    return self->running < THREADS_AT_ONCE || waiting >= JOBS_PER_THREAD * self->running;
}

static int worker_submit(worker *self, worker_job job) {
    int failed;
    if (self->in_line) {
        worker_wake(self);
        return worker_ring_push(&self->waiting, job);
    }
    pthread_mutex_lock(&self->lock);
    failed = worker_ring_push(&self->waiting, job);
    /* Make room for every answer that can still come, so that the worker never has to fail. */
    while (!failed && self->done.capacity < self->done.count + self->waiting.capacity + (size_t)self->threads_max) {
        size_t before = self->done.count;
        worker_job none = {0};
        while (self->done.count < self->done.capacity) worker_ring_push(&self->done, none);
        failed = worker_ring_push(&self->done, none);
        self->done.count = before;
    }
    if (!failed && worker_is_short(self)) (void)worker_grow(self); /* without it the others do the work */
    pthread_cond_signal(&self->work);
    pthread_mutex_unlock(&self->lock);
    return failed;
}

static int worker_take(worker *self, worker_job *out) {
    int found = 0;
    if (self->in_line) {
        int which = self->waiting.count ? self->in_line->in_line(self->in_line->self) : -1;
        if (which < 0) return 0;
        *out = which ? worker_ring_pop_last(&self->waiting) : worker_ring_pop(&self->waiting);
        self->act(out);
        return 1;
    }
    pthread_mutex_lock(&self->lock);
    if (self->done.count) {
        *out = worker_ring_pop(&self->done);
        found = 1;
    }
    pthread_mutex_unlock(&self->lock);
    return found;
}

static void worker_clear_wake(worker *self) {
    char drained[64];
    while (read(self->wake_read, drained, sizeof drained) > 0) {}
}

static void worker_wait_for_answer(worker *self) {
    if (self->in_line) return;
    pthread_mutex_lock(&self->lock);
    while (!self->done.count) pthread_cond_wait(&self->answer, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

static void worker_wait_at_most(worker *self, int64_t ns) {
    struct timespec until;
    if (self->in_line) return;
    clock_gettime(CLOCK_REALTIME, &until);
    ns += until.tv_nsec;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&self->lock);
    while (!self->done.count && !pthread_cond_timedwait(&self->answer, &self->lock, &until)) {}
    pthread_mutex_unlock(&self->lock);
}

/* Nothing of what was asked for is left to do; the answers are there. */
static void worker_wait_for_all(worker *self) {
    if (self->in_line) return;
    pthread_mutex_lock(&self->lock);
    while (self->waiting.count || self->idle < self->running) pthread_cond_wait(&self->answer, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

static void worker_stop(worker *self) {
    int here = self->process == getpid();
    if (!self->started) return;
    self->started = 0;
    if (here) {
        pthread_mutex_lock(&self->lock);
        self->stopping = 1;
        pthread_cond_broadcast(&self->work);
        pthread_mutex_unlock(&self->lock);
        while (self->running) pthread_join(self->threads[--self->running], NULL);
    }
    if (self->wakes_itself) {
        close(self->wake_read);
        if (self->wake_write != self->wake_read) close(self->wake_write);
    }
    if (!here) return; /* what the threads were at stays as it was: nobody would let go of the lock */
    free(self->waiting.jobs);
    free(self->done.jobs);
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&self->work);
    pthread_cond_destroy(&self->answer);
}
#endif
