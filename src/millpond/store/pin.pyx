"""Pins: a snapshot reads a stream as it was, while the stream goes on.

A store tells its pins of every message that leaves it. Of one that a pin still wants, a log needs only the place, since
it keeps its oldest segments while there are pins; memory needs a copy. What is held is bounded: a pin that would hold
more gives everything up and says so.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc

from millpond.base import limits

cdef uint64_t BYTES_MAX = limits.PIN_BYTES_MAX


cdef class Pin:
    """Of messages up to `last_seq`."""

    def __init__(self, uint64_t first_seq, uint64_t last_seq):
        self.next_seq, self.last_seq = first_seq, last_seq

    def __dealloc__(self):
        self._give_up()

    cdef void _give_up(self) noexcept:
        cdef size_t i
        for i in range(self._count):
            free(self._rows[i].copy)
        free(self._rows)
        self._rows = NULL
        self._count, self._max, self.bytes = 0, 0, 0

    cdef int keep(self, Kept row, size_t copy_bytes) except -1:
        cdef size_t at = self._count, above, most
        cdef void* grown
        assert self.wants(row.seq)
        row.size = <unsigned int>copy_bytes if row.copy != NULL else row.size
        self.bytes += sizeof(Kept) + copy_bytes
        if self.bytes > BYTES_MAX:
            free(row.copy)
            self._give_up()
            self.overflowed = True
            return 0
        if self._count == self._max:
            most = self._max + (self._max >> 1) + 64
            grown = realloc(self._rows, most * sizeof(Kept))
            if grown == NULL:
                free(row.copy)
                raise MemoryError
            self._rows, self._max = <Kept*>grown, most
        self._count += 1
        while at:
            above = (at - 1) >> 1
            if self._rows[above].seq <= row.seq:
                break
            self._rows[at] = self._rows[above]
            at = above
        self._rows[at] = row
        return 0

    cdef const Kept* first(self) noexcept:
        return self._rows if self._count else NULL

    cdef int pass_to(self, uint64_t seq) except -1:
        assert seq >= self.next_seq
        self.next_seq = seq
        while self._count and self._rows[0].seq < seq:
            self._pop()
        return 0

    cdef void _pop(self) noexcept:
        cdef size_t at = 0, below
        cdef Kept last
        self.bytes -= sizeof(Kept) + (self._rows[0].size if self._rows[0].copy != NULL else 0)
        free(self._rows[0].copy)
        self._count -= 1
        if self._count == 0:
            return
        last = self._rows[self._count]
        while True:
            below = 2 * at + 1
            if below >= self._count:
                break
            if below + 1 < self._count and self._rows[below + 1].seq < self._rows[below].seq:
                below += 1
            if last.seq <= self._rows[below].seq:
                break
            self._rows[at] = self._rows[below]
            at = below
        self._rows[at] = last
