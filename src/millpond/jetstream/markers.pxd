# Subject delete markers (ADR-43): the message that says that a subject's last message is gone.
from libc.stdint cimport int64_t, uint32_t

# Is this header block a marker's? Then it needs none itself. A key's purge in a KV bucket counts as one.
cdef bint is_marker(const char* hdr, uint32_t hdr_len) noexcept
# The whole header block of the marker of a message that expired; it lives `ttl_ns`, cut to whole seconds.
cdef bytes expired_block(int64_t ttl_ns)
