# What is to be delivered again, in order. Membership is kept by the owner (Pending.ts_ns).
from libc.stdint cimport uint64_t

cdef class RedeliveryQueue:
    cdef uint64_t* _seqs                     # [_head, _count) of _capacity
    cdef size_t _head, _count, _capacity
    cdef int push(self, uint64_t stream_seq) except -1
    cdef uint64_t peek(self) noexcept        # 0 = empty
    cdef void pop(self) noexcept             # not empty
    cdef size_t size(self) noexcept
