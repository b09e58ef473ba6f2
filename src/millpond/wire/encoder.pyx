"""MSG and HMSG frames (protocol: client protocol, MSG and HMSG; ADR-4 for headers)."""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy
from millpond.structures.buffers cimport ByteBuffer, put_decimal
from millpond.wire.message cimport Msg


cdef inline char* _word(char* at, const char* s, uint32_t n) noexcept nogil:
    memcpy(at, s, n)
    at[n] = b" "
    return at + n + 1


cdef int encode_msg(ByteBuffer out, const Msg* msg, const char* sid, uint32_t sid_len, bint headers) except -1:
    cdef uint32_t hdr_len = msg.hdr_len if headers else 0
    cdef size_t most = (5 + msg.subject_len + 1 + sid_len + 1 + msg.reply_len + 1 + 22 + 2
                        + hdr_len + <size_t>msg.body_len + 2)
    cdef char* start = out.reserve(most)
    cdef char* at = start
    if hdr_len:
        memcpy(at, b"HMSG ", 5)
        at += 5
    else:
        memcpy(at, b"MSG ", 4)
        at += 4
    at = _word(at, msg.subject, msg.subject_len)
    at = _word(at, sid, sid_len)
    if msg.reply_len:
        at = _word(at, msg.reply, msg.reply_len)
    if hdr_len:
        at += put_decimal(at, hdr_len)
        at[0] = b" "
        at += 1
    at += put_decimal(at, <unsigned long long>hdr_len + msg.body_len)
    memcpy(at, b"\r\n", 2)
    at += 2
    if hdr_len:
        memcpy(at, msg.hdr, hdr_len)
        at += hdr_len
    memcpy(at, msg.body, msg.body_len)
    at += msg.body_len
    memcpy(at, b"\r\n", 2)
    at += 2
    assert <size_t>(at - start) <= most
    out.commit(at - start)
    return 0
