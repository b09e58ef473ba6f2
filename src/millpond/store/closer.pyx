"""A thread that closes files, one after the other.

    name removed, here ──> close_file() ──> thread: close(), the blocks are free ──wake-up──> collect() ──> who waits

The name goes on the loop and in its order, so what a crash leaves is the same as without the thread, which knows
nothing but descriptors. It starts with the first one.
"""

import logging
import os
from collections import deque

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint64_t
from libc.string cimport memset

from millpond.store.disk cimport Disk
from millpond.store.worker cimport (
    worker, worker_job, worker_start_woken_by, worker_stop, worker_submit, worker_take, worker_wait_for_answer,
)

from millpond.base import limits

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)

log = logging.getLogger("millpond")

cdef uint64_t CLOSING_MAX = limits.FILES_CLOSING_MAX


cdef void _close(worker_job* job) noexcept nogil:
    c_close(job.fd)


cdef class Closer:
    """wake_fd: who waits for it calls `collect`. It stays the caller's."""

    def __init__(self, int wake_fd, Disk disk):
        self._wake_fd, self._disk = -1, disk
        self._waiting, self._wake_fd = deque(), os.dup(wake_fd)

    def __dealloc__(self):
        self.stop()

    cdef int _start(self) except -1:
        """Returns an errno when there can be no thread."""
        cdef int error
        self._worker = <void*>PyMem_Calloc(1, sizeof(worker))
        if self._worker == NULL:
            return 1
        error = worker_start_woken_by(<worker*>self._worker, _close, 1, self._wake_fd, &self._disk.for_workers)
        if error:
            PyMem_Free(self._worker)
            self._worker = NULL
        return error

    cpdef int close_file(self, int fd) except -1:
        cdef worker_job job
        memset(&job, 0, sizeof(worker_job))
        job.fd = fd
        if self._wake_fd < 0 or self._disk.for_workers.in_line != NULL or (self._worker == NULL and self._start()) \
                or worker_submit(<worker*>self._worker, job):
            self._disk.close(fd)                 # then it takes as long as it takes
            return 0
        self.given += 1
        return 0

    cpdef bint is_full(self) noexcept:
        return self.given - self.closed >= CLOSING_MAX

    cpdef int when_closed(self, object done) except -1:
        if self.given == self.closed and not self._waiting:
            done()
        else:
            self._waiting.append((self.given, done))
        return 0

    cdef int _take(self) except -1:
        cdef worker_job job
        while self._worker != NULL and worker_take(<worker*>self._worker, &job):
            self.closed += 1
        return 0

    cpdef int collect(self) except -1:
        self._take()
        while self._waiting and self._waiting[0][0] <= self.closed:
            done = self._waiting.popleft()[1]
            try:
                done()
            except Exception:
                log.exception("%r failed when files were closed", done)
        return 0

    cpdef bint finish(self) except *:
        if self.given == self.closed:
            return False
        self._take()
        while self.given != self.closed:
            with nogil:
                worker_wait_for_answer(<worker*>self._worker)
            self._take()
        return True

    cpdef int stop(self) except -1:
        """Closes what is left, and ends the thread. Nobody is told any more."""
        if self._worker != NULL:
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)
            self._worker = NULL
            self.closed = self.given
        if self._wake_fd >= 0:
            c_close(self._wake_fd)
            self._wake_fd = -1
        return 0
