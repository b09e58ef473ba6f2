# What a server sends, one frame at a time over views, and what a client writes.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.structures.buffers cimport ByteBuffer

cdef enum Kind:
    PARTIAL          # more bytes are needed
    MESSAGE          # MSG or HMSG, payload included
    SERVER_PING
    SERVER_PONG
    SERVER_ERROR     # -ERR: body is the text
    OTHER            # INFO, +OK
    NONSENSE

cdef struct Delivered:
    Kind kind
    uint64_t sid
    const char* subject
    uint32_t subject_len
    const char* reply            # reply_len 0 = none
    uint32_t reply_len
    const char* hdr
    uint32_t hdr_len
    const char* body
    uint32_t body_len

# The frame at p; returns the bytes it took, 0 with PARTIAL and NONSENSE.
cdef size_t parse_delivered(const char* p, size_t n, Delivered* out) noexcept nogil
# PUB, or HPUB when there is a header block.
cdef int put_pub(ByteBuffer out, const char* subject, uint32_t subject_len, const char* reply, uint32_t reply_len,
                 const char* hdr, uint32_t hdr_len, const char* body, uint32_t body_len) except -1
# The decimal number that s begins with.
cdef uint64_t number_at(const char* s, uint32_t n) noexcept nogil
# The status of a header block ("NATS/1.0 404 ..."); 0 = none.
cdef int status_of(const Delivered* msg) noexcept nogil
