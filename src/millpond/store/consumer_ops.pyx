"""Ops of a consumer journal on their way to the disk (layout: consumer_ops.pxd, all numbers little-endian).

The buffer belongs to the journal, which empties it at each write; the states of its consumers put their
changes in. It stays as large as the largest frame so far.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from millpond.store.api cimport Store
from millpond.store.committer cimport Committer, Target

cdef size_t LAZY_BYTES_MAX = 64 * 1024          # what nobody waits for waits for a write no longer than this
cdef size_t CAPACITY_MIN = 4096


cdef class OpLog:
    """`target` is what the committer writes: the journal."""

    def __init__(self, Committer committer, Target target, Store store=None):
        self._committer, self._target, self.store = committer, target, store

    def __dealloc__(self):
        free(self.buffer)

    cdef int follow(self, uint64_t position, uint64_t stream_seq) noexcept:
        self.needs = max(self.needs, position)
        if self.store is not None and stream_seq > self.store.committed_seq:
            self.passed = self.store.position
        return 0

    cdef char* reserve(self, size_t size) except NULL:
        cdef size_t capacity = self._capacity
        cdef char* buffer
        while self.used + size > capacity:
            capacity = capacity * 2 if capacity else CAPACITY_MIN
        if capacity != self._capacity:
            buffer = <char*>realloc(self.buffer, capacity)
            if buffer == NULL:
                raise MemoryError()
            self.buffer, self._capacity = buffer, capacity
        self.used += size
        self.appended += size
        return self.buffer + self.used - size

    cdef int give_back(self, size_t size) except -1:
        assert size <= self.used
        self.used -= size
        self.appended -= size
        return 0

    cdef int change(self, uint8_t kind, uint32_t id, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns,
                    bint owed) except -1:
        cdef OpChange* op
        if self.closed:
            self.appended += 1
        else:
            op = <OpChange*>self.reserve(sizeof(OpChange))
            op[0] = OpChange(kind, id, stream_seq, consumer_seq, ts_ns)
        if owed or self.used > LAZY_BYTES_MAX:
            self.owe()
        return 0

    cdef int owe(self) except -1:
        self.position = self.appended
        if not self.closed:
            self._committer.enlist(self._target)
        return 0
