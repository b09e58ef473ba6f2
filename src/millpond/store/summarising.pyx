"""Making the summary of a sealed segment: the worker's part, without Python.

Every record is verified on the way, if only after its step was made, so a segment with a bad place gets no summary, and
recovery reads it each time. The segment is synced before: what a summary says was on the disk. A window of the file is
in memory, whatever its size; of a record that is longer only the beginning is looked at, and the rest goes through the
checksum.
"""

from libc.errno cimport EFBIG, EILSEQ, EIO, ENOMEM
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from millpond.store.checksum cimport crc32c
from millpond.store.disk cimport calls_read, calls_sync
from millpond.store.packed cimport BLOCK_BYTES, PACKED_MAX, packed_extent, unpack
from millpond.store.packer_order cimport Order
from millpond.store.record cimport BATCH, PAGE, REMOVE, Head, aligned, content_at, page_floor, record_plausible
from millpond.store.segment cimport RECORDS_AT
from millpond.store.summary cimport Making, making_begin, making_end, making_put, making_seal

cdef enum:
    WINDOW = 4 * BLOCK_BYTES         # a block that is begun, and a record's longest beginning: a removal of 8192

cdef struct Source:                  # a segment, a window of it at a time
    Order* order
    char* data
    char* file                       # of a packed one: a block as it is
    uint32_t begin, end              # what `data` holds


cdef int _read(Source* source, uint32_t begin, uint32_t end) noexcept nogil:
    """An errno."""
    cdef Order* order = source.order
    cdef uint32_t at = begin, n, file_at, file_end
    cdef size_t got = 0
    cdef int error
    if order.packed == NULL:
        error = calls_read(order.disk, order.source, source.data, end - begin, begin, &got)
        return error or (EIO if got < end - begin else 0)
    while at < end:
        n = min(end - at, <uint32_t>BLOCK_BYTES)
        packed_extent(order.packed, at, at + n, &file_at, &file_end)
        if file_at:
            error = calls_read(order.disk, order.source, source.file, min(file_end - file_at, <uint32_t>PACKED_MAX), file_at, &got)
            if error:
                return error
        order.mended += unpack(order.packed, source.file, file_at, got if file_at else 0, at, at + n,
                               source.data + (at - begin))
        at += n
    return 0


cdef const char* _view(Source* source, uint32_t at, uint32_t n, int* error) noexcept nogil:
    """n bytes at an offset, fewer than a window less a block; valid until the next call. NULL: *error says why."""
    if at < source.begin or at + n > source.end:
        source.begin = at // BLOCK_BYTES * BLOCK_BYTES
        source.end = min(source.begin + <uint32_t>WINDOW, source.order.end)
        if at + n > source.end:
            error[0] = EILSEQ
            return NULL
        error[0] = _read(source, source.begin, source.end)
        if error[0]:
            source.end = source.begin
            return NULL
    return source.data + (at - source.begin)


cdef int _verify(Source* source, uint32_t at, const Head* head) noexcept nogil:
    """Is the record what its checksum says? An errno."""
    cdef uint32_t crc = source.order.seed, end = at + head.length, n, wanted = head.crc
    cdef const char* data
    cdef int error = 0
    at += 4
    while at < end:
        n = min(end - at, <uint32_t>BLOCK_BYTES)
        data = _view(source, at, n, &error)
        if data == NULL:
            return error
        crc = crc32c(crc, data, n)
        at += n
    return 0 if crc == wanted else EILSEQ


cdef int _record(Source* source, Making* making, uint32_t* at, bint padded) noexcept nogil:
    """The record at *at, and on to behind it. padded: behind padding, so it is the first of its write. An errno."""
    cdef int error = 0
    cdef uint32_t begin = at[0], lead
    cdef Head head
    cdef const char* data = _view(source, begin, sizeof(Head), &error)
    if data == NULL:
        return error
    head = (<const Head*>data)[0]
    if not record_plausible(data, source.order.end - begin) or (padded and not head.flags & BATCH):
        return EILSEQ
    lead = head.length if head.kind == REMOVE else content_at(&head) + head.subject_len
    data = _view(source, begin, lead, &error)
    if data == NULL:
        return error
    error = making_put(making, <const Head*>data, begin)
    if error:
        return error
    at[0] = begin + aligned(head.length)
    return _verify(source, begin, &head)


cdef int _padding(Source* source, uint32_t* at) noexcept nogil:
    """On over the zeros that end a write, to the next page. 0: none begin here."""
    cdef uint32_t end = min(page_floor(at[0]) + <uint32_t>PAGE, source.order.end), i
    cdef int error = 0
    cdef const char* data
    if at[0] % PAGE == 0:
        return 0                                   # a whole page of zeros is no padding
    data = _view(source, at[0], end - at[0], &error)
    if data == NULL:
        return 0
    for i in range(end - at[0]):
        if data[i]:
            return 0
    at[0] = end
    return 1


cdef int _go_through(Source* source, Making* making) noexcept nogil:
    """An errno."""
    cdef uint32_t at = RECORDS_AT
    cdef bint padded = False
    cdef int error
    while at < source.order.end and not source.order.stop:
        if _padding(source, &at):
            padded = True
            continue
        if at + <uint64_t>sizeof(Head) > source.order.end:
            return EILSEQ
        error = _record(source, making, &at, padded)
        if error:
            return error
        padded = False
    return 0


cdef int summarise(Order* order) noexcept nogil:
    cdef Source source
    cdef Making making
    cdef int error = calls_sync(order.disk, order.source)
    memset(&source, 0, sizeof(Source))
    source.order, source.data = order, <char*>malloc(WINDOW)
    source.file = <char*>malloc(PACKED_MAX) if order.packed != NULL else NULL
    making_begin(&making, order.bytes_max)
    if not error and (source.data == NULL or (order.packed != NULL and source.file == NULL)):
        error = ENOMEM
    if not error:
        error = _go_through(&source, &making)
    if not error:
        error = making_seal(&making, order.generation, order.seed, order.end,
                            NULL if order.packed == NULL else order.packed.blocks,
                            0 if order.packed == NULL else order.packed.count)
    making_end(&making)
    free(source.data)
    free(source.file)
    order.summary, order.summary_bytes, order.worth = making.data, making.used, not error
    return 0 if error == EFBIG else error
