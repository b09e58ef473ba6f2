"""Encoding and decoding of single S2 blocks.

    block = decoded length (uvarint) | elements

    element (low two bits of its first byte, little-endian numbers)
      00  literal: length - 1 in the upper six bits, or 60..63: in the next 1..4 bytes; then the bytes
      01  copy: length - 4 in three bits, offset in three bits and the next byte
          offset 0 repeats the offset before; lengths of 5, 6, 7 then mean one, two, three bytes of length more
      10  copy: length - 1 in six bits, offset in two bytes
      11  copy: length - 1 in six bits, offset in four bytes

What is encoded here uses no repeats and offsets below 64 KiB, so Snappy reads it as well.
Source: github.com/google/snappy, format_description.txt; S2's extension is described in its README.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    LITERAL = 0
    COPY_1 = 1
    COPY_2 = 2
    MATCH_MIN = 4
    COPY_MAX = 64
    WIDE_MAX = 64                    # what is copied eight bytes at a time, where there is room behind it
    DECODED_BITS_MAX = 32


cdef long long decoded_bytes(const uint8_t* block, size_t n, size_t* head) noexcept nogil:
    cdef long long value = 0
    cdef size_t at = 0
    cdef int shift = 0
    while at < n and shift < 35:
        value |= <long long>(block[at] & 0x7F) << shift
        at += 1
        if block[at - 1] < 0x80:
            head[0] = at
            return value if value >> DECODED_BITS_MAX == 0 else -1
        shift += 7
    return -1


cdef inline uint32_t _little(const uint8_t* at, size_t n) noexcept nogil:
    cdef uint32_t value = 0
    cdef size_t i
    for i in range(n):                             # n <= 4
        value |= <uint32_t>at[i] << (8 * i)
    return value


cdef inline void _copy(uint8_t* to, size_t offset, size_t n) noexcept nogil:
    """n bytes from `offset` before `to`; the two may overlap, then the bytes repeat."""
    cdef size_t i
    if offset >= n:
        memcpy(to, to - offset, n)
    else:
        for i in range(n):
            to[i] = to[i - offset]


cdef inline void _copy_wide(uint8_t* to, const uint8_t* source, size_t n) noexcept nogil:
    """The same, eight bytes at a time: up to seven behind them change as well. `source` is not within eight before."""
    cdef size_t i = 0
    while i < n:
        memcpy(to + i, source + i, 8)
        i += 8


cdef size_t _repeat_bytes(const uint8_t* block, size_t n, size_t* at, size_t code) noexcept nogil:
    """Length of a repeat whose three bits are `code`; 0: its length is cut off."""
    cdef size_t more = code - 4 if code > 4 else 0
    cdef size_t value
    if more == 0:
        return code + 4
    if n - at[0] < more:
        return 0
    value = _little(block + at[0], more)
    at[0] += more
    return value + 4 + (4 if more == 1 else <size_t>1 << (8 * (more - 1)))


cdef bint decode(const uint8_t* block, size_t n, uint8_t* out, size_t out_n) noexcept nogil:
    return decode_first(block, n, out, out_n, out_n)


cdef bint decode_first(const uint8_t* block, size_t n, uint8_t* out, size_t out_n, size_t want) noexcept nogil:
    cdef size_t at = 0, made = 0, offset = 0, length, more, tag
    if decoded_bytes(block, n, &at) != <long long>out_n:
        return False
    while at < n and (made < want or want == out_n):
        tag = block[at]
        at += 1
        if tag & 3 == LITERAL:
            length = tag >> 2
            if length >= 60:
                more = length - 59
                if n - at < more:
                    return False
                length = _little(block + at, more)
                at += more
            length += 1
            if length > n - at or length > out_n - made:
                return False
            if length <= WIDE_MAX and want - made >= WIDE_MAX + 8 and n - at >= WIDE_MAX + 8:
                _copy_wide(out + made, block + at, length)
            else:
                memcpy(out + made, block + at, min(length, want - made))
            at += length
            made += length
            continue
        if tag & 3 == COPY_1:
            if at == n:
                return False
            length = (tag >> 2) & 7
            more = (tag & 0xE0) << 3 | block[at]
            at += 1
            if more:
                offset = more
                length += 4
            else:
                length = _repeat_bytes(block, n, &at, length)
        else:
            more = 2 if tag & 3 == COPY_2 else 4
            if n - at < more:
                return False
            length = (tag >> 2) + 1
            offset = _little(block + at, more)
            at += more
        if length == 0 or offset == 0 or offset > made or length > out_n - made:
            return False
        if offset >= 8 and length <= WIDE_MAX and want - made >= WIDE_MAX + 8:
            _copy_wide(out + made, out + made - offset, length)
        else:
            _copy(out + made, offset, min(length, want - made))
        made += length
    return made == out_n if want == out_n else made >= want


cdef inline uint32_t _load_4(const uint8_t* at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return value


cdef inline uint64_t _load_8(const uint8_t* at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return value


cdef inline uint32_t _row(uint32_t four) noexcept nogil:
    return (four * <uint32_t>0x1E35A7BD) >> 18     # 14 bits: HASH_ROWS


cdef size_t _put_literal(uint8_t* out, const uint8_t* data, size_t n) noexcept nogil:
    cdef size_t head = 1
    if n <= 60:
        out[0] = <uint8_t>((n - 1) << 2)
    elif n <= 256:
        out[0], out[1] = 60 << 2, <uint8_t>(n - 1)
        head = 2
    else:
        out[0], out[1], out[2] = 61 << 2, <uint8_t>(n - 1), <uint8_t>((n - 1) >> 8)
        head = 3
    memcpy(out + head, data, n)
    return head + n


cdef size_t _put_copy(uint8_t* out, size_t offset, size_t n) noexcept nogil:
    cdef size_t made = 0, part
    while n:
        if MATCH_MIN <= n <= 11 and offset < 2048:
            out[made] = <uint8_t>((offset >> 8) << 5 | (n - 4) << 2 | COPY_1)
            out[made + 1] = <uint8_t>offset
            return made + 2
        part = n if n <= COPY_MAX else COPY_MAX if n >= COPY_MAX + MATCH_MIN else COPY_MAX - MATCH_MIN
        out[made] = <uint8_t>((part - 1) << 2 | COPY_2)
        out[made + 1], out[made + 2] = <uint8_t>offset, <uint8_t>(offset >> 8)
        made += 3
        n -= part
    return made


cdef size_t encode(const uint8_t* data, size_t n, uint8_t* out, uint16_t* table) noexcept nogil:
    cdef size_t made = 0, at = 1, emitted = 0, candidate, length, left = n
    cdef uint32_t four, row
    while left >= 0x80:
        out[made] = <uint8_t>(left | 0x80)
        left >>= 7
        made += 1
    out[made] = <uint8_t>left
    made += 1
    memset(table, 0, HASH_ROWS * sizeof(uint16_t))
    while at + MATCH_MIN <= n:
        four = _load_4(data + at)
        row = _row(four)
        candidate = table[row]
        table[row] = <uint16_t>at
        if candidate >= at or _load_4(data + candidate) != four:
            at += 1 + (at - emitted >> 5)          # what does not compress is passed ever faster
            continue
        length = MATCH_MIN
        while at + length + 8 <= n and _load_8(data + at + length) == _load_8(data + candidate + length):
            length += 8
        while at + length < n and data[at + length] == data[candidate + length]:
            length += 1
        if at > emitted:
            made += _put_literal(out + made, data + emitted, at - emitted)
        made += _put_copy(out + made, at - candidate, length)
        at += length
        emitted = at
    if n > emitted:
        made += _put_literal(out + made, data + emitted, n - emitted)
    return made


# --- Python's door, for tests ---


def decode_block(bytes block):
    """What a whole block holds; None when it is not one. At most 16 MiB."""
    cdef size_t head = 0
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(block)
    cdef long long size = decoded_bytes(data, PyBytes_GET_SIZE(block), &head)
    if size < 0 or size > 1 << 24:
        return None
    out = PyBytes_FromStringAndSize(NULL, size)
    return out if decode(data, PyBytes_GET_SIZE(block), <uint8_t*>PyBytes_AS_STRING(out), size) else None


def encode_block(bytes data):
    """A block of at most 64 KiB."""
    cdef uint16_t[HASH_ROWS] table
    cdef size_t n = PyBytes_GET_SIZE(data)
    assert n <= BLOCK_BYTES
    out = PyBytes_FromStringAndSize(NULL, encoded_bytes_max(n))
    return out[:encode(<const uint8_t*>PyBytes_AS_STRING(data), n, <uint8_t*>PyBytes_AS_STRING(out), table)]
