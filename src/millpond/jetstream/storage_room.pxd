# What messages may take of one kind of storage, over all streams of a server (max_memory_store, max_file_store) or
# of an account.
from libc.stdint cimport int64_t

cdef class StorageRoom:
    cdef readonly int64_t limit          # bytes; below 0: no limit; 0 lets nothing in
    cdef readonly int64_t message_bytes  # what a message takes besides its subject, headers and body
    cdef object _used
    cdef int64_t _left                   # as far as counted: what was freed since is not in it
    cdef int64_t _counted_ns
    # Is there none for `size` more bytes (0: is more stored than may be)? `now_ns` is the time of the turn: what was
    # freed is found once a turn.
    cdef bint has_no_room(self, int64_t now_ns, int64_t size) except *
    cdef void took(self, int64_t size) noexcept
