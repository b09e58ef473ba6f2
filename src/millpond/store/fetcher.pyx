"""A thread that asks the kernel for the first bytes of files, one file after the other, ahead of who reads them.

    fetch() ──> thread: posix_fadvise(WILLNEED), close()            no answer is waited for

To ask takes as long as opening a small log does, for the disk is told at once. So it is done beside the loop. Each file
that waits has a descriptor: where too many do, the next ones are passed over.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from millpond.store.disk cimport Disk
from millpond.store.worker cimport worker, worker_job, worker_start, worker_stop, worker_submit, worker_take

from millpond.base import limits

cdef extern from "disk.h" nogil:
    void disk_fetch(int fd, uint64_t size)

cdef uint64_t BYTES = limits.FETCHED_BYTES
cdef uint32_t FETCHING_MAX = limits.FETCHING_MAX


cdef void _fetch(worker_job* job) noexcept nogil:
    disk_fetch(job.fd, BYTES)


cdef class Fetcher:
    """See the head of this file. The thread starts with the first one; of a disk that only pretends nothing is fetched."""

    def __init__(self, Disk disk):
        self._disk, self._is_of_use = disk, type(disk) is Disk

    def __dealloc__(self):
        self.close()

    cdef bint _start(self) noexcept:
        """False: there can be no thread."""
        self._worker = <void*>PyMem_Calloc(1, sizeof(worker))
        if self._worker != NULL and worker_start(<worker*>self._worker, _fetch, 1, &self._disk.for_workers):
            PyMem_Free(self._worker)
            self._worker = NULL
        return self._worker != NULL

    cpdef int fetch(self, str directory, str name) except -1:
        cdef worker_job job
        self._is_of_use = self._is_of_use and (self._worker != NULL or self._start())
        if not self._is_of_use:
            return 0
        while worker_take(<worker*>self._worker, &job):
            self._waiting -= 1
        if self._waiting >= FETCHING_MAX:
            return 0
        memset(&job, 0, sizeof(worker_job))
        try:
            job.fd = self._disk.open(directory, name, False)
        except OSError:
            return 0
        if worker_submit(<worker*>self._worker, job):
            self._disk.close(job.fd)
        else:
            self._waiting += 1
        return 0

    cpdef int close(self) except -1:
        """Ends the thread, when what it was given is done."""
        if self._worker != NULL:
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)
            self._worker = NULL
        return 0
