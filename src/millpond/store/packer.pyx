"""Compressing sealed segments, taking that back, and making their summaries (summarising.pyx), beside the loop.

    client ──ask──> its turn: next_repack() opens both files ──> worker reads, encodes, compares, writes, syncs
                                                                     │ wake-up
                                            repacked() renames <─────┘  or removes what was made, or writes the summary

The worker has two descriptors and an order; whether the result is still wanted is judged by who gets it back. It
works in a few hundred KiB whatever the segment's size (a summary is in memory besides), and on the processor time that
others leave. The thread starts with the first job.
"""

import os
from collections import deque

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport EILSEQ, EIO, ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from millpond.store.disk cimport calls_read, calls_sync, calls_write
from millpond.store.packed cimport (
    BLOCK_BYTES,
    PACKED_MAX,
    Scratch,
    pack_block,
    packed_extent,
    packed_let_go,
    scratch_free,
    scratch_new,
    unpack,
)
from millpond.store.packer_order cimport PACK, SUMMARISE, UNPACK, Order
from millpond.store.segment cimport (
    PACKED,
    PLAIN,
    RECORDS_AT,
    Form,
    SegmentHead,
    segment_head_find,
    segment_head_write_as,
)
from millpond.store.summarising cimport summarise
from millpond.store.worker cimport (
    worker, worker_job, worker_start_woken_by, worker_step_back, worker_stop, worker_submit, worker_take,
    worker_wait_for_answer,
)

cdef extern from "disk.h" nogil:
    void disk_drop(int fd, uint64_t offset, uint64_t size)


@cython.no_gc
cdef class Repack:
    """Closes its descriptors when it is forgotten."""

    def __cinit__(self):
        self.order.source = self.order.target = -1

    def __dealloc__(self):
        if self.order.source >= 0:
            self.disk.close(self.order.source)
        if self.order.target >= 0:
            self.disk.close(self.order.target)
        packed_let_go(&self.order.packed)
        free(self.order.summary)


cdef class Client:
    """See the `.pxd`."""

    cdef Repack next_repack(self):
        raise NotImplementedError(type(self).__name__)

    cdef int repacked(self, Repack job, int error) except -1:
        raise NotImplementedError(type(self).__name__)


# --- the worker's part: no Python here ---


cdef void _work_off(worker_job* job) noexcept nogil:
    if (<Order*>job.data).disk.in_line == NULL:
        worker_step_back()
    _carry_out(job)


cdef void _carry_out(worker_job* job) noexcept nogil:
    cdef Order* order = <Order*>job.data
    if order.task == SUMMARISE:
        job.error = summarise(order)
    else:
        job.error = _pack(order) if order.task == PACK else _unpack(order)
    if not job.error and order.worth and order.task != SUMMARISE:
        job.error = calls_sync(order.disk, order.target)
        disk_drop(order.target, 0, 0)
    if order.drop:
        disk_drop(order.source, 0, 0)


cdef int _put_head(Order* order, const char* before, Form form) noexcept nogil:
    """The head of the source, in the other form."""
    cdef char[RECORDS_AT] out
    cdef SegmentHead head
    if not segment_head_find(before, RECORDS_AT, &head):
        return EIO
    segment_head_write_as(&head, form, out)
    return calls_write(order.disk, order.target, out, RECORDS_AT, 0)


