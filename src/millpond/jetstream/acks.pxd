# Ack subjects and small bodies, without Python objects.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.wire.message cimport Msg

# Decimal digits of `number`, then `after` unless it is 0; returns the end. At most 21 bytes.
cdef char* put_number(char* at, uint64_t number, char after) noexcept
# deliveries, stream_seq, consumer_seq: the first three of exactly five numbers between dots; False: not that.
cdef bint read_numbers(const char* at, int64_t left, uint64_t* out) noexcept
# Is the body exactly this?
cdef bint body_is(const Msg* msg, const char* text, uint32_t size) noexcept
