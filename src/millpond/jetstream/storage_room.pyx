"""Room for messages in memory or on disk: a limit, and what is held of it.

Streams say what each append took and what each removal gave back, and what they hold when they come and go.
"""

from libc.stdint cimport int64_t


cdef class StorageRoom:
    """See storage_room.pxd."""

    def __init__(self, int64_t limit):
        self.limit = limit

    cdef bint has_no_room(self, int64_t size) noexcept:
        if not self._is_over(size):
            return False
        self.refused()
        return self._is_over(size)

    cdef bint _is_over(self, int64_t size) noexcept:
        return 0 <= self.limit < self.held + size

    def refused(self):
        """Something was too much."""
        if self.on_refused is not None:
            self.on_refused()

    def resize(self, int64_t limit):
        """What is held stays, even if it is more."""
        self.limit = limit

    cdef void took(self, int64_t size) noexcept:
        self.held += size
