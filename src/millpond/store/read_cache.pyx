"""A bounded cache of parts of segment files, in place of the kernel's, which would count as the server's memory.

A file is divided into cells of READ_WINDOW_BYTES. The window of a cell holds the cell and a little more, so that
small records that begin in it are whole; a record that does not fit has a window of its own. Windows of a segment
that is being written grow with it (`put`), so a consumer that keeps up never reads from disk.

    fetch:  window here? ──yes──> a view
              │ no
            in the page cache? ──yes──> read it now, drop the pages
              │ no
            worker thread reads, drops the pages ──event_fd──> collect() ──> arrived()

Who reads a file from the disk window by window does not wait for each: when he comes to a window that the worker has
read, the next few are read ahead.

A window holds the segment as it was written; of a packed file its blocks are decoded for that, where they are read.
"""

import os

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from millpond.store.api cimport COLD, FOUND, MISSING, Load
from millpond.store.disk cimport Disk
from millpond.store.packed cimport BLOCK_BYTES, packed_extent, packed_keep, packed_let_go, unpack
from millpond.store.packer cimport Packer
from millpond.store.record cimport PAGE
from millpond.store.segment cimport Packed
from millpond.store.worker cimport (
    worker, worker_clear_wake, worker_job, worker_start, worker_stop, worker_submit, worker_take,
    worker_wait_for_answer,
)

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.disk import REAL
from millpond.store.space import is_shortage

cdef extern from "read_thread.h" nogil:
    void read_act(worker_job* job)

cdef enum:
    CHAINS = 1024                    # power of two
    MORE_BYTES = 4096                # of the next cell that a window holds as well

cdef uint64_t SPREAD = 0x9E3779B97F4A7C15
cdef uint32_t CELL = limits.READ_WINDOW_BYTES
assert CELL % <uint32_t>BLOCK_BYTES == 0, "a cell begins where a block of a packed file does"
cdef int COLD_READS_MAX = limits.COLD_READS_MAX
cdef uint32_t AHEAD = limits.READ_AHEAD_WINDOWS
cdef int READ_THREADS_MAX = limits.READ_THREADS_MAX


cdef inline uint32_t _chain(uint64_t id, uint32_t key) noexcept:
    return <uint32_t>((id * SPREAD + key * (SPREAD >> 1 | 1)) >> 40) & (CHAINS - 1)


cdef class ColdRead:
    """A read that the worker does."""

    def __dealloc__(self):
        free(self.data)
        packed_let_go(&self.packed.packed)


cdef void _act(worker_job* job) noexcept nogil:
    """The worker's part."""
    cdef const PackedRead* read = <const PackedRead*>job.packed
    cdef char* out = job.data
    cdef uint32_t file_at, file_end
    if read == NULL:
        read_act(job)
        return
    packed_extent(read.packed, read.begin, read.end, &file_at, &file_end)
    job.offset, job.size = file_at, file_end - file_at
    job.data = <char*>malloc(job.size + 1)
    if job.data == NULL:
        job.error = ENOMEM
        return
    read_act(job)
    if not job.error:
        unpack(read.packed, job.data, file_at, job.got, read.begin, read.end, out)
        job.got = read.end - read.begin
    free(job.data)


