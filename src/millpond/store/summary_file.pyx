"""Where a summary lies: behind everything else in the segment's file, its foot last.

So it goes where the file goes: with a name, into another life, away. A plain file is that much longer than its head
says, and the records stay within what the head says; when the file is used again, what is left of a summary there is
of another generation. Nothing depends on a summary being on disk, or whole. But where one is, it must not say what is
not so any more: it is wiped, and that is on disk, before anything in its segment is overwritten.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from millpond.store.disk cimport Disk
from millpond.store.record cimport page_ceil
from millpond.store.segment cimport PLAIN, Segment, SegmentHead, segment_seed
from millpond.store.segment_log cimport SegmentLog
from millpond.store.summary cimport FOOT_BYTES, SummaryFoot, body_valid, foot_valid


cdef bint summary_find(Disk disk, int fd, const SegmentHead* head, uint64_t size, SummaryFoot* out) except *:
    cdef uint64_t room = size - min(size, <uint64_t>head.bytes) if head.version == PLAIN else size
    if room < FOOT_BYTES or disk.read(fd, <char*>out, FOOT_BYTES, size - FOOT_BYTES) < FOOT_BYTES:
        return False
    return foot_valid(out, head.generation, segment_seed(head), room)


cdef char* summary_load(Disk disk, int fd, const SummaryFoot* foot, uint64_t size, uint32_t seed) except? NULL:
    cdef size_t n = foot.bytes - FOOT_BYTES
    cdef char* body = <char*>malloc(n + 1)
    if body == NULL:
        raise MemoryError(f"no memory for a summary of {n} bytes")
    try:
        if disk.read(fd, body, n, size - foot.bytes) == n and body_valid(foot, body, seed):
            return body
    except BaseException:
        free(body)
        raise
    free(body)
    return NULL


cdef uint64_t _place(const Segment* segment) noexcept:
    return segment.bytes if segment.packed == NULL else page_ceil(segment.packed.bytes)


cdef int summary_put(SegmentLog log, uint32_t number, const char* data, uint32_t n) except -1:
    cdef Segment* segment = &log.at[number]
    cdef uint64_t at = _place(segment)
    cdef int fd = log.fd(number)
    log.disk.write(fd, data, n, at)
    log.disk.truncate(fd, at + n)                  # the foot is last
    segment.summary = n
    return 0


cdef int summary_wipe(SegmentLog log, uint32_t number) except -1:
    cdef Segment* segment = &log.at[number]
    cdef char* zeros = <char*>calloc(1, segment.summary)
    if zeros == NULL:
        raise MemoryError("no memory to wipe a summary")
    try:
        log.disk.write(log.fd(number), zeros, segment.summary, _place(segment))
    finally:
        free(zeros)
    segment.summary = 0
    segment.changes += 1
    log._patched.append(number)
    return 0
