"""A thread that closes files, one after the other.

    name removed, here ──> close_file() ──> thread: close(), the blocks are free ──wake-up──> collect() ──> who waits

The name goes on the loop and in its order, so what a crash leaves is the same as without the thread, which knows
nothing but descriptors. It starts with the first one.
"""

import logging
from collections import deque

from libc.stdint cimport uint64_t
from libc.string cimport memset

from millpond.store.disk cimport Disk
from millpond.store.one_thread cimport OneThread
from millpond.store.worker cimport worker, worker_job, worker_submit, worker_take, worker_wait_for_answer

from millpond.base import limits

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)

log = logging.getLogger("millpond")

cdef uint64_t CLOSING_MAX = limits.FILES_CLOSING_MAX


cdef void _close(worker_job* job) noexcept nogil:
    c_close(job.fd)


cdef class Closer(OneThread):
    """wake_fd: who waits for it calls `collect`. It stays the caller's."""

    def __init__(self, int wake_fd, Disk disk):
        self._waiting = deque()
        self.begin(_close, wake_fd, disk)

    cpdef int close_file(self, int fd) except -1:
        cdef worker_job job
        memset(&job, 0, sizeof(worker_job))
        job.fd = fd
        if not self.has_thread() or worker_submit(<worker*>self._worker, job):
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
        self.end()
        self.closed = self.given
        return 0
