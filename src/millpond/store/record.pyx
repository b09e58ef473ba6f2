"""Records: sealed with a checksum before they leave, verified when they come back.

A reader that meets damage looks for the next place where a whole record verifies: eight bytes at a time, only
where the lengths are plausible. The checksum is seeded with what is known of this life of the segment, so neither
records of the file's former life nor bytes that a client put into a payload pass for one.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memset

from millpond.store.api cimport Record
from millpond.store.checksum cimport crc32c

assert sizeof(Head) == 32, "the format's head"


cdef void record_seal(Head* head, uint32_t seed) noexcept:
    head.crc = crc32c(seed, <const char*>head + 4, head.length - 4)


cdef bint record_plausible(const char* at, size_t have) noexcept nogil:
    cdef const Head* head = <const Head*>at
    if have < sizeof(Head) or head.length < sizeof(Head) or head.length > have:
        return False
    if head.kind == 0 or head.kind > KIND_LAST:
        return False
    return <uint64_t>content_at(head) + head.subject_len + head.hdr_len <= head.length


cdef bint record_valid(const char* at, size_t have, uint32_t seed) noexcept:
    cdef const Head* head = <const Head*>at
    return record_plausible(at, have) and crc32c(seed, at + 4, head.length - 4) == head.crc


cdef bint record_message(const char* at, size_t have, uint32_t seed, Record* out) noexcept:
    cdef const Head* head = <const Head*>at
    if not record_valid(at, have, seed) or head.kind != MESSAGE:
        return False
    out.seq, out.ts_ns = head.seq, head.ts_ns
    out.subject, out.subject_len = at + content_at(head), head.subject_len
    out.hdr, out.hdr_len = out.subject + head.subject_len, head.hdr_len
    out.body, out.body_len = out.hdr + head.hdr_len, body_len_of(head)
    return True


cdef void record_erase(Head* head, uint32_t seed) noexcept:
    memset(<char*>head + sizeof(Head), 0, head.length - sizeof(Head))
    head.kind, head.flags = ERASED, head.flags & BATCH
    head.subject_len, head.hdr_len = 0, 0
    record_seal(head, seed)


cdef inline bint _all_zero(const char* image, uint32_t at, uint32_t end) noexcept:
    """Both are multiples of 8. Everything is as what comes before it, and the first eight bytes are zero: memcmp looks at
    many at once."""
    return at >= end or ((<const uint64_t*>(image + at))[0] == 0 and memcmp(image + at, image + at + 8, end - at - 8) == 0)


cdef uint32_t record_next(const char* image, uint32_t at, uint32_t end, uint32_t seed, uint32_t* bad) noexcept:
    cdef uint32_t page_end, begin = aligned(at)
    bad[0] = end
    at = begin
    while at + <uint64_t>sizeof(Head) <= end:
        if record_valid(image + at, end - at, seed):
            if at > begin and bad[0] == end and not (<const Head*>(image + at)).flags & BATCH:
                bad[0] = begin                     # padding ends a write: the first record of this one is missing
            return at
        page_end = page_floor(at) + PAGE
        if page_end > end:
            page_end = end & ~<uint32_t>(ALIGN - 1)
        if (<const uint64_t*>(image + at))[0] == 0 and _all_zero(image, at, page_end):
            if at % PAGE == 0 and bad[0] == end:
                bad[0] = at                        # a write ends within its last page: a whole page is no padding
            at = page_end if page_end > at else at + ALIGN
            continue
        if bad[0] == end:
            bad[0] = at
        at += ALIGN
    return end
