# Messages of the older form of a backup: nats-server's message blocks.
from libc.stdint cimport uint64_t
from millpond.store.backup.load cimport Loader
from millpond.store.backup.tar cimport TarReader

cdef class BlockLoader:
    cdef readonly uint64_t last_seq      # the highest that was spoken of, with a message or without
    cdef Loader _loader
    # Takes records of the tar archive's current file until `budget` bytes are spent; returns Loaded.
    cpdef int load(self, TarReader tar, uint64_t budget) except -1
    cdef int _take(self, const char* at, size_t length) except -1
