# Pure functions over subjects and filters (reference 01, CORE-20). None of them allocates.
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

# Tokens non-empty, no space/TAB/LF/FF/CR; '>' only last; wildcards allowed.
cdef bint is_valid_filter(const char* s, uint32_t n) noexcept nogil
# Valid and without wildcards.
cdef bint is_valid_subject(const char* s, uint32_t n) noexcept nogil
# What a client may subscribe to: like a valid filter, but white space is allowed inside.
cdef bint is_subscribable(const char* s, uint32_t n) noexcept nogil
# What a pedantic client may publish to: tokens non-empty, none of them a lone '*' or '>'.
cdef bint is_publishable(const char* s, uint32_t n) noexcept nogil
# Has a '*' token or a final '>' token ("foo*" is a literal).
cdef bint has_wildcard(const char* s, uint32_t n) noexcept nogil
# Does the literal subject fall under the filter?
cdef bint matches(const char* subject, uint32_t subject_len, const char* filter, uint32_t filter_len) noexcept nogil
# Is everything that `inner` matches also matched by `outer`? Both may have wildcards.
cdef bint is_subset(const char* inner, uint32_t inner_len, const char* outer, uint32_t outer_len) noexcept nogil
# Is there a subject that both match? Both may have wildcards.
cdef bint overlap(const char* a, uint32_t a_len, const char* b, uint32_t b_len) noexcept nogil
cdef uint32_t token_count(const char* s, uint32_t n) noexcept nogil
# Finds token number `index` (from 0); returns its length and sets *start, or 0 when there is none.
cdef uint32_t token_at(const char* s, uint32_t n, uint32_t index, const char** start) noexcept nogil

cdef inline bint _two_dots_meet(const char* s) noexcept nogil:
    """In s[0..9): a byte of (a ^ dots) | (b ^ dots) is 0 where there are."""
    cdef uint64_t a, b, dots = <uint64_t>0x2E2E2E2E2E2E2E2E, ones = <uint64_t>0x0101010101010101
    memcpy(&a, s, 8)
    memcpy(&b, s + 1, 8)
    a = (a ^ dots) | (b ^ dots)
    return ((a - ones) & ~a & (ones << 7)) != 0

# Is there a '.' at the beginning, at the end or right behind another one? Also true of nothing at all.
cdef inline bint has_empty_token(const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i = 0
    if n == 0 or s[0] == b"." or s[n - 1] == b".":
        return True
    if n < 9:
        for i in range(n - 1):
            if s[i] == b"." and s[i + 1] == b".":
                return True
        return False
    while i + 9 < n:
        if _two_dots_meet(s + i):
            return True
        i += 8
    return _two_dots_meet(s + n - 9)
