# Answers that wait for a commit, in the order of the publishes.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.structures.buffers cimport ByteBuffer

cdef enum Kind:
    ACKNOWLEDGED = 0             # encoded when it is given; `body` is what it says behind the sequence
    READY = 1                    # a refusal, ready made behind the reply
    COPY = 2                     # a republished message: `reply` is its subject, headers and body stand behind it
    NOTHING = 3                  # a copy of what will not become durable
    FAILED = 4                   # what was owed when the stream failed: its one verdict

cdef struct Answer:
    uint64_t position            # given when the store has committed this much
    uint64_t stream_seq
    bint duplicate
    Kind kind
    uint32_t reply_len           # its texts: reply, header block, body
    uint32_t hdr_len
    uint32_t body_len

cdef class AnswerRing:
    cdef Answer* _slots
    cdef size_t _head, _count, _capacity     # capacity is a power of two, or 0
    cdef ByteBuffer _texts       # of all answers, the first one's at the head
    cdef bytes _prefix           # of an acknowledgement, up to the sequence
    cdef bytes _verdict
    cdef int push(self, uint64_t position, uint64_t stream_seq, bint duplicate, const char* reply,
                  uint32_t reply_len, bytes refusal, bytes tail=*) except -1
    cdef int push_copy(self, uint64_t position, bytes subject, bytes hdr, bytes body) except -1
    cdef Answer* first(self) noexcept                # NULL when empty
    cdef const char* texts(self) noexcept            # of the first one, until the next push or pop
    cdef void pop(self) noexcept
    cdef size_t count(self) noexcept
    cdef uint32_t encode(self, const Answer* answer, char* out) noexcept     # into at least ENCODED_BYTES_MAX
    cdef bytes body(self)                            # of the first one, which is not to be encoded
    cdef int refuse_all(self, bytes refusal) except -1
    cdef Answer* _slot(self, uint64_t position) except NULL
    cdef void _give_back(self) noexcept

cdef enum:
    ENCODED_BYTES_MAX = 2048
