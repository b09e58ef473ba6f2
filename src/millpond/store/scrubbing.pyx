"""Scrubbing: every sealed segment is read and verified now and then, whether anybody reads it or not.

    begin() ──worker: every record of one segment verified──> done(bytes) ──> begin() ... False: the round is over
                        └─ one does not: check_part() ──> the live messages in it, a share at a time; lost ones are named

The worker is the one that makes summaries, and does here what it does there; what it makes is thrown away. It reads the
file by a descriptor of its own and gives the kernel's pages back, so neither the read cache nor the page cache is
filled. Which messages are lost is found by reading them as anybody would: only then is there anything to say.

A packed segment of which a bit is flipped reads as it was (packed.pyx); it becomes a plain one, in a new file, and is
packed again when its turn comes: so the disk has it as it was, too.

Damage to a record that matters to nobody (its message was removed) loses nothing now. It may be a removal, and a start
without the segment's summary would bring back what that removed; so it is told as well.
"""

import errno
import logging
import os

from libc.stdint cimport uint32_t, uint64_t

from millpond.store.api cimport Record
from millpond.store.disk cimport Disk
from millpond.store.file_store cimport FileStore
from millpond.store.index cimport Entry
from millpond.store.packed cimport packed_keep
from millpond.store.packer cimport Client, Repack
from millpond.store.packer_order cimport SUMMARISE
from millpond.store.segment cimport IN_LOG, NO_SEGMENT, Segment, segment_name

from millpond.base import limits
from millpond.store.space import is_shortage

log = logging.getLogger("millpond")

cdef uint64_t ROWS = limits.SEARCH_STEP_ROWS

cdef enum:
    ANY_BYTES = 0x7FFFFFFF           # however large the summary would become


cdef class Scrub(Client):
    """done(bytes): the segment that was begun is read. A store that is closed meanwhile ends the round."""

    def __init__(self, FileStore store, object done):
        self._store, self._done, self._suspect = store, done, NO_SEGMENT

    def begin(self):
        """Reads the next segment, and says later that it has. False: there is none, the round is over."""
        if self._next_number() == NO_SEGMENT:
            return False
        self._store._cache.packer.ask(self)
        return True

    @property
    def is_suspicious(self):
        """Is check_part() to be called?"""
        return self._suspect != NO_SEGMENT

    cdef uint32_t _next_number(self) noexcept:
        """The oldest segment that was not read yet and is not written to."""
        cdef const Segment* segment
        cdef uint32_t number
        if self._store.closed:
            return NO_SEGMENT
        for number in self._store.log.order:
            segment = &self._store.log.at[number]
            if segment.generation > self._passed and number != self._store.log.tail and segment.buffer == NULL \
                    and not segment.dirty and not segment.syncing and not segment.erasing and segment.synced == segment.used:
                return number
        return NO_SEGMENT

    cdef Repack next_repack(self):
        cdef uint32_t number = self._next_number()
        cdef Segment* segment
        cdef Repack job = Repack()
        cdef Disk disk = self._store.log.disk
        if number == NO_SEGMENT:
            self._done(0)
            return None
        segment = &self._store.log.at[number]
        self._passed = segment.generation
        try:
            job.disk, job.order.source = disk, disk.open(self._store.log.directory, segment_name(number), False)
        except OSError as error:
            if not is_shortage(error):
                self._found(number, str(error))
            self._done(0)
            return None
        job.number, job.generation, job.changes, job.order.task = number, segment.generation, segment.changes, SUMMARISE
        job.order.drop, job.order.seed, job.order.bytes_max = self._store.log.drops_pages, segment.seed, ANY_BYTES
        job.order.generation, job.order.end, job.order.disk = segment.generation, segment.used, &disk.for_workers
        if segment.packed != NULL:
            packed_keep(segment.packed)
            job.order.packed = segment.packed
        return job

    cdef int repacked(self, Repack job, int error) except -1:
        cdef const Segment* segment
        if not self._store.closed and error in (errno.EILSEQ, errno.EIO):
            segment = &self._store.log.at[job.number]
            if segment.state == IN_LOG and segment.generation == job.generation and segment.changes == job.changes:
                self._found(job.number, "a record does not verify" if error == errno.EILSEQ else os.strerror(error))
        elif not self._store.closed and not error and job.order.mended:
            log.warning("%s/%s: a flipped bit; it is mended, and the file written anew", self._store.log.directory,
                        segment_name(job.number))
            self._store._repacker.want_plain(job.number)
        self._done(job.order.end)
        return 0

    cdef int _found(self, uint32_t number, str reason) except -1:
        log.error("%s/%s: %s; its messages are looked at", self._store.log.directory, segment_name(number), reason)
        self._suspect, self._suspect_generation, self._next_seq = number, self._store.log.at[number].generation, 0
        self._lost = self._store.lost
        self._store._cache.forget(self._store.log.at[number].cache_id)     # what is on the disk counts
        return 0

    def check_part(self):
        """Reads live messages of the segment that does not verify, after a look at so many of the stream. False: that
        was all."""
        cdef uint64_t looks = ROWS
        cdef Entry entry
        cdef Record record
        cdef bint gone = self._store.closed or self._store.log.at[self._suspect].generation != self._suspect_generation
        if self._suspect == NO_SEGMENT or gone:
            self._suspect = NO_SEGMENT
            return False
        while looks:
            self._next_seq = self._store.index.next_live(self._next_seq + 1)
            if self._next_seq == 0:
                break
            looks -= 1
            if self._store.index.get(self._next_seq, &entry) and entry.run_id == self._suspect:
                try:
                    self._store.load(self._next_seq, &record, True)
                except OSError:                        # no descriptor is left: it is looked at another time
                    self._next_seq -= 1
                    return True
        if self._next_seq:
            return True
        if self._store.lost == self._lost:
            log.warning("%s/%s: no message is lost: what does not verify was removed, or is a removal",
                        self._store.log.directory, segment_name(self._suspect))
        self._suspect = NO_SEGMENT
        return False

    def close(self):
        """What is under way is for nobody any more."""
        self._store._cache.packer.forget(self)
