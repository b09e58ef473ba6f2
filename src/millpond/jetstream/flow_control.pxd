# Flow control of a push consumer: how many bytes may be under way to the client.
from libc.stdint cimport int64_t, uint64_t

cdef class Window:
    cdef int64_t size_bytes, size_max_bytes, used_bytes, asked_bytes
    cdef bytes reply                         # where the client answers; None: not asked
    cdef str _prefix
    cdef uint64_t _asked
    cdef bint closed(self) noexcept
    # Counts a delivery. True: past half of the window, and `reply` is to be sent to the client.
    cdef bint count(self, int64_t size) except -1
    cdef bint answered(self, bytes subject) noexcept         # False: not what was asked last
