"""When segments are compressed, and when they get a summary.

    sealed ──a later write is committed──> plain, judged ──> packed ──something in it is to be overwritten──> plain
                                                  └────────────┴──> with a summary ──the same──> without

A segment is packed once nothing can be appended to it or torn in it any more: damage in a packed file never has to
pass for a torn write. One that will soon be moved or dropped, or that would hardly become smaller, stays plain; so
does one that became plain for an erasure, until the next segment begins.

The new file is written beside the old one under a name of its own, and is on disk before it is renamed over it. The
two hold the same segment, so it does not matter which of them a power cut leaves; only before an erasure in the new
one is committed the rename is. What a kill leaves under the other name is removed when the log is opened.

Summaries (summary.pyx) are made at the same time, of what stays for a while and is large enough that recovery had
better not read it. The worker makes them, the loop writes them: what was changed meanwhile it does not write.
"""

import errno
import logging
import os
import time

from libc.stdint cimport uint32_t, uint64_t

from millpond.store.packed cimport packed_keep, packed_let_go, packed_new
from millpond.store.packer cimport Client, Packer, Repack, repack_now
from millpond.store.packer_order cimport PACK, SUMMARISE, UNPACK, Task
from millpond.store.segment cimport IN_LOG, Segment, segment_name
from millpond.store.segment_log cimport SegmentLog
from millpond.store.summary_file cimport summary_put, summary_wipe

from millpond.base import limits
from millpond.store.directory import REPACKED

log = logging.getLogger("millpond")

PASSING = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN)
cdef double PAUSE_S = limits.REPACK_PAUSE_S
cdef uint64_t ROOM_BYTES = limits.REPACK_ROOM_BYTES

cdef enum:
    WORTH_OF = 8                     # a packed file is an eighth smaller at least
    LIVE_OF = 4                      # a quarter of a segment lives at least
    SUMMARY_OF = 2                   # a summary of more than half of what recovery would read is not worth it


