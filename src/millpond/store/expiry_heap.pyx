"""Ends of messages, soonest first.

A message that is removed before its end leaves its entry behind: finding it would need a second map. So every
change of the store looks at a few entries in rotation and forgets those whose message is gone. As each change
adds or orphans at most one entry and looks at several, orphans stay below a fraction of the entries, no change
is ever slow, and the memory follows the live messages down as well as up.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from millpond.store.index cimport Entry, Index

cdef enum:
    ENTRIES_MIN = 16


cdef inline bint _before(const Due* a, const Due* b) noexcept:
    return a.expires_ns < b.expires_ns or (a.expires_ns == b.expires_ns and a.seq < b.seq)


cdef class ExpiryHeap:
    """Invariant: no entry falls due before its parent, at (i - 1) // 2."""

    def __dealloc__(self):
        free(self._at)

    cdef int _resize(self, uint32_t entries_max) except -1:
        cdef void* block = realloc(self._at, <size_t>entries_max * sizeof(Due))
        if block == NULL:
            raise MemoryError
        self._at, self._max = <Due*>block, entries_max
        return 0

    cdef int push(self, uint64_t seq, int64_t expires_ns) except -1:
        assert seq > 0 and expires_ns > 0
        if self.count == self._max:
            self._resize(self._max + (self._max >> 1) + ENTRIES_MIN)
        self._at[self.count].seq, self._at[self.count].expires_ns = seq, expires_ns
        self.count += 1
        self._up(self.count - 1)
        return 0

    cdef Due first(self) noexcept:
        return self._at[0]

    cdef int pop(self) except -1:
        return self._take(0)

    cdef int _take(self, uint32_t i) except -1:
        assert i < self.count
        self.count -= 1
        if i < self.count:
            self._at[i] = self._at[self.count]
            self._down(self._up(i))
        if self._max > ENTRIES_MIN and self.count < self._max >> 2:
            self._resize(max(self._max >> 1, <uint32_t>ENTRIES_MIN))
        return 0

    cdef uint32_t _up(self, uint32_t i) noexcept:
        """Where the entry comes to rest."""
        cdef Due moving = self._at[i]
        while i and _before(&moving, &self._at[(i - 1) >> 1]):
            self._at[i] = self._at[(i - 1) >> 1]
            i = (i - 1) >> 1
        self._at[i] = moving
        return i

    cdef void _down(self, uint32_t i) noexcept:
        cdef Due moving = self._at[i]
        cdef uint32_t child = 2 * i + 1
        while child < self.count:
            if child + 1 < self.count and _before(&self._at[child + 1], &self._at[child]):
                child += 1
            if not _before(&self._at[child], &moving):
                break
            self._at[i] = self._at[child]
            i, child = child, 2 * child + 1
        self._at[i] = moving

    cdef uint64_t look(self) noexcept:
        if not self.count:
            return 0
        self._swept = self._swept + 1 if self._swept + 1 < self.count else 0
        return self._at[self._swept].seq

    cdef int drop_looked_at(self) except -1:
        self._take(self._swept)
        self._swept -= 1 if self._swept else 0     # another entry stands there now
        return 0

    cdef int sweep(self, Index index, uint32_t most) except -1:
        cdef Entry entry
        while most and self.count:
            most -= 1
            if not index.get(self.look(), &entry):
                self.drop_looked_at()
        return 0

    cdef uint64_t memory_bytes(self) noexcept:
        return <uint64_t>self._max * sizeof(Due)

    cdef list check(self):
        cdef list wrong = []
        cdef set seqs = set()
        cdef uint32_t i
        for i in range(self.count):
            if i and _before(&self._at[i], &self._at[(i - 1) >> 1]):
                wrong.append(f"expiry {i} falls due before its parent")
            seqs.add(self._at[i].seq)
        if len(seqs) != self.count:
            wrong.append("a message has two expiries")
        return wrong
