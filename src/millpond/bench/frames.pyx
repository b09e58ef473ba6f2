"""Frames as a client sees them. It trusts the server: what it does not understand ends the measurement."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcpy

from millpond.structures.buffers cimport ByteBuffer, put_decimal

cdef enum:
    WORDS_MAX = 6


cdef uint64_t number_at(const char* s, uint32_t n) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint32_t i
    for i in range(n):
        if s[i] < b"0" or s[i] > b"9":
            break
        value = value * 10 + <uint64_t>(s[i] - 48)
    return value


cdef int status_of(const Delivered* msg) noexcept nogil:
    if msg.hdr_len < 12 or msg.hdr[8] != b" ":
        return 0
    return <int>number_at(msg.hdr + 9, 3)


cdef size_t parse_delivered(const char* p, size_t n, Delivered* out) noexcept nogil:
    cdef const char* end
    cdef size_t line
    out.kind = PARTIAL
    if n == 0:
        return 0
    end = <const char*>memchr(p, b"\n", n)
    if end == NULL:
        return 0
    line = <size_t>(end - p) + 1
    if end > p and (end - 1)[0] == b"\r":
        end -= 1
    if p[0] == b"M" or p[0] == b"H":
        return _message(p, end, line, n, out)
    if p[0] == b"P" and line >= 4:
        out.kind = SERVER_PING if p[1] == b"I" else SERVER_PONG
    elif p[0] == b"-":
        out.kind, out.body, out.body_len = SERVER_ERROR, p, <uint32_t>(end - p)
    elif p[0] == b"+" or p[0] == b"I":
        out.kind = OTHER
    else:
        out.kind = NONSENSE
        return 0
    return line


cdef size_t _message(const char* p, const char* end, size_t line, size_t n, Delivered* out) noexcept nogil:
    cdef const char* start[WORDS_MAX]
    cdef uint32_t length[WORDS_MAX]
    cdef int words = 0, sizes = 2 if p[0] == b"H" else 1
    cdef const char* at = p + 3 + sizes
    cdef const char* blank
    cdef uint64_t total, hdr = 0
    while at < end and words < WORDS_MAX:
        blank = <const char*>memchr(at, b" ", end - at)
        if blank == NULL:
            blank = end
        start[words], length[words] = at, <uint32_t>(blank - at)
        words += 1
        at = blank + 1
    if words < 2 + sizes or words > 3 + sizes:
        out.kind = NONSENSE
        return 0
    total = number_at(start[words - 1], length[words - 1])
    if sizes == 2:
        hdr = number_at(start[words - 2], length[words - 2])
    if n - line < total + 2:
        return 0
    if hdr > total:
        out.kind = NONSENSE
        return 0
    out.kind = MESSAGE
    out.subject, out.subject_len = start[0], length[0]
    out.sid = number_at(start[1], length[1])
    out.reply, out.reply_len = start[2], length[2] if words == 3 + sizes else 0
    out.hdr, out.hdr_len = p + line, <uint32_t>hdr
    out.body, out.body_len = p + line + hdr, <uint32_t>(total - hdr)
    return line + total + 2


cdef inline char* _word(char* at, const char* s, uint32_t n) noexcept nogil:
    memcpy(at, s, n)
    at[n] = b" "
    return at + n + 1


cdef int put_pub(ByteBuffer out, const char* subject, uint32_t subject_len, const char* reply, uint32_t reply_len,
                 const char* hdr, uint32_t hdr_len, const char* body, uint32_t body_len) except -1:
    cdef char* start = out.reserve(64 + <size_t>subject_len + reply_len + hdr_len + body_len)
    cdef char* at = start
    if hdr_len:
        memcpy(at, b"HPUB ", 5)
        at += 5
    else:
        memcpy(at, b"PUB ", 4)
        at += 4
    at = _word(at, subject, subject_len)
    if reply_len:
        at = _word(at, reply, reply_len)
    if hdr_len:
        at += put_decimal(at, hdr_len)
        at[0] = b" "
        at += 1
    at += put_decimal(at, <unsigned long long>hdr_len + body_len)
    memcpy(at, b"\r\n", 2)
    at += 2
    if hdr_len:
        memcpy(at, hdr, hdr_len)
        at += hdr_len
    if body_len:
        memcpy(at, body, body_len)
        at += body_len
    memcpy(at, b"\r\n", 2)
    out.commit(at + 2 - start)
    return 0


def parse_one(bytes data):
    """For tests: (kind, bytes taken, sid, subject, reply, header block, body) of the first frame in `data`."""
    cdef Delivered msg
    cdef size_t taken = parse_delivered(data, len(data), &msg)
    kind = ("partial", "message", "ping", "pong", "error", "other", "nonsense")[<int>msg.kind]
    if msg.kind == SERVER_ERROR:
        return kind, taken, 0, b"", b"", b"", msg.body[:msg.body_len]
    if msg.kind != MESSAGE:
        return kind, taken, 0, b"", b"", b"", b""
    return (kind, taken, msg.sid, msg.subject[:msg.subject_len], msg.reply[:msg.reply_len] if msg.reply_len else b"",
            msg.hdr[:msg.hdr_len], msg.body[:msg.body_len])
