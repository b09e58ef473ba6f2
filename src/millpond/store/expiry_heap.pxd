# When messages with an end of their own (Nats-TTL) fall due: a binary heap of 16 bytes a message.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.index cimport Index

cdef struct Due:
    int64_t expires_ns
    uint64_t seq

cdef class ExpiryHeap:
    cdef readonly uint32_t count
    cdef Due* _at                    # _at[0] falls due first; of equal times the lower sequence
    cdef uint32_t _max
    cdef uint32_t _swept             # sweep() goes on here
    cdef int push(self, uint64_t seq, int64_t expires_ns) except -1
    cdef Due first(self) noexcept    # count > 0
    cdef int pop(self) except -1     # takes the first away; count > 0
    # The next sequence in rotation, 0 when there is none; drop_looked_at() forgets that one.
    cdef uint64_t look(self) noexcept
    cdef int drop_looked_at(self) except -1
    # Looks at the next `most` entries in rotation, and forgets those whose message is not in the index.
    cdef int sweep(self, Index index, uint32_t most) except -1
    cdef uint64_t memory_bytes(self) noexcept
    cdef list check(self)
    # --- private ---
    cdef int _resize(self, uint32_t entries_max) except -1
    cdef int _take(self, uint32_t i) except -1
    cdef uint32_t _up(self, uint32_t i) noexcept
    cdef void _down(self, uint32_t i) noexcept