cdef class Repacker(Client):
    """One per file store. done: called when a segment that `want_plain` named is plain. summary_least: bytes of the
    smallest segments that get a summary."""

    def __init__(self, SegmentLog log, Packer packer, object done, uint32_t summary_least):
        self._log, self._packer, self._done, self._wanted = log, packer, done, []
        self._summary_least = summary_least

    cdef int compress(self, bint on) except -1:
        if on and not self.compresses:
            self._looked = self._passed = 0
        self.compresses = on
        return self.look() if on else 0

    cdef int look(self) except -1:
        if self._wanted or self._looked != self._log.generation:
            if not self._pause_until or time.monotonic() >= self._pause_until:
                self._packer.ask(self)
        return 0

    cdef int want_plain(self, uint32_t number) except -1:
        if number not in self._wanted:
            self._wanted.append(number)
        return self.look()

    cdef int wipe(self, uint32_t number) except -1:
        self._again = self._log.generation
        return summary_wipe(self._log, number)

    # --- what is next ---

    cdef Repack next_repack(self):
        cdef uint32_t number
        cdef bint leaves = True                    # the segments before do
        cdef Segment* segment
        self._pause_until = 0
        while self._wanted:
            number = self._wanted[0]
            if self._log.at[number].state == IN_LOG and self._log.at[number].packed != NULL:
                return self._begin(number, UNPACK)
            self._wanted.pop(0)
        if self._stopped:
            return None
        if self._again and self._again < self._log.generation:
            self._again = self._passed = self._summarised = 0  # what was changed is judged anew
        for number in self._log.order:
            segment = &self._log.at[number]
            leaves = leaves and segment.live == 0
            if number == self._log.tail or leaves or not self._is_unjudged(segment):
                continue
            if not self._is_settled(segment):
                return None                        # nor are those behind it
            if self.compresses and segment.generation > self._passed:
                self._passed = segment.generation
                if self._may_pack(segment):
                    return self._begin(number, PACK)
            self._summarised = max(self._summarised, segment.generation)
            if self._may_summarise(segment):
                return self._begin(number, SUMMARISE)
        self._looked = self._log.generation
        return None

    cdef bint _is_unjudged(self, const Segment* segment) noexcept:
        return segment.generation > self._summarised or (self.compresses and segment.generation > self._passed)

    cdef bint _is_settled(self, const Segment* segment) noexcept:
        return not segment.dirty and not segment.syncing and not segment.erasing and segment.buffer == NULL \
            and segment.synced == segment.used and self._log.proven(segment.generation, segment.used)

    cdef bint _may_pack(self, const Segment* segment) noexcept:
        return segment.packed == NULL and segment.live_bytes * LIVE_OF >= segment.used

    cdef bint _may_summarise(self, const Segment* segment) noexcept:
        return segment.summary == 0 and segment.bytes >= self._summary_least

    cdef bint _has_room(self) except *:
        return self._log.disk.free_bytes(self._log.directory) >= ROOM_BYTES

    cdef Repack _begin(self, uint32_t number, Task task):
        """Its files, open. None: not now."""
        cdef Segment* segment = &self._log.at[number]
        cdef Repack job = Repack()
        try:
            if task != UNPACK and not self._has_room():
                raise OSError(f"the disk has less than {ROOM_BYTES >> 20} MiB left")
            job.number, job.generation, job.changes, job.order.task = number, segment.generation, segment.changes, task
            self._fill(job, segment)
        except (OSError, MemoryError) as error:
            self._put_off(number, str(error))
            return None
        return job

    cdef int _fill(self, Repack job, const Segment* segment) except -1:
        """What the worker has to know. It opens the file anew: a sync there takes no error from the log's own."""
        job.disk, job.order.disk = self._log.disk, &self._log.disk.for_workers
        job.order.source = self._log.disk.open(self._log.directory, segment_name(job.number), False)
        job.order.drop, job.order.seed = self._log.drops_pages, segment.seed
        job.order.generation, job.order.end = segment.generation, segment.used
        if job.order.task == PACK:
            job.order.packed = packed_new(segment.seed, segment.bytes, segment.used)
        elif segment.packed != NULL:
            packed_keep(segment.packed)
            job.order.packed = segment.packed
        if job.order.task == SUMMARISE:
            job.order.bytes_max = segment.bytes // SUMMARY_OF
            return 0
        job.order.bytes_max = segment.bytes - segment.bytes // WORTH_OF
        job.order.target = self._log.disk.open(self._log.directory, REPACKED, True)
        self._log.disk.truncate(job.order.target, 0)       # one that could not be removed
        if job.order.task == UNPACK:
            job.order.end = segment.packed.end
            self._log.disk.reserve(job.order.target, segment.bytes)
        return 0

    def _put_off(self, uint32_t number, reason):
        if not self._told:
            self._told = True
            log.warning("%s/%s: stays as it is for now: %s", self._log.directory, segment_name(number), reason)
        self._passed = min(self._passed, self._log.at[number].generation - 1)
        self._summarised = min(self._summarised, self._log.at[number].generation - 1)
        self._pause_until = time.monotonic() + PAUSE_S
        self._discard()

    # --- what became of it ---

    cdef int repacked(self, Repack job, int error) except -1:
        cdef Segment* segment = &self._log.at[job.number]
        if job.number in self._wanted:
            self._wanted.remove(job.number)
        if segment.state != IN_LOG or segment.generation != job.generation or segment.changes != job.changes:
            self._discard()                        # it left the log, or was changed meanwhile
            self._again = self._log.generation
        elif error:
            self._failed(job, error)
        elif job.order.task == SUMMARISE:
            self._write_summary(job)
        elif job.order.worth:
            self._finish(job)
        else:
            self._discard()
        if job.order.task == UNPACK:
            self._again = self._log.generation
            self._done()
        return self.look()

    def _failed(self, Repack job, int error):
        if job.order.task != UNPACK and error not in PASSING:
            reason = "a record does not verify" if error == errno.EILSEQ else os.strerror(error)
            log.error("%s/%s: cannot be %s, and stays as it is: %s", self._log.directory, segment_name(job.number),
                      "compressed" if job.order.task == PACK else "summarised for the next start", reason)
            self._discard()
            return
        self._put_off(job.number, os.strerror(error))
        if job.order.task == UNPACK:
            self._wanted.append(job.number)

    def _write_summary(self, Repack job):
        if not job.order.worth:
            return
        try:
            summary_put(self._log, job.number, job.order.summary, job.order.summary_bytes)
        except OSError as error:
            self._put_off(job.number, str(error))

    cdef int _finish(self, Repack job) except -1:
        """The new file takes the old one's name."""
        cdef Segment* segment = &self._log.at[job.number]
        assert not segment.syncing and not segment.dirty
        try:
            if job.order.task == UNPACK:
                self._log.names_change()           # before what is erased here counts as gone
            self._log.disk.rename(self._log.directory, REPACKED, segment_name(job.number))
        except OSError as error:
            self._put_off(job.number, str(error))
            return 0
        self._told = False
        self._log.close_file(segment)             # it is opened again when it is needed
        packed_let_go(&segment.packed)
        segment.summary = 0                        # it had one of the other form
        if job.order.task == PACK:
            segment.packed, job.order.packed = job.order.packed, NULL
            self._summarised = min(self._summarised, segment.generation - 1)
        return 0

    cdef int make_plain(self, uint32_t number) except -1:
        cdef Repack job = self._begin(number, UNPACK)
        cdef int error
        if job is None:
            raise OSError(f"no room to unpack {segment_name(number)}")
        error = repack_now(job)
        if error:
            self._discard()
            raise OSError(error, os.strerror(error), segment_name(number))
        self._finish(job)
        if self._log.at[number].packed != NULL:
            raise OSError(errno.EIO, "the plain file cannot take its place", segment_name(number))
        return 0

    cdef int _discard(self) except -1:
        """What was made is not wanted. Where it stays, the next one takes its place, or the next start removes it."""
        try:
            self._log.disk.unlink(self._log.directory, REPACKED)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s/%s cannot be removed: %s", self._log.directory, REPACKED, error)
        return 0

    cdef int close(self) except -1:
        self.compresses, self._stopped = False, True
        self._wanted = []
        self._done = None
        return self._discard() if self._packer.forget(self) else 0

    def figures(self):
        """How much of the log is compressed, or has a summary, and the bytes of its files (spares not counted)."""
        cdef uint32_t number, packed = 0, summaries = 0
        cdef uint64_t disk_bytes = 0
        for number in self._log.order:
            packed += self._log.at[number].packed != NULL
            disk_bytes += self._log.at[number].bytes if self._log.at[number].packed == NULL \
                else self._log.at[number].packed.bytes
            disk_bytes += self._log.at[number].summary
            summaries += self._log.at[number].summary != 0
        return {"packed": packed, "summaries": summaries, "disk_bytes": disk_bytes}
