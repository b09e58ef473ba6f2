"""Group commit: one write a turn per file, one fdatasync in flight per file, the next batch gathers meanwhile.

A target goes round:  enlisted -> write() -> syncing -> synced() -> (enlisted again while it was syncing: once more)
"""

import logging
import os

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from millpond.base.errors import StoreError

cdef extern from "sync_thread.h" nogil:
    ctypedef struct worker_job:
        uint64_t ticket
        int64_t took_ns
        int fd
        int error
    ctypedef void (*worker_act)(worker_job* job)
    ctypedef struct worker:
        int wake_read
    int sync_file(int fd)
    void sync_act(worker_job* job)
    int worker_start(worker* self, worker_act act)
    int worker_submit(worker* self, worker_job job)
    int worker_take(worker* self, worker_job* out)
    void worker_clear_wake(worker* self)
    void worker_wait_for_answer(worker* self)
    void worker_stop(worker* self)


log = logging.getLogger("millpond")

SYNC_MODES = ("always", "interval", "never")


cdef class Target:
    """A file with buffered bytes. Subclasses: file store, consumer journal, catalog."""

    cdef int write(self) except -2:
        raise NotImplementedError(type(self).__name__)

    cdef int synced(self, int error) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int sync_first(self, int fd) except -1:
        if self._first is None:
            self._first = []
        self._first.append(fd)
        return 0


cdef class Interval(Target):
    """Descriptors of our own that an interval's sync is about."""

    cdef list descriptors

    cdef int synced(self, int error) except -1:
        for fd in self.descriptors:
            os.close(fd)
        if error:
            log.error("cannot sync what was written in the last interval: %s. A power loss may take it. Check the disk",
                      os.strerror(error))
        return 0


cdef class Committer:
    """One per server. tier: WRITTEN (0) answers after write(), SYNCED (1) after a successful fdatasync.

    Instead of a tier, a sync mode by name: "always" is SYNCED; "interval" and "never" are WRITTEN, and with
    "interval" a timer calls `begin_sync_written()`.
    """

    def __init__(self, tier=SYNCED):
        cdef int error
        if isinstance(tier, str):
            assert tier in SYNC_MODES, f"sync mode {tier!r} is not one of {SYNC_MODES}"
            self._interval = tier == "interval"
            tier = SYNCED if tier == "always" else WRITTEN
        self.tier = tier
        self._unsynced = {}
        self._enlisted = []
        self._in_flight = {}
        self._worker = <void*>PyMem_Calloc(1, sizeof(worker))
        if self._worker == NULL:
            raise MemoryError("no memory for the sync worker")
        error = worker_start(<worker*>self._worker, sync_act)
        if error:
            raise StoreError(f"cannot start the sync worker: {os.strerror(error)}")
        self.event_fd = (<worker*>self._worker).wake_read

    def __dealloc__(self):
        if self._worker != NULL:
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)

    cdef int enlist(self, Target target) except -1:
        if not target.enlisted:
            target.enlisted = True
            if not target.syncing:
                self._enlisted.append(target)
        return 0

    cdef int run(self) except -1:
        cdef list batch = self._enlisted
        cdef Target target
        cdef int fd
        if not batch:
            return 0
        self._enlisted = []
        for target in batch:
            assert target.enlisted and not target.syncing
            target.enlisted = False
            target._first = None
            fd = target.write()
            if fd < 0:
                continue
            if self.tier == WRITTEN:
                if self._interval:
                    for first in target._first or ():
                        self._remember(first)
                    self._remember(fd)
                target.synced(0)
                continue
            target._sync_error, target._syncs_left = 0, 0
            target.syncing = True
            for first in target._first or ():
                self._submit(target, first)
            self._submit(target, fd)
        return 0

    cdef int _submit(self, Target target, int fd) except -1:
        cdef worker_job job
        memset(&job, 0, sizeof(worker_job))
        self._tickets += 1
        job.ticket, job.fd = self._tickets, fd
        if worker_submit(<worker*>self._worker, job):
            raise MemoryError("no memory to queue a sync")
        target._syncs_left += 1
        self._in_flight[self._tickets] = target
        return 0

    cdef int _remember(self, int fd) except -1:
        """Keeps a descriptor of our own: the target may close its one before the next interval."""
        info = os.fstat(fd)
        if (info.st_dev, info.st_ino) not in self._unsynced:
            self._unsynced[(info.st_dev, info.st_ino)] = os.dup(fd)
        return 0

    cpdef int begin_sync_written(self) except -1:
        cdef Interval target
        cdef int fd
        if not self._unsynced:
            return 0
        target = Interval()
        target.descriptors = list(self._unsynced.values())
        self._unsynced.clear()
        target._sync_error, target._syncs_left = 0, 0
        target.syncing = True
        for fd in target.descriptors:
            self._submit(target, fd)
        return 0

    cpdef int sync_written(self) except -1:
        cdef int fd, error, worst = 0
        descriptors = list(self._unsynced.values())
        self._unsynced.clear()
        for fd in descriptors:
            with nogil:
                error = sync_file(fd)
            worst = worst or error
            os.close(fd)
        if worst:
            raise OSError(worst, os.strerror(worst))
        return 0

    cpdef int collect(self) except -1:
        cdef worker_job job
        cdef Target target
        worker_clear_wake(<worker*>self._worker)
        while worker_take(<worker*>self._worker, &job):
            target = self._in_flight.pop(job.ticket)
            self.syncs += 1
            self.sync_ns_total += <uint64_t>job.took_ns
            self._answered(target, job.error)
        return 0

    cdef int _answered(self, Target target, int error) except -1:
        """One of a target's descriptors is synced; the last one ends its commit, with the first error of all."""
        target._sync_error = target._sync_error or error
        target._syncs_left -= 1
        if target._syncs_left:
            return 0
        target.syncing = False
        if target.enlisted:
            self._enlisted.append(target)
        target.synced(target._sync_error)
        return 0

    cpdef int drain(self) except -1:
        self.draining = True
        try:
            while self._enlisted or self._in_flight:
                self.run()
                if self._in_flight:
                    with nogil:
                        worker_wait_for_answer(<worker*>self._worker)
                    self.collect()
        finally:
            self.draining = False
        return 0

    cpdef int close(self) except -1:
        if self._worker != NULL:
            self.drain()
            self.sync_written()
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)
            self._worker = NULL
        return 0

    def in_flight(self):
        """Syncs that are with the worker."""
        return len(self._in_flight)

    def run_now(self):
        """The commit phase, for tests."""
        self.run()
