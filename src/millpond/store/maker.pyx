"""A thread that makes files: opens them under a new name, and reserves their blocks.

    make() ──> thread: it is opened, has its blocks ──> done, a few tens of microseconds later
                                                   └─ not in time: the disk stands still; collect() says when it does no longer

It can be asked for less: to write a byte, which tells whether the disk moves. It starts with the first one, and has one to
make at a time: who finds it late does not ask for more.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from millpond.store.disk cimport Disk, calls_make, calls_note
from millpond.store.one_thread cimport OneThread
from millpond.store.worker cimport (
    worker, worker_job, worker_submit, worker_take, worker_wait_at_most, worker_wait_for_answer,
)

from millpond.base import limits

cdef int64_t WAIT_NS = limits.FILE_MADE_WAIT_NS


cdef void _make(worker_job* job) noexcept nogil:
    if job.size:
        job.error = calls_make(job.disk, job.data, job.size, &job.fd)
    else:
        job.error = calls_note(job.disk, job.data, b"", 1, 0)


cdef class Making:
    """See the `.pxd`."""


cdef class Maker(OneThread):
    """wake_fd: who waits for it calls `collect`. It stays the caller's."""

    def __init__(self, int wake_fd, Disk disk):
        self.begin(_make, wake_fd, disk)

    cdef Making make(self, str path, uint64_t bytes):
        cdef Making making
        cdef worker_job job
        assert self._late is None, "it is not asked for more"
        if not self.has_thread():
            return None
        making = Making()
        making._path, making.fd = os.fsencode(path), -1
        memset(&job, 0, sizeof(worker_job))
        job.fd, job.data, job.size, job.disk = -1, PyBytes_AS_STRING(making._path), bytes, &self._disk.for_workers
        if worker_submit(<worker*>self._worker, job):
            return None
        with nogil:
            worker_wait_at_most(<worker*>self._worker, WAIT_NS)
        self._late = making
        self._take(making)
        return making

    cdef bint moves(self, str path) except *:
        cdef Making asked = self.make(path, 0)
        return asked is None or asked.done

    cdef int _take(self, Making making) except -1:
        cdef worker_job job
        if not worker_take(<worker*>self._worker, &job):
            return 0
        making.done, making.error, making.fd, self._late = True, job.error, job.fd, None
        if making.unwanted and making.fd >= 0:
            self._disk.close(making.fd)
        return 0

    cdef bint is_late(self) noexcept:
        return self._late is not None

    cdef int wait(self, Making making) except -1:
        while not making.done:
            with nogil:
                worker_wait_for_answer(<worker*>self._worker)
            self._take(making)
        return 0

    cdef int finish(self) except -1:
        return 0 if self._late is None else self.wait(self._late)

    cpdef int collect(self) except -1:
        return 0 if self._late is None else self._take(self._late)

    cpdef int stop(self) except -1:
        """Ends the thread, when it has done what it is at."""
        self.finish()
        return self.end()
