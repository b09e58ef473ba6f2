# What a reader of a store still has to come to, kept when it leaves the store meanwhile.
from libc.stdint cimport uint32_t, uint64_t

cdef struct Kept:
    uint64_t seq
    uint32_t number, offset, size    # where the record stays in a log
    uint32_t subject_len
    char* copy                       # the record itself where nothing stays: the store's layout; owned by the pin

cdef class Pin:
    cdef readonly uint64_t next_seq, last_seq    # messages in between are still to be read
    cdef readonly uint64_t bytes                 # held for what left
    cdef readonly bint overflowed                # more left than may be held: what there is has gaps
    cdef Kept* _rows                             # a heap, lowest sequence first
    cdef size_t _count, _max
    cdef inline bint wants(self, uint64_t seq) noexcept:
        return self.next_seq <= seq <= self.last_seq and not self.overflowed
    # Keeps one that leaves, and takes over its copy of copy_bytes. It was wanted.
    cdef int keep(self, Kept row, size_t copy_bytes) except -1
    # The lowest that was kept; NULL when there is none. Valid until the next call.
    cdef const Kept* first(self) noexcept
    # Everything below `seq` has been read.
    cdef int pass_to(self, uint64_t seq) except -1
    cdef void _pop(self) noexcept
    cdef void _give_up(self) noexcept
