# The worker of worker_thread.h, which says what each of these is and does.
from libc.stdint cimport int64_t, uint64_t
from millpond.store.disk cimport disk_calls

cdef extern from "worker_thread.h" nogil:
    ctypedef struct worker_job:
        uint64_t ticket
        int64_t took_ns
        uint64_t offset
        char* data
        size_t size, got
        const disk_calls* disk
        const void* packed
        void* writes
        int fd, error, refused
    ctypedef void (*worker_act)(worker_job* job)
    ctypedef struct worker:
        int started, together, wake_read, wake_write
        const disk_calls* in_line
    int64_t worker_now_ns()
    void worker_step_back()
    int worker_start(worker* self, worker_act act, int threads_max, const disk_calls* disk)
    int worker_start_woken_by(worker* self, worker_act act, int threads_max, int wake_fd, const disk_calls* disk)
    int worker_submit(worker* self, worker_job job)
    int worker_take(worker* self, worker_job* out)
    void worker_clear_wake(worker* self)
    void worker_wait_for_answer(worker* self)
    void worker_wait_for_all(worker* self)
    void worker_wait_at_most(worker* self, int64_t ns)
    void worker_stop(worker* self)
