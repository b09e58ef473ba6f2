# Pure functions over subjects and filters (reference 01, CORE-20). None of them allocates.
from libc.stdint cimport uint32_t

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
