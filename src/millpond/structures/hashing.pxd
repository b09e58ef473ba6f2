# Short texts (subjects, tokens) as keys of tables in memory: hash and equality, eight bytes at a time, without
# a call. The hash is never stored outside this process. With a random key, those who choose the texts cannot
# make them collide.
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    HASH_WORD = 8

cdef inline uint64_t hash_step(uint64_t h, uint64_t word) noexcept nogil:
    h = (h ^ word) * <uint64_t>0xFF51AFD7ED558CCD
    return h ^ (h >> 32)

cdef inline uint32_t hash_text(const char* s, uint32_t n, uint64_t key) noexcept nogil:
    cdef uint64_t h = key ^ (n * <uint64_t>0x9E3779B97F4A7C15), word
    cdef uint32_t low, high, i = 0
    if n > HASH_WORD:
        while i + HASH_WORD < n:                   # whole words before the last one
            memcpy(&word, s + i, HASH_WORD)
            h = hash_step(h, word)
            i += HASH_WORD
        memcpy(&word, s + n - HASH_WORD, HASH_WORD)
    elif n >= 4:                                   # two halves that may overlap
        memcpy(&low, s, 4)
        memcpy(&high, s + n - 4, 4)
        word = low | <uint64_t>high << 32
    elif n:
        word = <unsigned char>s[0] | <uint64_t><unsigned char>s[n >> 1] << 8 | <uint64_t><unsigned char>s[n - 1] << 16
    else:
        word = 0
    h = hash_step(h, word) * <uint64_t>0xC4CEB9FE1A85EC53
    return <uint32_t>(h >> 32)

cdef inline bint same_text(const char* a, const char* b, uint32_t n) noexcept nogil:
    cdef uint64_t x, y
    cdef uint32_t u, v, i = 0
    if n < 4:
        for i in range(n):
            if a[i] != b[i]:
                return False
        return True
    if n <= HASH_WORD:                             # two halves that may overlap
        memcpy(&u, a, 4)
        memcpy(&v, b, 4)
        if u != v:
            return False
        memcpy(&u, a + n - 4, 4)
        memcpy(&v, b + n - 4, 4)
        return u == v
    while i + HASH_WORD < n:
        memcpy(&x, a + i, HASH_WORD)
        memcpy(&y, b + i, HASH_WORD)
        if x != y:
            return False
        i += HASH_WORD
    memcpy(&x, a + n - HASH_WORD, HASH_WORD)
    memcpy(&y, b + n - HASH_WORD, HASH_WORD)
    return x == y
