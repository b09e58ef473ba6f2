/* SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012): a keyed hash of short texts. With a key that
   they do not know, those who choose the texts cannot make two of them collide. */
#ifndef MILLPOND_SIPHASH_H
#define MILLPOND_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SIP_ROTATE(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))
#define SIP_ROUND(v) do { \
        v[0] += v[1]; v[1] = SIP_ROTATE(v[1], 13) ^ v[0]; v[0] = SIP_ROTATE(v[0], 32); \
        v[2] += v[3]; v[3] = SIP_ROTATE(v[3], 16) ^ v[2]; \
        v[0] += v[3]; v[3] = SIP_ROTATE(v[3], 21) ^ v[0]; \
        v[2] += v[1]; v[1] = SIP_ROTATE(v[1], 17) ^ v[2]; v[2] = SIP_ROTATE(v[2], 32); \
    } while (0)

static inline uint64_t sip_word(const unsigned char *at, size_t n)
{
    uint64_t word = 0;
    size_t i;
    for (i = 0; i < n; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

static inline void siphash128(const char *text, size_t size, const uint64_t key[2], uint64_t out[2])
{
    const unsigned char *at = (const unsigned char *)text;
    uint64_t v[4] = {
        key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t left = size;
    uint64_t word;
    for (; left >= 8; left -= 8, at += 8) {
        word = sip_word(at, 8);
        v[3] ^= word;
        SIP_ROUND(v); SIP_ROUND(v);
        v[0] ^= word;
    }
    word = sip_word(at, left) | (uint64_t)size << 56;
    v[3] ^= word;
    SIP_ROUND(v); SIP_ROUND(v);
    v[0] ^= word;
    v[2] ^= 0xee;
    SIP_ROUND(v); SIP_ROUND(v); SIP_ROUND(v); SIP_ROUND(v);
    out[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    SIP_ROUND(v); SIP_ROUND(v); SIP_ROUND(v); SIP_ROUND(v);
    out[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
