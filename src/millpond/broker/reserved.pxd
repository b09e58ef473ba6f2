# Subjects that only servers may use (reference 01, CORE-25).
from libc.stdint cimport uint32_t
from libc.string cimport memcmp

cdef inline bint is_reserved_subject(const char* s, uint32_t n) noexcept nogil:
    return ((n > 5 and memcmp(s, b"_GR_.", 5) == 0) or (n > 4 and memcmp(s, b"$GR.", 4) == 0)
            or (n >= 5 and memcmp(s, b"$NRG.", 5) == 0))

cdef inline bint is_reserved_reply(const char* s, uint32_t n) noexcept nogil:
    return ((n >= 4 and memcmp(s, b"_R_.", 4) == 0) or (n > 5 and memcmp(s, b"_GR_.", 5) == 0)
            or (n > 4 and memcmp(s, b"$GR.", 4) == 0) or (n > 8 and memcmp(s, b"$JS.ACK.", 8) == 0))
