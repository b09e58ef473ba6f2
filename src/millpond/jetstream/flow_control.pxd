# Flow control of a push consumer: how many bytes may be under way to the client.
from libc.stdint cimport int64_t, uint64_t

cdef class Window:
    cdef int64_t size_bytes, size_max_bytes, used_bytes, asked_bytes
    cdef bytes reply                         # where the client answers; None: not asked
    cdef str _prefix
    cdef bint closed(self) noexcept
    # Counts a delivery. True: the client is to be asked now: past half of the window, or `at_limit`.
    cdef bint count(self, int64_t size, bint at_limit) noexcept
    cdef bint open_request(self) except *    # makes `reply`; False: one is open
    cdef bint answered(self, bytes subject) noexcept         # False: not what was asked last
