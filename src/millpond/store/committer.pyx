"""Group commit: one write a turn per file, one fdatasync in flight per file, the next batch gathers meanwhile.

A target goes round:  enlisted -> write() -> syncing -> synced() -> (enlisted again while it was syncing: once more)
                               └─ the disk is full and nothing is set aside any more: stalled -> retry() -> enlisted
Names, of a directory, are made durable in the same way: what is asked for while a sync runs shares the next one.
"""

import logging
import os

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport errno as c_errno
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset
from posix.stat cimport fstat, struct_stat

from millpond.store.closer cimport Closer
from millpond.store.disk cimport Disk, disk_calls

from millpond.base.errors import StoreError
from millpond.base import limits
from millpond.store.disk import REAL
from millpond.store.space import Space, is_shortage, passes

cdef extern from "sync_thread.h" nogil:
    ctypedef struct worker_job:
        uint64_t ticket
        int64_t took_ns
        int fd
        int error
        const disk_calls* disk
    ctypedef void (*worker_act)(worker_job* job)
    ctypedef struct worker:
        int wake_read, wake_write, together
    void sync_act(worker_job* job)
    int worker_start(worker* self, worker_act act, int threads_max, const disk_calls* disk)
    int worker_submit(worker* self, worker_job job)
    int worker_take(worker* self, worker_job* out)
    void worker_clear_wake(worker* self)
    void worker_wait_for_answer(worker* self)
    void worker_stop(worker* self)


log = logging.getLogger("millpond")

SYNC_MODES = ("always", "interval", "never")

cdef int SYNC_THREADS_MAX = limits.SYNC_THREADS_MAX
cdef int SYNCS_TOGETHER = limits.SYNCS_TOGETHER
cdef size_t EVERYONE = 1 << 62
cdef uint64_t GIVEN_BYTES = limits.RESERVE_STEP_BYTES    # of what is set aside, to a target whose write was refused


cpdef int tell_all(list everyone, str failure) except -1:
    for done in everyone:
        try:
            done(failure)
        except Exception:
            log.exception("%r failed when it was told about the disk", done)
    return 0


cdef class Target:
    """A file with buffered bytes. Subclasses: file store, consumer journal, catalog, names."""

    cdef int write(self) except -2:
        raise NotImplementedError(type(self).__name__)

    cdef int synced(self, int error) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int sync_also(self, int fd) except -1:
        if self._others is None:
            self._others = []
        self._others.append(fd)
        return 0

    cdef int testify(self) except -1:
        return 0


cdef class Names(Target):
    """The names in `directory`. Everyone who asks is told, also when the directory cannot be opened any more."""

    def __init__(self, str directory, Committer committer):
        self._directory, self._committer = directory, committer
        self._waiting, self._covered, self._fd = [], [], -1

    cpdef int keep(self, object done) except -1:
        self._waiting.append(done)
        return self._committer.enlist(self)

    cdef int write(self) except -2:
        self._covered, self._waiting = self._covered + self._waiting, []
        try:
            if self._fd < 0:
                self._fd = self._committer.disk.open_directory(self._directory)
        except OSError as error:
            self._tell(f"cannot open {self._directory}: {error.strerror}")
            return -1
        return self._fd

    cdef int synced(self, int error) except -1:
        if not self._waiting:
            self._committer.disk.close(self._fd)
            self._fd = -1
        return self._tell(f"cannot sync {self._directory}: {os.strerror(error)}" if error else "")

    cdef int _tell(self, str failure) except -1:
        covered, self._covered = self._covered, []
        return tell_all(covered, failure)


cdef class Interval(Target):
    """Descriptors of our own that an interval's sync is about."""

    cdef list descriptors
    cdef Disk disk

    cdef int synced(self, int error) except -1:
        for fd in self.descriptors:
            self.disk.close(fd)
        if error:
            log.error("cannot sync what was written in the last interval: %s. A power loss may take it. Check the disk",
                      os.strerror(error))
        return 0


