# What messages may take of one kind of storage, over all streams of a server (max_memory_store, max_file_store).
from libc.stdint cimport int64_t

cdef class StorageRoom:
    cdef readonly int64_t limit          # bytes; 0 or less: no limit
    cdef object _used
    cdef int64_t _left                   # as far as counted: what was freed since is not in it
    cdef int64_t _counted_ns
    # More is stored than may be. `now_ns` is the time of the turn: what was freed is found once a turn.
    cdef bint is_full(self, int64_t now_ns) except *
    cdef void took(self, int64_t size) noexcept
