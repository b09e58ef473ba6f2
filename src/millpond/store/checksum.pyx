"""CRC-32C for Python code and tests."""

from libc.stdint cimport uint32_t


def checksum(bytes data, uint32_t seed=0):
    """crc32c (Castagnoli) of `data`."""
    return crc32c(seed, <const char*>data, len(data))
