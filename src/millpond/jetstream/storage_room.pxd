# What messages may take of one kind of storage, over all streams of a server (max_memory_store, max_file_store) or
# of an account.
from libc.stdint cimport int64_t

cdef class StorageRoom:
    cdef readonly int64_t limit          # bytes; below 0: no limit; 0 lets nothing in
    cdef readonly int64_t held           # bytes of all streams, as nats-server accounts them
    cdef public object on_refused        # callable() or None: may make the limit larger
    # Is there none for `size` more bytes (0: is more stored than may be)?
    cdef bint has_no_room(self, int64_t size) noexcept
    cdef bint _is_over(self, int64_t size) noexcept
    cdef void took(self, int64_t size) noexcept          # below 0: gave back
