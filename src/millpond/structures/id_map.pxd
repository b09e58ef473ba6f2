# A small map of 32-bit ids to 32-bit values: open addressing, no Python object inside.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    NONE = 0xFFFFFFFF            # not there; neither a key nor a value may be NONE

cdef class IdMap:
    cdef readonly uint32_t count
    cdef uint32_t* _slots            # pairs (key, value); key NONE = empty
    cdef uint32_t _slots_max         # power of two
    cdef uint32_t get(self, uint32_t key) noexcept               # NONE: not there
    cdef int put(self, uint32_t key, uint32_t value) except -1   # new or changed
    cdef bint pop(self, uint32_t key) noexcept                   # False: was not there
    cdef uint64_t memory_bytes(self) noexcept
    cdef int _resize(self, uint32_t slots_max) except -1
