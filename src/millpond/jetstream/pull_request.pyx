"""Pull requests, read: empty, a number, or JSON; anything else asks for one message (reference 4.3).

The JSON that clients write (a flat object of known keys, integers, true and false, plain strings) is read here
without a Python object but the strings. What does not look like that goes to `pull_text`, which also has the
words for what is wrong.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp

from millpond.jetstream.pull_text import BadRequest, decode_pull, parse_count

cdef enum:
    DIGITS_MAX = 18
    AFTER_ALL = 0x7FFFFFFF               # the priority of what has none

cdef struct Scan:
    const char* at
    const char* end


cdef inline bint _blank(char c) noexcept:
    return c == c" " or c == c"\n" or c == c"\r" or c == c"\t"


cdef inline char _next(Scan* scan) noexcept:
    """The next character that is not blank, not passed; 0 at the end."""
    while scan.at < scan.end and _blank(scan.at[0]):
        scan.at += 1
    return scan.at[0] if scan.at < scan.end else 0


cdef bint _text(Scan* scan, const char** text, uint32_t* size) noexcept:
    """A string without escapes; False: it is none."""
    if _next(scan) != c'"':
        return False
    scan.at += 1
    text[0] = scan.at
    while scan.at < scan.end and scan.at[0] != c'"':
        if scan.at[0] == c"\\" or scan.at[0] < c" ":       # also what is not ASCII
            return False
        scan.at += 1
    if scan.at == scan.end:
        return False
    size[0] = <uint32_t>(scan.at - text[0])
    scan.at += 1
    return True


cdef bint _number(Scan* scan, int64_t* number) noexcept:
    cdef bint negative = _next(scan) == c"-"
    cdef int digits = 0
    cdef int64_t value = 0
    scan.at += negative
    while scan.at < scan.end and c"0" <= scan.at[0] <= c"9" and digits <= DIGITS_MAX:
        value = value * 10 + (scan.at[0] - c"0")
        digits += 1
        scan.at += 1
    number[0] = -value if negative else value
    return 0 < digits <= DIGITS_MAX and (digits == 1 or value >= 10)


cdef bint _flag(Scan* scan, bint* value) noexcept:
    value[0] = _next(scan) == c"t"
    cdef uint32_t size = 4 if value[0] else 5
    if scan.end - scan.at < size or memcmp(scan.at, b"true" if value[0] else b"false", size) != 0:
        return False
    scan.at += size
    return True


cdef inline bint _is(const char* key, uint32_t size, const char* name, uint32_t name_size) noexcept:
    return size == name_size and memcmp(key, name, size) == 0


cdef int64_t* _place(Waiting out, const char* key, uint32_t size) noexcept:
    """Where the number of this key belongs; NULL: nowhere."""
    if _is(key, size, b"batch", 5):
        return &out.batch_left
    if _is(key, size, b"expires", 7):
        return &out.expires_ns
    if _is(key, size, b"max_bytes", 9):
        return &out.bytes_left
    if _is(key, size, b"idle_heartbeat", 14):
        return &out.heartbeat_ns
    if _is(key, size, b"min_pending", 11):
        return &out.min_pending
    if _is(key, size, b"min_ack_pending", 15):
        return &out.min_ack_pending
    return &out.priority if _is(key, size, b"priority", 8) else NULL


cdef bint _member(Scan* scan, Waiting out) except *:
    """One key with its value; False: unusual."""
    cdef const char* key
    cdef const char* text
    cdef uint32_t size, text_size
    cdef int64_t* number
    if not _text(scan, &key, &size) or _next(scan) != c":":
        return False
    scan.at += 1
    number = _place(out, key, size)
    if number != NULL:
        return _number(scan, number)
    if _is(key, size, b"no_wait", 7):
        return _flag(scan, &out.no_wait)
    if _is(key, size, b"group", 5) and _text(scan, &text, &text_size):
        out.group = text[:text_size].decode("ascii")
        return True
    if _is(key, size, b"id", 2) and _text(scan, &text, &text_size):
        out.pin_id = text[:text_size].decode("ascii")
        return True
    return False


cdef bint _object(Scan* scan, Waiting out) except *:
    """The whole request; False: something in it is unusual, `out` is half filled."""
    cdef char c
    scan.at += 1
    if _next(scan) == c"}":
        scan.at += 1
        return _next(scan) == 0 and scan.at == scan.end
    while _member(scan, out):
        c = _next(scan)
        scan.at += 1
        if c == c"}":
            return _next(scan) == 0 and scan.at == scan.end
        if c != c",":
            return False
    return False


cdef Waiting _new():
    cdef Waiting out = Waiting()
    out.group = out.pin_id = ""
    return out


cdef Waiting _slowly(bytes text):
    cdef dict asked = decode_pull(text)
    cdef Waiting out = _new()
    out.batch_left, out.bytes_left = asked.get("batch", 0), asked.get("max_bytes", 0)
    out.expires_ns, out.heartbeat_ns = asked.get("expires", 0), asked.get("idle_heartbeat", 0)
    out.no_wait, out.priority = asked.get("no_wait", False), asked.get("priority", 0)
    out.group, out.pin_id = asked.get("group", ""), asked.get("id", "")
    out.min_pending, out.min_ack_pending = asked.get("min_pending", 0), asked.get("min_ack_pending", 0)
    return out


cdef class Waiting:
    """One pull request in the queue."""


cdef Waiting read_request(const char* body, uint32_t body_len):
    cdef Scan scan = Scan(body, body + body_len)
    cdef Waiting out = _new()
    if _next(&scan) != c"{":
        out.batch_left = parse_count(PyBytes_FromStringAndSize(body, body_len))
        out.priority = AFTER_ALL
        return out
    if not _object(&scan, out):
        out = _slowly(PyBytes_FromStringAndSize(body, body_len))
    out.structured = True
    if out.heartbeat_ns > 0 and out.heartbeat_ns > out.expires_ns // 2:
        raise BadRequest("heartbeat value too large")
    return out


def parse_pull(bytes body):
    """What `body` asks for, as a dict: the same reading, for tests. Raises BadRequest."""
    cdef Waiting out = read_request(<const char*>body, <uint32_t>len(body))
    return {
        "batch": out.batch_left, "expires": out.expires_ns, "max_bytes": out.bytes_left, "no_wait": bool(out.no_wait),
        "idle_heartbeat": out.heartbeat_ns, "group": out.group, "min_pending": out.min_pending,
        "min_ack_pending": out.min_ack_pending, "id": out.pin_id, "priority": out.priority,
        "json": bool(out.structured),
    }
