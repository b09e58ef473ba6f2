"""What marks the end of a subject: a message without payload, written when the last one expires (ADR-43).

nats-server knows the reasons MaxAge, Purge and Remove, but of these it writes only MaxAge, for the stream's
max_age and for Nats-TTL alike; the others come from clients. A marker ends on its own and is not marked again.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp

from millpond.wire.headers cimport find

from millpond.jetstream.go_json import duration_text

cdef const char* REASON = b"Nats-Marker-Reason"
cdef const char* OPERATION = b"KV-Operation"


cdef bint is_marker(const char* hdr, uint32_t hdr_len) noexcept:
    cdef const char* value = NULL
    cdef uint32_t size = 0
    if find(hdr, hdr_len, REASON, 18, &value, &size) and size:
        return True
    return find(hdr, hdr_len, OPERATION, 12, &value, &size) and size == 5 and memcmp(value, b"PURGE", 5) == 0


cdef bytes expired_block(int64_t ttl_ns):
    cdef int64_t whole_ns = ttl_ns // 1_000_000_000 * 1_000_000_000
    text = f"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: {duration_text(whole_ns)}\r\nNats-Rollup: sub\r\n\r\n"
    return text.encode()
