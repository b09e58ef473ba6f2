# The memory store: an index, and blocks of memory that hold headers and payloads.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.indexed_store cimport IndexedStore

cdef struct Block:
    char* data                       # NULL: this number is free
    uint32_t used
    uint32_t size
    uint32_t live                    # bytes of records that are still wanted

cdef class MemoryStore(IndexedStore):
    cdef Block* _blocks              # by run_id
    cdef uint32_t _blocks_count, _blocks_max
    cdef uint32_t _newest            # NO_BLOCK: none yet
    cdef list _free                  # numbers of freed blocks
    cdef set _sparse                 # numbers of blocks that are more than half dead
    cdef uint64_t _block_bytes       # of all blocks
    cdef uint64_t _live_bytes
    cdef uint64_t _told_position     # of the last commit()
    cdef char* _take(self, uint32_t n, uint32_t* block, uint32_t* offset) except NULL
    cdef int _open_block(self, uint32_t n) except -1
    cdef int _free_block(self, uint32_t block) except -1
    cdef int _released(self, uint32_t block, uint32_t n) except -1
    cdef int _compact_one(self) except -1
    cdef int _moved_on(self, uint64_t bytes) except -1
