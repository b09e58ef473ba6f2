"""Room for messages in memory or on disk.

Appends count down what is left, which costs a subtraction each. What removals give back is not reported: only
when nothing seems left are all streams asked, at most once a turn.
"""

from libc.stdint cimport int64_t


cdef class StorageRoom:
    """`used()` gives the bytes that all streams of this storage hold, as nats-server accounts them."""

    def __init__(self, int64_t limit, used, int64_t message_bytes=0):
        self.limit, self._used, self.message_bytes = limit, used, message_bytes
        self._left, self._counted_ns = -1, -1       # counted first

    cdef bint has_no_room(self, int64_t now_ns, int64_t size) except *:
        if self.limit < 0 or self._left >= size:
            return False
        if self._counted_ns != now_ns:
            self._left, self._counted_ns = self.limit - <int64_t>self._used(), now_ns
        return self._left < size

    def resize(self, int64_t limit):
        self.limit, self._left, self._counted_ns = limit, -1, -1

    cdef void took(self, int64_t size) noexcept:
        self._left -= size