cdef int _pack(Order* order) noexcept nogil:
    cdef Scratch scratch
    cdef uint32_t at = 0, n, made, file_at = RECORDS_AT
    cdef size_t got
    cdef int error = 0
    if not scratch_new(&scratch):
        error = ENOMEM
    while not error and at < order.end and not order.stop:
        n = min(order.end - at, <uint32_t>BLOCK_BYTES)
        error = calls_read(order.disk, order.source, scratch.plain, n, at, &got)
        if error or got < n:
            error = error or EIO
            break
        if at == 0:
            error = _put_head(order, scratch.plain, PACKED)
            if error:
                break
        made = pack_block(&scratch, n, at, order.end, order.seed)
        if made == 0:
            error = EILSEQ
        elif file_at + <uint64_t>made > order.bytes_max:
            break
        else:
            error = calls_write(order.disk, order.target, scratch.out, made, file_at)
            order.packed.blocks[at // BLOCK_BYTES].at = file_at
            order.packed.blocks[at // BLOCK_BYTES].length = made
            file_at += made
            at += n
    scratch_free(&scratch)
    order.packed.bytes = file_at
    order.worth = at == order.end
    return error


cdef int _unpack(Order* order) noexcept nogil:
    cdef char* plain = <char*>malloc(BLOCK_BYTES)
    cdef char* file = <char*>malloc(PACKED_MAX)
    cdef char[RECORDS_AT] head
    cdef uint32_t at = 0, n, file_at, file_end
    cdef size_t got = 0
    cdef int error = 0
    if plain == NULL or file == NULL:
        error = ENOMEM
    while not error and at < order.end and not order.stop:
        n = min(order.end - at, <uint32_t>BLOCK_BYTES)
        packed_extent(order.packed, at, at + n, &file_at, &file_end)
        if file_at:
            error = calls_read(order.disk, order.source, file, min(file_end - file_at, <uint32_t>PACKED_MAX), file_at, &got)
        if not error:
            unpack(order.packed, file, file_at, got if file_at else 0, at, at + n, plain)
            error = calls_write(order.disk, order.target, plain, n, at)
        at += n
    free(plain)
    free(file)
    if not error:
        error = calls_read(order.disk, order.source, head, RECORDS_AT, 0, &got)
    if not error:
        error = _put_head(order, head, PLAIN) if got == RECORDS_AT else EIO
    order.worth = not error and at >= order.end
    return error


# --- the loop's part ---


cdef int repack_now(Repack job) noexcept:
    """Carries it out while the caller waits. Returns an errno."""
    cdef worker_job order
    memset(&order, 0, sizeof(worker_job))
    order.data = <char*>&job.order
    with nogil:
        _carry_out(&order)
    return order.error


@cython.no_gc_clear
cdef class Packer:
    """wake_fd: who waits for it calls `collect`. It stays the caller's."""

    def __init__(self, int wake_fd):
        self._wake_fd = -1
        self._waiting, self._wake_fd = deque(), os.dup(wake_fd)
        self._worker = <void*>PyMem_Calloc(1, sizeof(worker))
        if self._worker == NULL:
            raise MemoryError("no memory for the packer")

    def __dealloc__(self):
        self._stop()

    cdef int _stop(self) except -1:
        if self._worker != NULL:
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)
            os.close(self._wake_fd)
            self._worker = NULL
        return 0

    cdef int ask(self, Client client) except -1:
        if not client.queued and self._worker != NULL:
            client.queued = True
            self._waiting.append(client)
            self._next()
        return 0

    cdef bint forget(self, Client client) except *:
        if client.queued:
            client.queued = False
            self._waiting.remove(client)
        if self._client is client:
            self._client = None
            self._job.dropped = self._job.order.stop = True
            return True
        return False

    cdef int _next(self) except -1:
        cdef Client client
        cdef Repack job
        cdef int error
        while self._job is None and self._waiting:
            client = self._waiting.popleft()
            client.queued = False
            job = client.next_repack()
            if job is None:
                continue
            error = self._submit(job)
            if error:
                client.repacked(job, error)
            else:
                self._job, self._client = job, client
        return 0

    cdef int _submit(self, Repack job) noexcept:
        """Returns an errno."""
        cdef worker_job order
        cdef int error = 0
        if not (<worker*>self._worker).started:
            error = worker_start_woken_by(<worker*>self._worker, _work_off, 1, self._wake_fd,
                                          job.order.disk)
        if error:
            return error
        memset(&order, 0, sizeof(worker_job))
        order.data = <char*>&job.order
        return ENOMEM if worker_submit(<worker*>self._worker, order) else 0

    cpdef int collect(self) except -1:
        cdef worker_job done
        cdef Repack job
        cdef Client client
        if self._worker == NULL or self._job is None or not worker_take(<worker*>self._worker, &done):
            return 0
        job, client = self._job, self._client
        self._job, self._client = None, None
        if job.order.task == PACK and job.order.worth and not done.error:
            self.jobs += 1
            self.bytes_in += job.order.end
            self.bytes_out += job.order.packed.bytes
        if not job.dropped:
            client.repacked(job, done.error)
        return self._next()

    cpdef int drain(self) except -1:
        while self._job is not None:
            with nogil:
                worker_wait_for_answer(<worker*>self._worker)
            self.collect()
        return 0

    cpdef int close(self) except -1:
        """Waits for the block that is under way; what comes of it is for nobody."""
        self._waiting.clear()
        if self._job is not None:
            self._job.order.stop = True
        self._stop()
        self._job, self._client = None, None
        return 0
