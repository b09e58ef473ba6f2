"""Compaction of a first-in first-out log.

Due when more than half of the log is dead. Then the oldest segment is read from its start; every record that the
index still points at is copied to the tail, with its sequence and times, and the index follows. What the tombstones
in it refer to is older still, so they are never copied. A step ends with its budget or where a read has to wait;
the next commit goes on. Over one round of the log twice as many bytes are looked at as become free, at most.
A repair insists that segments leave (renewal.pyx).

Lengths of dead records are believed, so their content need not be read. Where one lied, the walk looks for the next
record that verifies; what it missed is found through the index in the end.
"""

from libc.stdint cimport uint32_t, uint64_t

from millpond.store.api cimport COLD, FOUND, Load, Record
from millpond.store.index cimport Entry
from millpond.store.indexed_store cimport IndexedStore
from millpond.store.record cimport ALIGN, PAGE, Head, aligned, page_floor, record_plausible, record_valid
from millpond.store.segment cimport RECORDS_AT, Segment
from millpond.store.segment_log cimport SegmentLog

from millpond.base import limits

cdef uint64_t LOG_SEGMENTS_MIN = limits.COMPACT_LOG_SEGMENTS_MIN


cdef class Compactor:
    """One per file store."""

    def __init__(self, IndexedStore store, SegmentLog log):
        self._store, self._log = store, log

    cdef int insist(self, uint64_t through) noexcept:
        self._through = through
        return 0

    cdef bint insists(self) noexcept:
        cdef SegmentLog log = self._log
        return self._through and len(log.order) > 1 and log.at[<uint32_t>log.order[0]].generation <= self._through

    cdef bint due(self) noexcept:
        cdef SegmentLog log = self._log
        if self._through:
            return self.insists()
        return log.log_bytes > LOG_SEGMENTS_MIN * log.bytes_small and (log.log_bytes - log.live_bytes) * 2 > log.log_bytes \
            and log.live_bytes < log.log_bytes and len(log.order) > 1

    cdef uint64_t step(self, uint64_t budget) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint32_t number, n
        cdef uint64_t appended = 0
        cdef bint cold = False
        cdef Segment* segment
        while budget and self.due():
            number = self._log.order[0]
            segment = &self._log.at[number]
            if segment.live == 0:
                break                              # it leaves with this write
            if segment.generation != self._generation:
                self._generation, self._at = segment.generation, RECORDS_AT
            if self._at + <uint32_t>sizeof(Head) > segment.used:
                appended += self._move_rest(number, &cold)
                break
            appended += self._visit(number, &n, &cold)
            if cold:
                break
            self._at += n
            budget -= min(n, budget)
        self.copied_bytes += appended
        return appended

    cdef uint64_t _visit(self, uint32_t number, uint32_t* n, bint* cold) except? 0xFFFFFFFFFFFFFFFF:
        """What stands at _at: *n bytes to go on by."""
        cdef Segment* segment = &self._log.at[number]
        cdef uint32_t have, left = segment.used - self._at
        cdef char* at
        cdef Head* head
        cdef Entry entry
        n[0] = ALIGN
        if self._log.view(number, self._at, sizeof(Head), self._through > 0, &at, &have) == COLD:
            cold[0] = True
            return 0
        head = <Head*>at
        if head.length == 0 and head.crc == 0:
            n[0] = page_floor(self._at) + PAGE - self._at
        elif record_plausible(at, left):
            n[0] = aligned(head.length)
            if self._store.index.get(head.seq, &entry) and entry.run_id == number and entry.offset == self._at:
                return self._move(number, entry.seq, entry.offset, cold)
        return 0

    cdef uint64_t _move(self, uint32_t number, uint64_t seq, uint32_t offset, bint* cold) except? 0xFFFFFFFFFFFFFFFF:
        """One live message. A damaged one is lost by load(), which says so."""
        cdef SegmentLog log = self._log
        cdef Record record
        cdef Entry entry
        cdef uint32_t have, to, to_offset
        cdef char* at
        cdef Load found = self._store.load(seq, &record, self._through > 0)
        if found != FOUND:
            cold[0] = found == COLD
            return 0
        self._store.index.get(seq, &entry)
        found = log.view(number, offset, sizeof(Head), True, &at, &have)
        assert found == FOUND
        found = log.view(number, offset, (<Head*>at).length, True, &at, &have)
        assert found == FOUND and record_valid(at, have, log.at[number].seed)
        log.put_copy(<Head*>at, &to, &to_offset)
        self._store.index.move(seq, to, to_offset)
        log.gone(number, entry.size)
        log.added(to, entry.size)
        return aligned(have)

    cdef uint64_t _move_rest(self, uint32_t number, bint* cold) except? 0xFFFFFFFFFFFFFFFF:
        """Lives here, but the walk did not come by."""
        cdef uint64_t seq = self._store.index.next_live(0), appended = 0
        cdef Entry entry
        while seq and not cold[0] and self._log.at[number].live:
            if self._store.index.get(seq, &entry) and entry.run_id == number:
                appended += self._move(number, seq, entry.offset, cold)
            seq = self._store.index.next_live(seq + 1)
        return appended
