# Ack subjects and small bodies, without Python objects; replies to acks that wait for a commit.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.router cimport Router
from millpond.wire.message cimport Msg

cdef struct AckNumbers:
    uint64_t deliveries
    uint64_t stream_seq
    uint64_t consumer_seq
    int64_t ts_ns
    uint64_t pending

# Decimal digits of `number`, then `after` unless it is 0; returns the end. At most 21 bytes.
cdef char* put_number(char* at, uint64_t number, char after) noexcept
# The five numbers between dots that end an ack subject (`more`: tokens may follow); False: not that.
cdef bint read_numbers(const char* at, int64_t left, bint more, AckNumbers* out) noexcept
# Is the body exactly this? Does it begin so?
cdef bint body_is(const Msg* msg, const char* text, uint32_t size) noexcept
cdef bint body_begins(const Msg* msg, const char* text, uint32_t size) noexcept

cdef class AckSubject:                       # "$JS.ACK.<stream>.<consumer>." and room for five numbers
    cdef char[640] text
    cdef uint32_t prefix_len
    # Writes the numbers behind the prefix; returns the length of the whole subject.
    cdef uint32_t encode(self, uint64_t deliveries, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns,
                         uint64_t pending) noexcept

cdef struct OwedReply:
    uint64_t store_position
    uint64_t journal_position
    char* reply                              # owned
    uint32_t reply_len
    uint32_t body_len
    const char* body                         # a constant of the program

cdef class OwedReplies:                      # fixed answers that are sent when something is committed, in order
    cdef OwedReply* _slots
    cdef size_t _head, _count, _capacity
    cdef int push(self, uint64_t store_position, uint64_t journal_position, const char* reply,
                  uint32_t reply_len, const char* body, uint32_t body_len) except -1
    # Sends what both positions cover.
    cdef int release(self, uint64_t store_position, uint64_t journal_position, Router router) except -1
    # Drops what they do not cover; who was to get a body is refused with the failure.
    cdef int give_up(self, uint64_t store_position, uint64_t journal_position, Router router, str failure) except -1
    cdef int _grow(self) except -1
