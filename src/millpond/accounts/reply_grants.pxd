# The reply subjects that a connection received and may answer (`allow_responses`).
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef struct Grant:
    uint64_t key                 # of the subject; 0 = free
    int64_t granted_ns
    int64_t used                 # times

cdef class ReplyGrants:
    cdef Grant* _grants          # GRANT_WAYS of them for each key's set
    cdef uint32_t _sets
    cdef int64_t _uses_max, _expire_ns       # below 0 = no bound
    cdef int grant(self, const char* subject, uint32_t subject_len, int64_t now_ns) except -1
    # Counts one use; False: it was never granted, is used up or too old.
    cdef bint use(self, const char* subject, uint32_t subject_len, int64_t now_ns) except -1
    cdef Grant* _find(self, uint64_t key) noexcept
    cdef bint _is_over(self, Grant* grant, int64_t now_ns) noexcept
    cdef int _grow(self) except -1
