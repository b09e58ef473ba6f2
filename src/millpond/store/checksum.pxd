# The store's checksum: CRC-32C, optionally seeded so that a stale record of a recycled file does not verify.
from libc.stdint cimport uint32_t

cdef extern from "crc32c.h" nogil:
    uint32_t crc32c(uint32_t seed, const void* data, size_t n)
