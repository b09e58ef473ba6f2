"""A queue of stream sequences in one C array; it starts over whenever it is empty."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc


cdef class RedeliveryQueue:
    """First in, first out."""

    def __dealloc__(self):
        free(self._seqs)

    cdef int push(self, uint64_t stream_seq) except -1:
        cdef size_t capacity = self._capacity * 2 if self._capacity else 16
        cdef uint64_t* grown
        if self._count == self._capacity:
            grown = <uint64_t*>realloc(self._seqs, capacity * sizeof(uint64_t))
            if grown == NULL:
                raise MemoryError()
            self._seqs, self._capacity = grown, capacity
        self._seqs[self._count] = stream_seq
        self._count += 1
        return 0

    cdef uint64_t peek(self) noexcept:
        return self._seqs[self._head] if self._head < self._count else 0

    cdef void pop(self) noexcept:
        self._head += 1
        if self._head >= self._count:
            self._head = self._count = 0

    cdef size_t size(self) noexcept:
        return self._count - self._head
