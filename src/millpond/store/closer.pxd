# Closes descriptors of removed files beside the loop: the last one that is closed gives the file's blocks back, which takes
# milliseconds for a large file, whereas its name goes at once.
from libc.stdint cimport uint64_t
from millpond.store.one_thread cimport OneThread

cdef class Closer(OneThread):
    cdef readonly uint64_t given, closed     # files so far; they are closed in their order
    cdef object _waiting                     # deque of (how many must be closed, callable)
    cpdef int close_file(self, int fd) except -1     # the caller has it no longer
    # So many wait that no more should come for now.
    cpdef bint is_full(self) noexcept
    # `done()` when all that were given until now are closed, perhaps at once.
    cpdef int when_closed(self, object done) except -1
    cpdef int collect(self) except -1                # called when the wake-up descriptor is readable
    # Blocks until all are closed; who waits is told by the next collect(). False: none were left.
    cpdef bint finish(self) except *
    cdef int _take(self) except -1
    cpdef int stop(self) except -1
