# Answers that wait for a commit, in the order of the publishes.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum Kind:
    ACKNOWLEDGED = 0             # encoded when it is given
    READY = 1                    # a refusal, ready made behind the reply
    COPY = 2                     # a republished message: `reply` is its subject, headers and body stand behind it
    NOTHING = 3                  # a copy of what will not become durable

cdef struct Answer:
    uint64_t position            # given when the store has committed this much
    uint64_t stream_seq
    bint duplicate
    Kind kind
    char* reply                  # owned: reply, header block and body in one allocation
    uint32_t reply_len
    uint32_t hdr_len
    uint32_t body_len

cdef class AnswerRing:
    cdef Answer* _slots
    cdef size_t _head, _count, _capacity
    cdef bytes _prefix           # of an acknowledgement, up to the sequence
    cdef int push(self, uint64_t position, uint64_t stream_seq, bint duplicate, const char* reply,
                  uint32_t reply_len, bytes refusal) except -1
    cdef int push_copy(self, uint64_t position, bytes subject, bytes hdr, bytes body) except -1
    cdef Answer* first(self) noexcept                # NULL when empty
    cdef void pop(self) noexcept
    cdef size_t count(self) noexcept
    cdef uint32_t encode(self, const Answer* answer, char* out) noexcept     # into at least ENCODED_BYTES_MAX
    cdef int refuse_all(self, bytes refusal) except -1
    cdef Answer* _slot(self, uint64_t position, uint32_t size) except NULL

cdef enum:
    ENCODED_BYTES_MAX = 2048
