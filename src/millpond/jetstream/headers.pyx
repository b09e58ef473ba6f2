"""Looking up headers of a message that is being judged."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t

from millpond.wire.headers cimport find
from millpond.wire.message cimport Msg

from millpond.wire.headers import with_last


cdef bytes header(const Msg* msg, bytes key):
    """The value of the first header with this key; b"" when it is absent or empty."""
    cdef const char* value = NULL
    cdef uint32_t size = 0
    if not find(msg.hdr, msg.hdr_len, <const char*>key, <uint32_t>len(key), &value, &size):
        return b""
    return PyBytes_FromStringAndSize(value, size)


cdef bint has_header(const Msg* msg, bytes key) noexcept:
    """Is there a header with this key, even an empty one?"""
    cdef const char* value = NULL
    cdef uint32_t size = 0
    return find(msg.hdr, msg.hdr_len, <const char*>key, <uint32_t>len(key), &value, &size)


cdef bytes with_value(bytes block, bytes key, bytes value):
    """The block with this value for the key: in its place, or as a new header at the end."""
    cdef bytes mark = b"\r\n" + key + b":"
    at = block.find(mark)
    if at < 0:
        return with_last(block, key, value)
    start = at + len(mark)
    start += block[start:start + 1] == b" "
    return block[:start] + value + block[block.index(b"\r\n", start):]


cdef bytes without_status(bytes block):
    """A status line, "NATS/1.0 503 ...", is not stored: it would look like an answer of the server."""
    end = block.find(b"\r")
    if not block.startswith(b"NATS/1.0") or end <= 8:
        return block
    kept = b"NATS/1.0" + block[end:]
    return b"" if kept == b"NATS/1.0\r\n\r\n" else kept
