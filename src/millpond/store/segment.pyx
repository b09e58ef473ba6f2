"""Segments: names, heads and how their records' checksums are seeded.

The head is there twice, so that one damaged sector half does not take a segment. It says where the segment before
ends and where the log began: a segment that is missing, or one that should be gone, is told from its neighbours.
"""

import re

from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy

from millpond.store.checksum cimport crc32c

from millpond.base.errors import StoreError

cdef enum:
    MAGIC = 0x4753504D               # "MPSG"

assert sizeof(SegmentHead) * HEAD_COPIES == RECORDS_AT

NAME = re.compile(r"log\.(\d{4,9})")
AGAIN = ".again"
"""Behind a segment's name: the file while its name is made anew."""


cdef str segment_name(uint32_t number):
    return f"log.{number:04d}"


def segment_number(str name):
    """The number of a segment's file name; None for another file."""
    found = NAME.fullmatch(name) if name.startswith("log.") else None
    return int(found[1]) if found and segment_name(int(found[1])) == name else None


cdef uint32_t segment_seed(const SegmentHead* head) noexcept nogil:
    return crc32c(head.salt, &head.generation, sizeof(head.generation))


cdef uint32_t _scattered(uint64_t generation) noexcept nogil:
    """Each generation its own value, and no pattern that the checksum would keep (multiply and shift, as hashes end)."""
    cdef uint32_t value = <uint32_t>(generation ^ (generation >> 32))
    value = (value ^ (value >> 16)) * <uint32_t>0x85EBCA6B
    value = (value ^ (value >> 13)) * <uint32_t>0xC2B2AE35
    return value ^ (value >> 16)


cdef uint32_t segment_salt(uint32_t identity, uint64_t generation) noexcept nogil:
    return identity ^ _scattered(generation)


cdef uint32_t segment_identity(const SegmentHead* head) noexcept nogil:
    return head.salt ^ _scattered(head.generation) if head.flags & SALT_OF_LOG else 0


cdef void segment_head_write(SegmentHead* head, char* out) noexcept:
    segment_head_write_as(head, PLAIN, out)


cdef void segment_head_write_as(SegmentHead* head, Form form, char* out) noexcept nogil:
    cdef int i
    head.magic, head.version = MAGIC, <uint16_t>form
    head.crc = crc32c(0, head, sizeof(SegmentHead) - 4)
    for i in range(HEAD_COPIES):
        memcpy(out + i * sizeof(SegmentHead), head, sizeof(SegmentHead))


cdef bint segment_head_find(const char* data, size_t n, SegmentHead* out) noexcept nogil:
    cdef size_t at = 0
    while at + sizeof(SegmentHead) <= n and at < RECORDS_AT:
        memcpy(out, data + at, sizeof(SegmentHead))
        at += sizeof(SegmentHead)
        if out.magic == MAGIC and crc32c(0, out, sizeof(SegmentHead) - 4) == out.crc:
            return True
    return False


cdef bint segment_head_read(const char* data, size_t n, SegmentHead* out) except *:
    if not segment_head_find(data, n, out):
        return False
    if out.version != PLAIN and out.version != PACKED:
        raise StoreError(f"segment has version {out.version}; this server reads versions {<int>PLAIN} and {<int>PACKED}")
    return True
