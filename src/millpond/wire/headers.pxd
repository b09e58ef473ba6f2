# Looking into a header block without turning it into objects (reference 01, CORE-27).
from libc.stdint cimport uint32_t, int64_t

# First value of `key` (exact case; spaces after the colon are skipped). Returns True and sets *value,
# *value_len (may be 0); False when the key is not there.
cdef bint find(const char* hdr, uint32_t hdr_len, const char* key, uint32_t key_len,
               const char** value, uint32_t* value_len) noexcept nogil
# Cheap test before any find: can this block hold a key that begins with "Nats-"?
cdef bint has_nats_key(const char* hdr, uint32_t hdr_len) noexcept nogil
# Cheap test before a block is read: can it ask for a message trace, by a key `Nats-Trace-Dest`, or, with `parents`, by
# `traceparent` in any case?
cdef bint asks_for_trace(const char* hdr, uint32_t hdr_len, bint parents) noexcept nogil
# Decimal, whole value, no sign; -1 when it is not a number or above int64.
cdef int64_t parse_decimal(const char* s, uint32_t n) noexcept nogil
