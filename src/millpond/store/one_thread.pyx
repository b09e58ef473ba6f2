"""See the `.pxd`. The worker itself is worker_thread.h's."""

import os

from cpython.mem cimport PyMem_Calloc, PyMem_Free

from millpond.store.disk cimport Disk
from millpond.store.worker cimport worker, worker_act, worker_start_woken_by, worker_stop

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)


cdef class OneThread:
    """See the `.pxd`."""

    def __cinit__(self):
        self._wake_fd = -1

    def __dealloc__(self):
        self.end()

    cdef int begin(self, worker_act act, int wake_fd, Disk disk) except -1:
        self._act, self._disk, self._wake_fd = act, disk, os.dup(wake_fd)
        return 0

    cdef bint has_thread(self) except *:
        if self._wake_fd < 0 or self._disk.for_workers.in_line != NULL:
            return False
        if self._worker == NULL:
            self._worker = <void*>PyMem_Calloc(1, sizeof(worker))
            if self._worker != NULL and worker_start_woken_by(<worker*>self._worker, self._act, 1, self._wake_fd,
                                                              &self._disk.for_workers):
                PyMem_Free(self._worker)
                self._worker = NULL
        return self._worker != NULL

    cdef int end(self) except -1:
        if self._worker != NULL:
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)
            self._worker = NULL
        if self._wake_fd >= 0:
            c_close(self._wake_fd)
            self._wake_fd = -1
        return 0
