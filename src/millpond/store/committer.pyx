"""Group commit: one write a turn per file, one fdatasync in flight per file, the next batch gathers meanwhile.

A target goes round:  enlisted -> write() -> syncing -> synced() -> (enlisted again while it was syncing: once more)
                               │                └─ a full disk took nothing of it: refused -> retry() -> syncing
                               └─ the disk is full and nothing is set aside any more: stalled -> retry() -> enlisted
The loop waits for no disk: what write() puts is copied, and a worker writes it before it syncs. A disk that stands still
is noticed by what is asked of it and not answered; until it is, no commit begins.
"""

import logging
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport errno as c_errno
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset
from posix.stat cimport fstat, struct_stat

from millpond.store.closer cimport Closer
from millpond.store.disk cimport Disk
from millpond.store.maker cimport Maker
from millpond.store.worker cimport (
    worker, worker_clear_wake, worker_job, worker_now_ns, worker_start, worker_stop, worker_submit, worker_take,
    worker_wait_for_all, worker_wait_for_answer,
)

from millpond.base.errors import StoreError
from millpond.base import limits
from millpond.store.disk import REAL
from millpond.store.space import Space, is_shortage, passes

cdef extern from "sync_thread.h" nogil:
    ctypedef struct sync_write:
        pass
    sync_write* sync_write_new(sync_write* last, int fd, const char* path, const char* data, size_t size, uint64_t offset)
    void sync_writes_free(void* first)
    void sync_act(worker_job* job)
    void sync_write_waiting(worker* self)


log = logging.getLogger("millpond")

SYNC_MODES = ("always", "interval", "never")

cdef int SYNC_THREADS_MAX = limits.SYNC_THREADS_MAX
cdef int SYNCS_TOGETHER = limits.SYNCS_TOGETHER
cdef size_t EVERYONE = 1 << 62
cdef uint64_t GIVEN_BYTES = limits.RESERVE_STEP_BYTES    # of what is set aside, to a target whose write was refused
cdef int64_t STANDS_STILL_NS = limits.STANDS_STILL_NS, JUST_ANSWERED_NS = limits.JUST_ANSWERED_NS
cdef int64_t STOOD_STILL_TOLD_NS = limits.STOOD_STILL_TOLD_NS


cpdef int tell_all(list everyone, str failure) except -1:
    for done in everyone:
        try:
            done(failure)
        except Exception:
            log.exception("%r failed when it was told about the disk", done)
    return 0


cdef class Target:
    """A file with buffered bytes. Subclasses: file store, consumer journal, catalog, names (names.pyx)."""

    cdef int write(self) except -2:
        raise NotImplementedError(type(self).__name__)

    cdef int synced(self, int error) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int sync_also(self, int fd) except -1:
        if self._others is None:
            self._others = []
        self._others.append(fd)
        return 0

    cdef bint writes_anew(self) except *:
        return True

    cdef int testify(self) except -1:
        return 0

    def __dealloc__(self):
        sync_writes_free(self._writes)


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


