"""Subjects and filters, token by token (reference 01, CORE-20; ADR-6 for the names)."""

from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp


cdef bint is_subscribable(const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i, start = 0
    if n == 0:
        return False
    for i in range(n + 1):
        if i < n and s[i] != b".":
            continue
        if i == start:
            return False
        if i - start == 1 and s[start] == b">" and i != n:
            return False
        start = i + 1
    return True


cdef bint is_valid_filter(const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if s[i] == b" " or s[i] == b"\t" or s[i] == b"\n" or s[i] == b"\r" or s[i] == 12:
            return False
    return is_subscribable(s, n)


cdef bint is_publishable(const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i, start = 0
    for i in range(n + 1):
        if i < n and s[i] != b".":
            continue
        if i == start or (i - start == 1 and (s[start] == b"*" or s[start] == b">")):
            return False
        start = i + 1
    return True


cdef bint has_wildcard(const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if (s[i] == b"*" or s[i] == b">") and (i == 0 or s[i - 1] == b"."):
            if i + 1 == n or (s[i] == b"*" and s[i + 1] == b"."):
                return True
    return False


cdef bint is_valid_subject(const char* s, uint32_t n) noexcept nogil:
    return is_valid_filter(s, n) and not has_wildcard(s, n)


cdef inline uint32_t _token_end(const char* s, uint32_t n, uint32_t start) noexcept nogil:
    cdef const char* dot
    if start >= n:
        return n
    dot = <const char*>memchr(s + start, b".", n - start)
    return n if dot == NULL else <uint32_t>(dot - s)


cdef bint matches(const char* subject, uint32_t subject_len, const char* filter, uint32_t filter_len) noexcept nogil:
    cdef uint32_t i = 0, j = 0, i_end, j_end
    while True:
        if j > filter_len or i > subject_len:
            return False
        j_end = _token_end(filter, filter_len, j)
        if j_end - j == 1 and filter[j] == b">" and j_end == filter_len:
            return i < subject_len
        i_end = _token_end(subject, subject_len, i)
        if not (j_end - j == 1 and filter[j] == b"*" and i_end > i):
            if i_end - i != j_end - j or memcmp(subject + i, filter + j, i_end - i) != 0:
                return False
        if i_end == subject_len or j_end == filter_len:
            return i_end == subject_len and j_end == filter_len
        i, j = i_end + 1, j_end + 1


cdef bint is_subset(const char* inner, uint32_t inner_len, const char* outer, uint32_t outer_len) noexcept nogil:
    cdef uint32_t i = 0, j = 0, i_end, j_end
    cdef bint i_full, j_star
    while True:
        i_end = _token_end(inner, inner_len, i)
        j_end = _token_end(outer, outer_len, j)
        if j_end - j == 1 and outer[j] == b">" and j_end == outer_len:
            return i < inner_len
        i_full = i_end - i == 1 and inner[i] == b">" and i_end == inner_len
        j_star = j_end - j == 1 and outer[j] == b"*"
        if i_full:
            return False
        if not j_star:
            if i_end - i == 1 and inner[i] == b"*":
                return False
            if i_end - i != j_end - j or memcmp(inner + i, outer + j, i_end - i) != 0:
                return False
        if i_end == inner_len or j_end == outer_len:
            return i_end == inner_len and j_end == outer_len
        i, j = i_end + 1, j_end + 1


cdef bint overlap(const char* a, uint32_t a_len, const char* b, uint32_t b_len) noexcept nogil:
    cdef uint32_t i = 0, j = 0, i_end, j_end
    cdef bint wild
    while True:
        i_end = _token_end(a, a_len, i)
        j_end = _token_end(b, b_len, j)
        if i_end - i == 1 and a[i] == b">" and i_end == a_len:
            return True
        if j_end - j == 1 and b[j] == b">" and j_end == b_len:
            return True
        wild = (i_end - i == 1 and a[i] == b"*") or (j_end - j == 1 and b[j] == b"*")
        if not wild and (i_end - i != j_end - j or memcmp(a + i, b + j, i_end - i) != 0):
            return False
        if i_end == a_len or j_end == b_len:
            return i_end == a_len and j_end == b_len
        i, j = i_end + 1, j_end + 1


cdef uint32_t token_count(const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t i, count = 1
    if n == 0:
        return 0
    for i in range(n):
        if s[i] == b".":
            count += 1
    return count


cdef uint32_t token_at(const char* s, uint32_t n, uint32_t index, const char** start) noexcept nogil:
    cdef uint32_t begin = 0, end, number
    for number in range(index + 1):
        if begin > n or n == 0:
            return 0
        end = _token_end(s, n, begin)
        if number == index:
            start[0] = s + begin
            return end - begin
        begin = end + 1
    return 0
