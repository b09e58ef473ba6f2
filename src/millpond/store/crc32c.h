/* CRC-32C (Castagnoli): the processor's instruction where there is one, else a table. */
#ifndef MILLPOND_CRC32C_H
#define MILLPOND_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint32_t crc32c_table[256];

static inline void crc32c_prepare(void) {
    uint32_t i, value;
    int bit;
    for (i = 0; i < 256; i++) {
        for (value = i, bit = 0; bit < 8; bit++) value = (value >> 1) ^ (value & 1 ? 0x82F63B78u : 0);
        crc32c_table[i] = value;
    }
}

static inline uint32_t crc32c_by_table(uint32_t crc, const unsigned char *at, size_t n) {
    while (n--) crc = crc32c_table[(crc ^ *at++) & 0xFF] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static inline uint32_t
crc32c_by_instruction(uint32_t crc, const unsigned char *at, size_t n) {
    uint64_t wide = crc, word;
    for (; n >= 8; n -= 8, at += 8) {
        memcpy(&word, at, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    while (n--) crc = _mm_crc32_u8(crc, *at++);
    return crc;
}

static inline int crc32c_has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>

static inline uint32_t crc32c_by_instruction(uint32_t crc, const unsigned char *at, size_t n) {
    uint64_t word;
    for (; n >= 8; n -= 8, at += 8) {
        memcpy(&word, at, 8);
        crc = __crc32cd(crc, word);
    }
    while (n--) crc = __crc32cb(crc, *at++);
    return crc;
}

static inline int crc32c_has_instruction(void) { return 1; }
#else
static inline uint32_t crc32c_by_instruction(uint32_t crc, const unsigned char *at, size_t n) {
    return crc32c_by_table(crc, at, n);
}

static inline int crc32c_has_instruction(void) { return 0; }
#endif

/* `seed` 0 gives the standard value; another seed gives a checksum that only its owner can verify. */
static inline uint32_t crc32c(uint32_t seed, const void *data, size_t n) {
    static int fast = -1;
    const unsigned char *at = (const unsigned char *)data;
    if (fast < 0) {
        crc32c_prepare();
        fast = crc32c_has_instruction();
    }
    seed = ~seed;
    return ~(fast ? crc32c_by_instruction(seed, at, n) : crc32c_by_table(seed, at, n));
}
#endif