cdef class ReadCache:
    """One per server. bytes_max: memory of all windows together (one larger record may exceed it alone)."""

    def __init__(self, bytes_max=limits.READ_CACHE_BYTES, Disk disk=None):
        cdef int error
        self.disk, self.bytes_max = disk or REAL, bytes_max
        self._jobs, self._flying, self._failed, self._starved = {}, {}, {}, []
        self._chains = <Window**>calloc(CHAINS, sizeof(Window*))
        self._worker = <void*>PyMem_Calloc(1, sizeof(worker))
        if self._chains == NULL or self._worker == NULL:
            raise MemoryError("no memory for the read cache")
        error = worker_start(<worker*>self._worker, _act, READ_THREADS_MAX, &self.disk.for_workers)
        if error:
            raise StoreError(f"cannot start the read worker: {os.strerror(error)}")
        self.event_fd = (<worker*>self._worker).wake_read
        self.packer = Packer((<worker*>self._worker).wake_write)

    def __dealloc__(self):
        if self._worker != NULL:
            with nogil:
                worker_stop(<worker*>self._worker)
            PyMem_Free(self._worker)
        while self._oldest != NULL:
            self._drop(self._oldest)
        free(self._chains)

    cdef uint64_t new_id(self) noexcept:
        self._ids += 1
        return self._ids

    cpdef int resize(self, uint64_t bytes_max) except -1:
        self.bytes_max = bytes_max
        while self.bytes > bytes_max:
            self._drop(self._oldest)
        return 0

    # --- windows ---

    cdef Window* _lookup(self, uint64_t id, uint32_t key) noexcept:
        cdef Window* window = self._chains[_chain(id, key)]
        while window != NULL and (window.id != id or window.key != key):
            window = window.next
        return window

    cdef void _use(self, Window* window) noexcept:
        """It is the newest now."""
        if self._newest == window:
            return
        self._unlink(window)
        window.older, window.newer = self._newest, NULL
        if self._newest != NULL:
            self._newest.newer = window
        self._newest = window
        if self._oldest == NULL:
            self._oldest = window

    cdef void _unlink(self, Window* window) noexcept:
        if window.newer != NULL:
            window.newer.older = window.older
        elif self._newest == window:
            self._newest = window.older
        if window.older != NULL:
            window.older.newer = window.newer
        elif self._oldest == window:
            self._oldest = window.newer
        window.newer, window.older = NULL, NULL

    cdef void _drop(self, Window* window) noexcept:
        cdef Window** place = &self._chains[_chain(window.id, window.key)]
        while place[0] != window:                  # it is in its chain
            place = &place[0].next
        place[0] = window.next
        self._unlink(window)
        self.bytes -= window.capacity
        free(window.data)
        free(window)

    cdef Window* _insert(self, uint64_t id, uint32_t key, uint32_t begin, uint32_t end, uint32_t capacity,
                         char* data) except NULL:
        """Takes `data` over; a window of that key gives way, and the least used ones do when memory is short."""
        cdef Window* window = self._lookup(id, key)
        cdef Window** place
        if window != NULL:
            self._drop(window)
        window = <Window*>calloc(1, sizeof(Window))
        if window == NULL:
            free(data)
            raise MemoryError
        window.id, window.key, window.begin, window.end = id, key, begin, end
        window.capacity, window.data = capacity, data
        place = &self._chains[_chain(id, key)]
        window.next, place[0] = place[0], window
        self.bytes += capacity
        self._use(window)
        while self.bytes > self.bytes_max and self._oldest != window:
            self._drop(self._oldest)
        return window

    cdef char* find(self, uint64_t id, uint32_t offset, uint32_t n) noexcept:
        cdef Window* window = self._lookup(id, offset // CELL << 1)
        if window == NULL or offset < window.begin or <uint64_t>offset + n > window.end:
            window = self._lookup(id, offset << 1 | 1)
            if window == NULL or <uint64_t>offset + n > window.end:
                return NULL
        self._use(window)
        self.hits += 1
        return window.data + (offset - window.begin)

    # --- reading ---

    cdef Load fetch(self, uint64_t id, int fd, const Packed* packed, uint32_t offset, uint32_t n, uint32_t end,
                    bint wait, bint drop, object arrived, char** out) except *:
        cdef uint32_t begin = offset // CELL * CELL, key = offset // CELL << 1, size
        cdef size_t got
        cdef char* data
        cdef Window* window
        assert <uint64_t>offset + n <= end
        out[0] = self.find(id, offset, n)
        if out[0] != NULL:
            return FOUND
        if offset + n - begin > CELL + MORE_BYTES:
            key = offset << 1 | 1
            if packed == NULL:                     # else from the start of its block on, which is a cell's
                begin = offset
            size = offset + n - begin
        else:
            size = min(end - begin, CELL + MORE_BYTES)
        reason = self._failed.pop((id, key), None)
        if reason is not None:
            raise OSError(reason, os.strerror(reason))
        if not wait and (id, key) in self._flying:
            self._submit(id, key, begin, size, fd, packed, arrived)
            return COLD
        data = <char*>malloc(size)
        if data == NULL:
            raise MemoryError
        try:
            got = self._read(fd, packed, begin, size, data, wait, drop)
        except BaseException:
            free(data)
            raise
        if begin + got < <uint64_t>offset + n:
            free(data)
            if wait:
                return MISSING
            self._submit(id, key, begin, size, fd, packed, arrived)
            return COLD
        if wait:
            self.waited_reads += 1
        else:
            self.hot_reads += 1
        window = self._insert(id, key, begin, begin + <uint32_t>got, size, data)
        out[0] = window.data + (offset - begin)
        return FOUND

    cdef char* fetch_around(self, uint64_t id, int fd, const Packed* packed, uint32_t offset, uint32_t* n) except NULL:
        cdef uint32_t begin = offset if packed == NULL else offset // CELL * CELL, size = offset + n[0] - begin, at = 0, step
        cdef size_t got
        cdef char* data = <char*>malloc(size)
        if data == NULL:
            raise MemoryError
        while at < size:
            step = min(size - at, CELL if packed != NULL else PAGE - (begin + at) % PAGE)
            try:
                try:
                    got = self._read(fd, packed, begin + at, step, data + at, True, False)
                except OSError as error:
                    if is_shortage(error):
                        raise
                    memset(data + at, 0xFF, step)
                    got = step
            except BaseException:
                free(data)
                raise
            at += <uint32_t>got
            if got < step:
                break
        n[0] = at - min(at, offset - begin)
        return self._insert(id, offset << 1 | 1, begin, begin + at, size, data).data + (offset - begin)

    cdef int read_ahead(self, int fd, const Packed* packed, uint32_t end) except -1:
        cdef Window* window = self._newest
        cdef uint32_t key = window.key, begin, i
        cdef uint64_t id = window.id
        window.fresh = False
        for i in range(AHEAD):
            key += 2
            begin = (key >> 1) * CELL
            if begin >= end or len(self._jobs) >= COLD_READS_MAX // 2:
                break
            if self._lookup(id, key) != NULL or (id, key) in self._flying:
                continue
            try:
                self._submit(id, key, begin, min(end - begin, CELL + MORE_BYTES), fd, packed, None)
            except (MemoryError, OSError):
                break                              # nobody has asked for it yet
            self.ahead_reads += 1
        return 0

    cdef bint _is_in_a_row(self, uint64_t id, uint32_t key) noexcept:
        return key == 0 or (key & 1 == 0 and self._lookup(id, key - 2) != NULL)

    cdef size_t _read(self, int fd, const Packed* packed, uint32_t begin, uint32_t size, char* data, bint wait,
                      bint drop) except? 0xFFFFFFFFFFFFFFFF:
        """The bytes of a segment; without `wait` 0 or fewer when the disk is needed for them."""
        cdef uint32_t at = begin, n = size, file_end
        cdef char* to = data
        cdef size_t got
        if packed != NULL:
            packed_extent(packed, begin, begin + size, &at, &file_end)
            n = file_end - at
            to = <char*>malloc(n + <size_t>1)
            if to == NULL:
                raise MemoryError
        try:
            got = self.disk.read(fd, to, n, at) if wait else self.disk.read_hot(fd, to, n, at)
            if packed != NULL:
                if got < n and not wait:
                    return 0
                unpack(packed, to, at, got, begin, begin + size, data)
                got = size
        finally:
            if packed != NULL:
                free(to)
        if drop:
            self.disk.drop(fd, at, n)
        return got

    cdef int _submit(self, uint64_t id, uint32_t key, uint32_t begin, uint32_t size, int fd, const Packed* packed,
                     object arrived) except -1:
        cdef ColdRead job = self._flying.get((id, key))
        cdef worker_job order
        if job is not None:
            if arrived not in job.arrived:
                job.arrived.append(arrived)
            return 0
        if len(self._jobs) >= COLD_READS_MAX:
            if arrived not in self._starved:
                self._starved.append(arrived)
            return 0
        job = ColdRead()
        job.data = <char*>malloc(size)
        if job.data == NULL:
            raise MemoryError
        job.id, job.key, job.begin, job.size = id, key, begin, size
        job.arrived = [] if arrived is None else [arrived]
        job.in_a_row = arrived is None or self._is_in_a_row(id, key)
        job.fd = self.disk.duplicate(fd)
        memset(&order, 0, sizeof(worker_job))
        self._tickets += 1
        order.ticket, order.fd, order.offset, order.data, order.size = self._tickets, job.fd, begin, job.data, size
        order.disk = &self.disk.for_workers
        if packed != NULL:
            job.packed = PackedRead(<Packed*>packed, begin, begin + size)
            packed_keep(job.packed.packed)
            order.packed = &job.packed
        if worker_submit(<worker*>self._worker, order):
            self.disk.close(job.fd)
            raise MemoryError("no memory to queue a read")
        self._jobs[self._tickets] = self._flying[(id, key)] = job
        self.cold_reads += 1
        return 0

    cpdef int collect(self) except -1:
        cdef worker_job done
        cdef list starved
        if self._worker == NULL:
            return 0
        worker_clear_wake(<worker*>self._worker)
        self.packer.collect()
        while worker_take(<worker*>self._worker, &done):
            self._arrive(self._jobs.pop(done.ticket), done.got, done.error)
        starved, self._starved = self._starved, []
        for arrived in starved:
            arrived()
        return 0

    cdef int _arrive(self, ColdRead job, size_t got, int error) except -1:
        cdef char* data = job.data
        self.disk.close(job.fd)
        del self._flying[(job.id, job.key)]
        job.data = NULL
        if error:
            free(data)
            if job.arrived:                        # else whoever comes to it asks again
                self._failed[(job.id, job.key)] = error
        else:
            self._insert(job.id, job.key, job.begin, job.begin + <uint32_t>got, job.size, data).fresh = job.in_a_row
        for arrived in job.arrived:
            arrived()
        return 0

    cpdef int drain(self) except -1:
        while self._jobs:
            with nogil:
                worker_wait_for_answer(<worker*>self._worker)
            self.collect()
        return 0

    # --- what was written ---

    cdef int put(self, uint64_t id, uint32_t begin, const char* data, uint32_t n) except -1:
        cdef uint32_t cell, end = begin + n, at = begin, to
        if n > self.bytes_max >> 2:                # only the newest is likely to be asked for
            at = end - <uint32_t>(self.bytes_max >> 2)
        while at < end:
            cell = at // CELL
            to = min(end, cell * CELL + CELL + MORE_BYTES)
            self._put_cell(id, cell, at, data + (at - begin), to - at)
            at = cell * CELL + CELL
        return 0

    cdef int _put_cell(self, uint64_t id, uint32_t cell, uint32_t begin, const char* data, uint32_t n) except -1:
        cdef Window* window = self._lookup(id, cell << 1)
        cdef uint32_t capacity
        cdef char* grown
        if window == NULL or not window.begin <= begin <= window.end:
            capacity = min((n + 4095) & ~<uint32_t>4095, CELL + MORE_BYTES)
            grown = <char*>malloc(capacity)
            if grown == NULL:
                raise MemoryError
            memcpy(grown, data, n)
            self._insert(id, cell << 1, begin, begin + n, capacity, grown)
            return 0
        if begin + n - window.begin > window.capacity:
            capacity = min(max(window.capacity * 2, (begin + n - window.begin + 4095) & ~<uint32_t>4095),
                           CELL + MORE_BYTES)
            grown = <char*>realloc(window.data, capacity)
            if grown == NULL:
                raise MemoryError
            self.bytes += capacity - window.capacity
            window.data, window.capacity = grown, capacity
        memcpy(window.data + (begin - window.begin), data, n)
        window.end = max(window.end, begin + n)
        self._use(window)
        while self.bytes > self.bytes_max and self._oldest != window:
            self._drop(self._oldest)
        return 0

    cdef int forget(self, uint64_t id) noexcept:
        cdef Window* window = self._newest
        cdef Window* older
        while window != NULL:
            older = window.older
            if window.id == id:
                self._drop(window)
            window = older
        return 0

    cpdef int close(self) except -1:
        """Waits for reads that run; nobody is told of them any more."""
        if self._worker == NULL:
            return 0
        self.packer.close()
        for job in self._jobs.values():
            (<ColdRead>job).arrived.clear()
        self._starved.clear()
        self.drain()
        with nogil:
            worker_stop(<worker*>self._worker)
        PyMem_Free(self._worker)
        self._worker = NULL
        while self._oldest != NULL:
            self._drop(self._oldest)
        return 0
