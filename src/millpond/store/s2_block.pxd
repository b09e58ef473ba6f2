# S2 blocks: Snappy's block format, and in addition S2's copies that repeat the last offset.
# Kernels without Python objects; every loop is bounded by the ends of the two arrays.
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    BLOCK_BYTES = 65536              # what encode() takes at most
    HASH_ROWS = 16384

# Most bytes that encode() makes of n.
cdef inline size_t encoded_bytes_max(size_t n) noexcept nogil:
    return 32 + n + n // 6

# The decoded length that a block declares, -1 when there is none that can be read; *head: bytes of its prefix.
cdef long long decoded_bytes(const uint8_t* block, size_t n, size_t* head) noexcept nogil
# Decodes a whole block into exactly out_n bytes. False: it is not such a block.
cdef bint decode(const uint8_t* block, size_t n, uint8_t* out, size_t out_n) noexcept nogil
# The first `want` <= out_n bytes of a block that holds out_n; what stands behind them is not looked at.
cdef bint decode_first(const uint8_t* block, size_t n, uint8_t* out, size_t out_n, size_t want) noexcept nogil
# Encodes n <= BLOCK_BYTES bytes; returns how many bytes it made. `table` has HASH_ROWS rows, of any content.
cdef size_t encode(const uint8_t* data, size_t n, uint8_t* out, uint16_t* table) noexcept nogil
