"""Finding a key in a header block (reference 01, CORE-27): first occurrence, exact case."""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr, memcmp


cdef inline const char* _line_end(const char* at, const char* end) noexcept nogil:
    """The CR of the next CRLF at or after `at`, or NULL. A lone CR or LF ends no line."""
    while at < end:
        at = <const char*>memchr(at, b"\r", end - at)
        if at == NULL or at + 1 >= end:
            return NULL
        if at[1] == b"\n":
            return at
        at += 1
    return NULL


cdef bint find(const char* hdr, uint32_t hdr_len, const char* key, uint32_t key_len,
               const char** value, uint32_t* value_len) noexcept nogil:
    cdef const char* end = hdr + hdr_len
    cdef const char* at = _line_end(hdr, end)          # the version line holds no keys
    cdef const char* stop
    while at != NULL:
        at += 2
        if <size_t>(end - at) <= key_len:
            return False
        if at[key_len] == b":" and memcmp(at, key, key_len) == 0:
            at += key_len + 1
            while at < end and at[0] == b" ":
                at += 1
            stop = _line_end(at, end)
            value[0] = at
            value_len[0] = <uint32_t>((stop if stop != NULL else end) - at)
            return True
        at = _line_end(at, end)
    return False


cdef bint has_nats_key(const char* hdr, uint32_t hdr_len) noexcept nogil:
    cdef const char* at = hdr
    cdef const char* end = hdr + hdr_len
    if hdr_len < 8:
        return False
    while True:
        at = <const char*>memchr(at, b"\n", end - at)
        if at == NULL or end - at < 6:
            return False
        at += 1
        if memcmp(at, b"Nats-", 5) == 0:
            return True


cdef enum:
    VERSION_LINE = 10            # "NATS/1.0" and its end
    ASKS_BYTES_MIN = 18          # "Nats-Trace-Dest:" or "traceparent:", a value and the line's end


cdef inline bint _is_traceparent(const char* at) noexcept nogil:
    cdef int i
    cdef const char* name = b"traceparent"
    for i in range(11):
        if (at[i] | 32) != name[i]:
            return False
    return at[11] == b":"


cdef bint _has_traceparent(const char* hdr, uint32_t hdr_len) noexcept nogil:
    cdef const char* at = hdr + VERSION_LINE
    cdef const char* end = hdr + hdr_len - ASKS_BYTES_MIN        # a line that begins behind it is too short
    while at <= end:
        if _is_traceparent(at):
            return True
        at = <const char*>memchr(at, b"\n", end - at + 1)
        if at == NULL:
            return False
        at += 1
    return False


cdef bint asks_for_trace(const char* hdr, uint32_t hdr_len, bint parents) noexcept nogil:
    cdef const char* at = hdr + VERSION_LINE + 5
    cdef const char* end
    if hdr_len < VERSION_LINE + ASKS_BYTES_MIN:
        return False
    end = hdr + hdr_len - (ASKS_BYTES_MIN - 6)       # behind the last place of the T of the name
    while at < end:
        at = <const char*>memchr(at, b"T", end - at)             # the rarest letter in the name
        if at == NULL:
            break
        if at[-1] == b"-" and memcmp(at - 6, b"\nNats-Trace-Dest:", 17) == 0:
            return True
        at += 1
    return parents and _has_traceparent(hdr, hdr_len)


cdef int64_t parse_decimal(const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i
    cdef int64_t value = 0
    if n == 0 or n > 19:
        return -1
    for i in range(n):
        if s[i] < b"0" or s[i] > b"9":
            return -1
        if value > (<int64_t>0x7FFFFFFFFFFFFFFF - (s[i] - 48)) // 10:
            return -1
        value = value * 10 + (s[i] - 48)
    return value


def without(bytes block, bytes key):
    """The block less every header with this key; b"" when none is left."""
    if key not in block:
        return block
    version, *lines = block.split(b"\r\n")
    kept = b"\r\n".join([version, *(line for line in lines if not line.startswith(key + b":"))])
    return kept if len(kept) > len(b"NATS/1.0\r\n\r\n") else b""


def without_prefix(bytes block, bytes prefix):
    """The block less every header whose key begins so; b"" when none is left."""
    if prefix not in block:
        return block
    version, *lines = block.split(b"\r\n")
    kept = b"\r\n".join([version, *(line for line in lines if not line.startswith(prefix))])
    return kept if len(kept) > len(b"NATS/1.0\r\n\r\n") else b""


def with_last(bytes block, bytes key, bytes value):
    """The block with one more header at its end; b"" is a block without headers."""
    cdef bytes head = block[: len(block) - 2] if block else b"NATS/1.0\r\n"
    return head + key + b": " + value + b"\r\n\r\n"


def find_value(bytes block, bytes key):
    """The first value of `key` in a header block, or None."""
    cdef const char* value = NULL
    cdef uint32_t value_len = 0
    if find(block, <uint32_t>len(block), key, <uint32_t>len(key), &value, &value_len):
        return value[:value_len]
    return None


def py_asks_for_trace(bytes block, bint parents):
    """asks_for_trace() for tests."""
    return bool(asks_for_trace(block, <uint32_t>len(block), parents))
