"""Overwriting a message where it lies.

Length, sequence and the mark of a write's first record stay, so that an erasure which was cut short is known for one
and is done again. Only a proven place is overwritten: damage there can never pass for a torn write.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.store.api cimport COLD, FOUND, Load
from millpond.store.record cimport COPY, ERASED, Head, record_erase, record_valid
from millpond.store.repacking cimport Repacker
from millpond.store.segment cimport IN_LOG, Segment
from millpond.store.segment_log cimport SegmentLog

cdef enum:
    LENGTH_UNDER = 3                 # a record is longer than what it is accounted for by -2 to 10 bytes
    LENGTH_RANGE = 14


cdef list erase_committed(SegmentLog log, Repacker repacker, list erasures, bint* unproven):
    cdef uint32_t number
    cdef list left = []
    unproven[0] = False
    for item in erasures:
        number = item[1]
        log.at[number].erasing = False
    for item in erasures:
        seq, number, generation, offset, size = item
        if log.at[number].generation != generation:
            continue                               # its file lives another life
        if log.at[number].state != IN_LOG:
            log.discard(number)
        elif not log.proven(generation, offset):
            unproven[0] = True
            left.append(item)
        elif log.at[number].packed != NULL:
            repacker.want_plain(number)            # without its summary
            left.append(item)
        elif log.at[number].summary:
            repacker.wipe(number)                  # and that is on disk before the message is overwritten
            left.append(item)
        elif erase(log, number, offset, seq, size) == COLD:
            left.append(item)
    for item in left:
        number = item[1]
        log.at[number].erasing = True
    return left


cdef Load erase(SegmentLog log, uint32_t number, uint32_t offset, uint64_t seq, uint32_t size) except *:
    cdef Segment* segment = &log.at[number]
    cdef uint32_t have, length, end, overlap
    cdef char* at
    cdef Head* head
    cdef Load found = log.view(number, offset, sizeof(Head), False, &at, &have)
    assert segment.packed == NULL, "a packed file is never written to"
    assert log.proven(segment.generation, offset), "a torn erasure must not pass for a torn write"
    if found != FOUND:
        return found
    head = <Head*>at
    length = head.length                       # an erasure that was cut short left length and sequence whole
    if have < sizeof(Head) or head.seq != seq or not size < length + LENGTH_UNDER < size + LENGTH_RANGE:
        return FOUND                           # it is not there any more
    if length > segment.used - offset:
        return FOUND
    found = log.view(number, offset, length, False, &at, &have)
    if found != FOUND:
        return found
    head = <Head*>at
    if head.kind == ERASED and record_valid(at, have, segment.seed):
        return FOUND
    if head.flags & COPY:
        log.scrub(segment.generation)
    record_erase(head, segment.seed)
    end = offset + length
    if segment.buffer != NULL and offset < segment.buffer_from < end:
        overlap = segment.buffer_from - offset
        memcpy(segment.buffer, at + overlap, length - overlap)
    if offset < segment.written:
        log.disk.write(log.fd(number), at, length, offset)
        segment.changes += 1
        log._patched.append(number)
    return FOUND
