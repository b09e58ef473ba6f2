/* Where the blanks are: bytes up to 0x20 of a control line, found 64 at a time. */
#ifndef MILLPOND_WIRE_SCAN_H
#define MILLPOND_WIRE_SCAN_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>

static inline uint64_t scan_mask(const char *p) {
    const __m128i limit = _mm_set1_epi8(0x20);
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, limit), v));
}

static inline uint64_t scan_blanks(const char *p) {
    return scan_mask(p) | scan_mask(p + 16) << 16 | scan_mask(p + 32) << 32 | scan_mask(p + 48) << 48;
}
#else
static inline uint64_t scan_blanks(const char *p) {
    uint64_t mask = 0;
    int i;
    for (i = 0; i < 64; i++)
        mask |= (uint64_t)((unsigned char)p[i] <= 0x20) << i;
    return mask;
}
#endif

/* A walk over the blanks of p[0..n); reads whole blocks of 64 bytes within n only. */
typedef struct {
    const char *p;
    uint64_t mask;
    size_t base, n;
} scan;

static inline scan scan_from(const char *p, size_t n) {
    scan s = {p, 0, 0, n};
    s.mask = n >= 64 ? scan_blanks(p) : 0;
    return s;
}

/* The place of the next blank; n when no whole block has one. */
static inline size_t scan_next(scan *s) {
    size_t at;
    while (s->mask == 0) {
        s->base += 64;
        if (s->base + 64 > s->n)
            return s->n;
        s->mask = scan_blanks(s->p + s->base);
    }
    at = s->base + (size_t)__builtin_ctzll(s->mask);
    s->mask &= s->mask - 1;
    return at;
}

#endif
