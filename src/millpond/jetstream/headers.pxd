# Single headers of a message, for judges.
from millpond.wire.message cimport Msg

cdef bytes header(const Msg* msg, bytes key)         # b"" = absent or empty
cdef bint has_header(const Msg* msg, bytes key) noexcept     # there, even if empty
cdef bytes with_value(bytes block, bytes key, bytes value)       # the block with one value changed or added
cdef bytes without_status(bytes block)                           # its first line is the version only