cdef class Notes(Target):
    """What is written down beside files, of one testify()."""

    def __init__(self):
        self._waiting = []

    cpdef int when_written(self, object done) except -1:
        self._waiting.append(done)
        return 0

    cdef int synced(self, int error) except -1:
        if error and not passes(OSError(error, "")):
            log.warning("how far files were committed cannot be written down beside them: %s", os.strerror(error))
        return tell_all(self._waiting, "")


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
        self._enlisted, self._stalled, self._refused, self._owing, self._noting, self._awaiting = [], [], [], [], [], []
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
        self.maker = Maker((<worker*>self._worker).wake_write, self.disk)

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
        if target.refused:
            self._refused.remove(target)
            target.refused = target.syncing = False
            self.forget(target)
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
        waiting, self._refused = self._refused, []
        for target in waiting:
            target.refused = False
            self._begin(target, target._sync_fds)
        self.space.tell_waiting()
        return 0

    # --- what is put ---

    cdef bint _defers(self, Target target) noexcept:
        return self.tier == SYNCED or (target.insists and self.ever_syncs)

    cdef int put(self, Target target, int fd, const char* data, size_t n, uint64_t offset) except -1:
        if not self._defers(target):
            return self.disk.write(fd, data, n, offset)
        if target._writes == NULL or target._into == fd:
            target._into = fd
        else:
            target._into = -1
        return self._add(target, fd, NULL, data, n, offset)

    cdef int _add(self, Target target, int fd, const char* path, const char* data, size_t n, uint64_t offset) except -1:
        cdef sync_write* made = sync_write_new(<sync_write*>target._last_write, fd, path, data, n, offset)
        if made == NULL:
            raise MemoryError(f"no memory to write {n} bytes")
        if target._writes == NULL:
            target._writes = made
        target._last_write = made
        target.put_size += n
        return 0

    cpdef int put_bytes(self, Target target, int fd, bytes data, uint64_t offset) except -1:
        return self.put(target, fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), offset)

    cdef int forget(self, Target target) noexcept:
        sync_writes_free(target._writes)
        target._writes = target._last_write = NULL
        target.put_size = 0
        return 0

    cdef bint stands_still(self) noexcept:
        cdef Target oldest
        if self.maker.is_late():
            return True
        if not self._in_flight or self.tier == WRITTEN or (<worker*>self._worker).in_line != NULL:
            return False
        for oldest in self._in_flight.values():
            break
        return worker_now_ns() - oldest._asked_ns > max(STANDS_STILL_NS, 4 * self._sync_ns)    # a slow disk is none

    cpdef bint moves(self) except *:
        if self.stands_still():
            return False
        if (<worker*>self._worker).in_line != NULL or worker_now_ns() - self._answered_ns < JUST_ANSWERED_NS:
            return True
        path = self.space.path
        return path is None or self.maker.moves(path)

    cpdef int when_it_moves(self, object done) except -1:
        if self.stands_still():
            self._awaiting.append(done)
            return 0
        return tell_all([done], "")

    cdef int _tell_still(self, int64_t took_ns) except -1:
        """Once for all that waited for the same."""
        cdef int64_t now_ns = worker_now_ns()
        if now_ns - took_ns > <int64_t>self._told_still_ns:
            self._told_still_ns = <uint64_t>now_ns
            log.warning("The disk stood still for %.1f s: publishes and changes waited for it. Check the disk, and who else "
                        "writes to it", took_ns / 1e9)
        return 0

    def py_stands_still(self):
        return self.stands_still()

    # --- a commit ---

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
                if not self._is_given(error):
                    self.stall(target)
                    return -1

    cdef int run(self) except -1:
        if not self._enlisted or (self.stands_still() and not self.draining):
            return 0
        return self._run()

    cdef int _run(self) except -1:
        cdef list batch = self._enlisted
        cdef Target target
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
        if fd < 0 and target._writes == NULL:
            return self._tell_behind(target)
        if fd < 0:                       # a part: nothing is synced before the whole is written
            if target.enlisted:
                self._enlisted.remove(target)      # which goes on when this is done
            return self._begin(target, [])
        if not self._defers(target):
            if self._interval:
                for other in target._others or ():
                    self._remember(other)
                self._remember(fd)
            target.synced(0)
            return self._tell_behind(target)
        return self._begin(target, [*target._others, fd] if target._others else [fd])

    cdef int _begin(self, Target target, list fds) except -1:
        """Syncs, side by side. Whoever syncs what was written to writes before; where that are several files all of it
        is written first, in its order, for a kill may come between."""
        target._sync_error, target._syncs_left, target._sync_fds = 0, 0, fds
        target.syncing = True
        if target._writes != NULL and target._into not in fds:
            return self._submit(target, -1, target._writes)
        return self._begin_syncs(target)

    cdef int _begin_syncs(self, Target target) except -1:
        cdef int fd
        for fd in target._sync_fds:
            self._submit(target, fd, target._writes if target._writes != NULL and fd == target._into else NULL)
        return 0

    cdef int _submit(self, Target target, int fd, void* writes) except -1:
        cdef worker_job job
        memset(&job, 0, sizeof(worker_job))
        self._tickets += 1
        job.ticket, job.fd, job.disk, job.writes = self._tickets, fd, &self.disk.for_workers, writes
        if fd >= 0:
            self.disk.sync_asked(fd)
        if worker_submit(<worker*>self._worker, job):
            raise MemoryError("no memory to queue a sync")
        target._syncs_left += 1
        target._asked_ns = worker_now_ns()
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
        return self._begin(target, fds)

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
            if job.fd >= 0 and not job.refused:
                self.syncs += 1
                self.sync_ns_total += <uint64_t>job.took_ns
                self._sync_ns += (job.took_ns - self._sync_ns) // 8
            self._answered_ns = worker_now_ns()
            if job.took_ns > STOOD_STILL_TOLD_NS:
                self._tell_still(job.took_ns)
            try:
                self._answered(target, job.fd, job.error, job.refused)
            except Exception:
                log.exception("the end of a commit of %r failed", target)
        self.maker.collect()
        if self._awaiting and not self.stands_still():
            held, self._awaiting = self._awaiting, []
            tell_all(held, "")
        return self.closer.collect()

    cdef int _answered(self, Target target, int fd, int error, bint refused) except -1:
        """One of a target's descriptors is synced, or (`fd` -1) all that it has put is written. The last one ends its
        commit, with the first error of all."""
        if refused and not target.gone and passes(OSError(error, "")):
            target._no_room = error
        else:
            target._sync_error = target._sync_error or error
        target._syncs_left -= 1
        if target._syncs_left:
            return 0
        if target._no_room and not target._sync_error and not target.gone:
            return self._not_taken(target)
        target._no_room, target.write_failed = 0, refused
        self.forget(target)
        if fd < 0 and target._sync_fds and not target._sync_error:
            return self._begin_syncs(target)
        target.syncing = False
        if target.gone:
            then, target._let_go = target._let_go, None
            then()
            return 0
        if target.enlisted:
            self._enlisted.append(target)
        if target._sync_fds or target._sync_error or type(target) is Notes:    # else it was a part, and write() goes on
            target.synced(target._sync_error)
        return self._tell_behind(target)

    cdef int _not_taken(self, Target target) except -1:
        """There was no room for what it has put: as _write() does then."""
        no_room = OSError(target._no_room, os.strerror(target._no_room))
        target._no_room = 0
        if target.writes_anew():
            self.forget(target)
            target.syncing = target.enlisted = False
            if self.closer.finish() or self._is_given(no_room):
                return self.enlist(target)
            return self.stall(target)
        if self.closer.finish() or self._is_given(no_room):
            return self._begin(target, target._sync_fds)
        target.refused = True
        self._refused.append(target)
        self.space.on_short()
        return 0

    cdef bint _is_given(self, object error) except *:
        """After a refusal: may it be tried again, with what was set aside?"""
        self.space.exhausted(error)
        return not is_shortage(error) and self.space.give(GIVEN_BYTES)

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
        self._notes = Notes()
        for target in now:
            target.owes_testimony = False
            try:
                if not target.gone:
                    target.testify()
            except Exception:
                log.exception("the testimony of %r failed", target)
        notes, self._notes = self._notes, None
        if (<Notes>notes)._writes != NULL:
            self._noting = [other for other in self._noting if (<Notes>other).syncing] + [notes]
            self._begin(notes, [])
        return bool(self._owing)

    cpdef int note(self, str path, bytes data, uint64_t offset) except -1:
        cdef bytes name
        cdef int fd
        if self._notes is not None:
            name = os.fsencode(path)
            self._notes._into = -1
            return self._add(self._notes, -1, PyBytes_AS_STRING(name), PyBytes_AS_STRING(data), len(data), offset)
        fd = self.disk.open_path(path)
        try:
            return self.disk.put(fd, data, offset)
        finally:
            self.disk.close(fd)

    cpdef list noting(self):
        return [notes for notes in self._noting if (<Notes>notes).syncing]

    cdef bint waits_longer(self, int64_t ns) noexcept:
        return self._sync_ns > ns and len(self._in_flight) > 0 and not self.stands_still()

    cpdef int drain(self) except -1:
        self.draining = True
        self.retry()                     # once: who has no room now is left as it is
        try:
            self._finish()
            while self._owing:
                self.testify()
                self._finish()
        finally:
            self.draining = False
        return 0

    cdef int _finish(self) except -1:
        while self._enlisted or self._in_flight or self.maker.is_late() or self.closer.given != self.closer.closed:
            self.run()
            self.maker.finish()
            self.closer.finish()
            if self._in_flight:
                with nogil:
                    worker_wait_for_answer(<worker*>self._worker)
            self.collect()
        return 0

    cpdef int close(self) except -1:
        if self._worker != NULL:
            self.drain()
            self.sync_written()
            self.closer.stop()
            self.maker.stop()
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)
            self._worker = NULL
        return 0

    def in_flight(self):
        """Syncs that are with the worker."""
        return len(self._in_flight)

    def py_waits_longer(self, int64_t ns):
        return self.waits_longer(ns)

    def run_later(self):
        """The commit phase, for tests: as it is."""
        self.run()

    def run_now(self):
        """The commit phase, for tests: what it writes is written, and nobody is told."""
        self._run()
        if (<worker*>self._worker).in_line != NULL:
            sync_write_waiting(<worker*>self._worker)
        with nogil:
            worker_wait_for_all(<worker*>self._worker)
