"""Every bit of a segment's file, flipped in turn: what its readers see then.

What recovery and every read go by is a list: which records verify, where, and which places are bad. It depends on
nothing else in the file but the head. So where that list differs from the sound file's by exactly the record (or the
padding) that holds the bit, whatever is made of it differs by that record, too. That is checked here for each bit, in
memory, a few million a second; what a store makes of a list with one record less is checked by opening it, which takes a
thousand times as long (tests/corruption).
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from millpond.store.record cimport Head, aligned, record_next
from millpond.store.segment cimport RECORDS_AT, SegmentHead, segment_head_read, segment_seed

from millpond.store.scan import scan_bytes


def flip_every_bit(bytes data):
    """Counts of what became of the bits of a plain segment's file, by name, and [(byte, bit)] of those that did anything
    else. "lost": the record is not taken, the next one is; "harmless": no record changes; "noticed": the same, but the
    place is called bad."""
    scan = scan_bytes(data)
    cdef list starts = [record.offset for record in scan.records], wrong = []
    cdef uint32_t end = <uint32_t>len(data), number = 0, begin = RECORDS_AT, after, length, at, i
    cdef uint64_t[3] counts = [0, 0, 0]
    cdef SegmentHead head
    cdef char* image = <char*>malloc(len(data) + 8)
    if image == NULL:
        raise MemoryError
    try:
        memcpy(image, PyBytes_AS_STRING(data), len(data))
        _flip_head(image, end, counts, wrong)
        segment_head_read(image, end, &head)
        for number in range(len(starts)):
            begin = starts[number]
            after = starts[number + 1] if number + 1 < <uint32_t>len(starts) else end
            length = (<Head*>(image + begin)).length
            for at in range(begin, after if after < end else begin + aligned(length)):
                for i in range(8):
                    _flip(image, begin, begin + length, after, end, at, i, segment_seed(&head), counts, wrong)
        return {"lost": counts[0], "harmless": counts[1], "noticed": counts[2]}, wrong
    finally:
        free(image)


cdef int _flip_head(char* image, uint32_t end, uint64_t* counts, list wrong) except -1:
    """Two copies: no bit of one of them matters."""
    cdef SegmentHead sound, head
    cdef uint32_t at, i
    segment_head_read(image, end, &sound)
    for at in range(RECORDS_AT):
        for i in range(8):
            image[at] ^= <char>(1 << i)
            if not segment_head_read(image, end, &head) or memcmp(&head, &sound, sizeof(SegmentHead)) != 0:
                wrong.append((at, i))
            counts[1] += 1
            image[at] ^= <char>(1 << i)
    return 0


cdef int _flip(char* image, uint32_t begin, uint32_t record_end, uint32_t after, uint32_t end, uint32_t at, uint32_t bit,
               uint32_t seed, uint64_t* counts, list wrong) except -1:
    """`after`: where the next record begins. Records before are not touched, those behind neither."""
    cdef uint32_t bad, found, next_bad
    image[at] ^= <char>(1 << bit)
    found = record_next(image, begin, end, seed, &bad)
    if at < record_end:
        counts[0] += 1
        if found != after or bad != begin:
            wrong.append((at, bit))
    elif found != begin or bad != end:
        wrong.append((at, bit))
    else:                                          # the padding behind the record
        found = record_next(image, record_end, end, seed, &next_bad)
        if found != after:
            wrong.append((at, bit))
        counts[1 if next_bad == end else 2] += 1
    image[at] ^= <char>(1 << bit)
    return 0