cdef class Committer:
    """One per server. disk: None is the real one. tier: WRITTEN (0) answers after write(), SYNCED (1) after a successful
    fdatasync.

    Instead of a tier, a sync mode by name: "always" is SYNCED; "interval" and "never" are WRITTEN, and with
    "interval" a timer calls `begin_sync_written()`.
    """

    def __init__(self, tier=SYNCED, Disk disk=None):
        cdef int error
        self.disk = disk or REAL
        if isinstance(tier, str):
            assert tier in SYNC_MODES, f"sync mode {tier!r} is not one of {SYNC_MODES}"
            self._interval = tier == "interval"
            self.ever_syncs = tier != "never"
            tier = SYNCED if tier == "always" else WRITTEN
        self.ever_syncs = self.ever_syncs or tier == SYNCED
        self.tier = tier
        self._unsynced = {}
        self._enlisted, self._stalled, self._owing = [], [], []
        self._in_flight = {}
        self.space = Space()
        self._worker = <void*>PyMem_Calloc(1, sizeof(worker))
        if self._worker == NULL:
            raise MemoryError("no memory for the sync worker")
        error = worker_start(<worker*>self._worker, sync_act, SYNC_THREADS_MAX, &self.disk.for_workers)
        (<worker*>self._worker).together = SYNCS_TOGETHER
        if error:
            raise StoreError(f"cannot start the sync worker: {os.strerror(error)}")
        self.event_fd = (<worker*>self._worker).wake_read
        self.closer = Closer((<worker*>self._worker).wake_write, self.disk)

    def __dealloc__(self):
        if self._worker != NULL:
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)

    cdef int enlist(self, Target target) except -1:
        if not target.enlisted and not target.stalled and not target.gone:
            target.enlisted = True
            if not target.syncing and not target.held:
                self._enlisted.append(target)
        return 0

    cdef int stall(self, Target target) except -1:
        if not target.stalled:
            target.stalled = True
            self._stalled.append(target)
            self.space.on_short()
        return 0

    cdef int hold(self, Target target) except -1:
        assert not target.enlisted and not target.syncing
        target.held = True
        return 0

    cdef int go_on(self, Target target) except -1:
        if target.held and target.enlisted and not target.gone:
            self._enlisted.append(target)
        target.held = False
        return 0

    cdef int let_go(self, Target target, object then) except -1:
        target.gone = True
        if target.syncing:
            target._let_go = then
        else:
            then()
        return 0

    cpdef int retry(self) except -1:
        cdef list waiting = self._stalled
        cdef Target target
        self._stalled = []
        for target in waiting:
            target.stalled = False
            self.enlist(target)
        self.space.tell_waiting()
        return 0

    cdef int _write(self, Target target) except -2:
        """Its write(), with what is set aside when the disk is full; -1 also when it has to wait."""
        while True:
            target._others = None
            try:
                return target.write()
            except OSError as error:
                if not passes(error):
                    raise
                if self.closer.finish():     # there may be room already, and fewer files are open
                    continue
                self.space.exhausted(error)
                if is_shortage(error) or not self.space.give(GIVEN_BYTES):
                    self.stall(target)
                    return -1

    cdef int run(self) except -1:
        cdef list batch = self._enlisted
        cdef Target target
        if not batch:
            return 0
        self._enlisted = []
        for target in batch:
            assert target.enlisted and not target.syncing
            target.enlisted = False
            try:
                self._commit(target)
            except Exception:
                log.exception("a commit of %r failed", target)
        return 1 if self._enlisted else 0

    cdef int _commit(self, Target target) except -1:
        cdef int fd = -1 if target.gone else self._write(target)
        if fd < 0:
            return self._tell_behind(target)
        if self.tier == WRITTEN and not (target.insists and self.ever_syncs):
            if self._interval:
                for other in target._others or ():
                    self._remember(other)
                self._remember(fd)
            target.synced(0)
            return self._tell_behind(target)
        target._sync_error, target._syncs_left = 0, 0
        target.syncing = True
        for other in target._others or ():
            self._submit(target, other)
        self._submit(target, fd)
        return 0

    cdef int _submit(self, Target target, int fd) except -1:
        cdef worker_job job
        memset(&job, 0, sizeof(worker_job))
        self._tickets += 1
        job.ticket, job.fd, job.disk = self._tickets, fd, &self.disk.for_workers
        self.disk.sync_asked(fd)
        if worker_submit(<worker*>self._worker, job):
            raise MemoryError("no memory to queue a sync")
        target._syncs_left += 1
        self._in_flight[self._tickets] = target
        return 0

    cdef int _remember(self, int fd) except -1:
        """Keeps a descriptor of our own: the target may close its one before the next interval."""
        cdef struct_stat info
        if fstat(fd, &info):
            raise OSError(c_errno, os.strerror(c_errno))
        cdef tuple file = (info.st_dev, info.st_ino)
        if file not in self._unsynced:
            self._unsynced[file] = self.disk.duplicate(fd)
        return 0

    cpdef int begin_sync_written(self) except -1:
        cdef Interval target
        if not self._unsynced:
            return 0
        target = Interval()
        target.disk = self.disk
        target.descriptors = list(self._unsynced.values())
        self._unsynced.clear()
        return self.sync_beside(target, target.descriptors)

    cdef int sync_beside(self, Target target, list fds) except -1:
        cdef int fd
        target._sync_error, target._syncs_left = 0, 0
        target.syncing = True
        for fd in fds:
            self._submit(target, fd)
        return 0

    cdef int wait_for(self, Target target) except -1:
        while target.syncing:
            with nogil:
                worker_wait_for_answer(<worker*>self._worker)
            self.collect()
        return 0

    cpdef int sync_written(self) except -1:
        cdef int fd
        worst = None
        descriptors = list(self._unsynced.values())
        self._unsynced.clear()
        for fd in descriptors:
            try:
                self.disk.sync(fd)
            except OSError as error:
                worst = worst or error
            self.disk.close(fd)
        if worst is not None:
            raise worst
        return 0

    cpdef int collect(self) except -1:
        cdef worker_job job
        cdef Target target
        worker_clear_wake(<worker*>self._worker)
        while worker_take(<worker*>self._worker, &job):
            target = self._in_flight.pop(job.ticket)
            self.syncs += 1
            self.sync_ns_total += <uint64_t>job.took_ns
            self._sync_ns += (job.took_ns - self._sync_ns) // 8
            try:
                self._answered(target, job.error)
            except Exception:
                log.exception("the end of a commit of %r failed", target)
        return self.closer.collect()

    cdef int _answered(self, Target target, int error) except -1:
        """One of a target's descriptors is synced; the last one ends its commit, with the first error of all."""
        target._sync_error = target._sync_error or error
        target._syncs_left -= 1
        if target._syncs_left:
            return 0
        target.syncing = False
        if target.gone:
            then, target._let_go = target._let_go, None
            then()
            return 0
        if target.enlisted:
            self._enlisted.append(target)
        target.synced(target._sync_error)
        return self._tell_behind(target)

    cdef int follow(self, Target target, Target first) except -1:
        assert first._behind is None or first._behind is target
        first._behind = target
        return 0

    cdef int _tell_behind(self, Target target) except -1:
        behind, target._behind = target._behind, None
        return self.enlist(behind) if behind is not None else 0

    cdef int testify_later(self, Target target) except -1:
        if target.owes_testimony:
            return 0
        target.owes_testimony = True
        self._owing.append(target)
        if len(self._owing) == 1 and self.on_owing is not None:
            self.on_owing()
        return 0

    cpdef bint testify(self, size_t most=EVERYONE) except *:
        cdef list now = self._owing[:most]
        cdef Target target
        self._owing = self._owing[most:]
        for target in now:
            target.owes_testimony = False
            try:
                if not target.gone:
                    target.testify()
            except Exception:
                log.exception("the testimony of %r failed", target)
        return bool(self._owing)

    cdef bint waits_longer(self, int64_t ns) noexcept:
        return self._sync_ns > ns and len(self._in_flight) > 0

    cpdef int drain(self) except -1:
        self.draining = True
        self.retry()                     # once: who has no room now is left as it is
        try:
            while self._enlisted or self._in_flight or self.closer.given != self.closer.closed:
                self.run()
                self.closer.finish()
                self.closer.collect()
                if self._in_flight:
                    with nogil:
                        worker_wait_for_answer(<worker*>self._worker)
                    self.collect()
        finally:
            self.draining = False
        self.testify()
        return 0

    cpdef int close(self) except -1:
        if self._worker != NULL:
            self.drain()
            self.sync_written()
            self.closer.stop()
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)
            self._worker = NULL
        return 0

    def in_flight(self):
        """Syncs that are with the worker."""
        return len(self._in_flight)

    def py_waits_longer(self, int64_t ns):
        """Python's door to `waits_longer`."""
        return self.waits_longer(ns)

    def run_now(self):
        """The commit phase, for tests."""
        self.run()
