# Message ids seen within the duplicate window.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef struct Seen:
    uint64_t[2] id_hash
    uint64_t stream_seq              # 0 = taken over by a later one
    int64_t ts_ns

cdef class Dedupe:
    cdef public int64_t window_ns                    # 0 = remembers nothing
    cdef public bytes last_msg_id                    # of the last message that was stored; empty: it had none
    cdef uint64_t[2] _key
    cdef Seen* _ring                                 # power of two; oldest at _head
    cdef uint32_t* _table                            # place in the ring + 1; 0 = free; twice as large as the ring
    cdef uint32_t _capacity, _head, _count, _live
    cdef uint64_t find(self, bytes msg_id, int64_t now_ns) except? 0     # 0 = not seen
    cdef int add(self, bytes msg_id, uint64_t stream_seq, int64_t ts_ns) except -1
    cdef int expire(self, int64_t now_ns, uint32_t budget=*) except -1   # forgets, oldest first, at most `budget`
    cdef uint64_t memory_bytes(self) noexcept
    cdef Seen* _lookup(self, const uint64_t* id_hash) noexcept
    cdef int _resize(self, uint32_t capacity) except -1
    cdef void _enter(self, uint32_t place) noexcept
    cdef void _leave(self, uint32_t place) noexcept
