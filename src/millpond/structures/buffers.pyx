"""Byte buffers for outboxes and unfinished frames.

A buffer doubles. One that is `bulky` jumps from a few hundred bytes over a page to what a busy connection
gathers in a turn, so hardly anything is copied on the way; 98,304 bytes stay below the size from which malloc
would map and unmap pages each time. What strangers fill is not bulky.

Larger ones, of messages of hundreds of kilobytes, are kept for the next one that is as large: else the kernel would take
back their pages, and clear them anew, for every message. Whoever owns the clock gives back those that nobody wanted.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cdef enum:
    FIRST_BYTES = 512
    PAGE_BYTES = 4096
    BUSY_BYTES = 98304
    LARGE_BYTES = 131072         # from here on the allocator may ask the kernel each time
    KEPT_BYTES_MAX = 8388608     # of all that are kept
    KEPT_MAX = 8

cdef struct Kept:
    char* data
    size_t bytes

cdef Kept[KEPT_MAX] _kept        # the oldest first
cdef int _kept_count = 0
cdef size_t _kept_bytes = 0
cdef bint _kept_wanted = False   # one was taken since `give_back` was called last


cdef char* _take(size_t size) noexcept:
    """Memory of this size, or NULL."""
    global _kept_wanted
    cdef int at
    if size >= LARGE_BYTES:
        for at in range(_kept_count - 1, -1, -1):
            if _kept[at].bytes == size:
                _kept_wanted = True
                return _let_go(at)
    return <char*>malloc(size)


cdef void _leave(char* data, size_t size) noexcept:
    """It is not used any more."""
    global _kept_count, _kept_bytes
    if size < LARGE_BYTES or size > KEPT_BYTES_MAX:
        free(data)
        return
    while _kept_count == KEPT_MAX or _kept_bytes + size > KEPT_BYTES_MAX:
        free(_let_go(0))
    _kept[_kept_count].data, _kept[_kept_count].bytes = data, size
    _kept_count += 1
    _kept_bytes += size


cdef char* _let_go(int at) noexcept:
    global _kept_count, _kept_bytes
    cdef char* data = _kept[at].data
    _kept_bytes -= _kept[at].bytes
    _kept_count -= 1
    memmove(&_kept[at], &_kept[at + 1], <size_t>(_kept_count - at) * sizeof(Kept))
    return data


def kept_bytes():
    """Bytes of large buffers that are kept for the next ones, of all servers in this process."""
    return _kept_bytes


def give_back(bint all=False):
    """Frees what is kept, when nobody has wanted any of it since this was asked last. all: in any case."""
    global _kept_wanted
    if all or not _kept_wanted:
        while _kept_count:
            free(_let_go(_kept_count - 1))
    _kept_wanted = False


cdef inline size_t _capacity(size_t before, size_t needed, bint bulky) noexcept:
    cdef size_t wanted = before if before else FIRST_BYTES
    if bulky and 0 < before < BUSY_BYTES:
        wanted = BUSY_BYTES if before >= PAGE_BYTES else PAGE_BYTES
    while wanted < needed:
        wanted *= 2
    return wanted


@cython.no_gc
cdef class ByteBuffer:
    """Invariant: head <= tail <= capacity; data is NULL exactly when capacity is 0."""

    def __dealloc__(self):
        self.release()

    cdef char* reserve(self, size_t n) except NULL:
        cdef size_t used = self.tail - self.head, wanted
        cdef char* grown
        if self.capacity - self.tail < n or self.data == NULL:
            if self.head > 0 and self.capacity - used >= n and self.head >= used:
                memcpy(self.data, self.data + self.head, used)
                self.head, self.tail = 0, used
            else:
                wanted = _capacity(self.capacity, used + n, self.bulky)
                grown = _take(wanted)
                if grown == NULL:
                    raise MemoryError(f"no memory for an output buffer of {wanted} bytes")
                if used:
                    memcpy(grown, self.data + self.head, used)
                _leave(self.data, self.capacity)
                if self.budget is not None:
                    self.budget.charge(<int64_t>(wanted - self.capacity))
                self.data, self.capacity = grown, wanted
                self.head, self.tail = 0, used
        return self.data + self.tail

    cdef int append(self, const void* source, size_t n) except -1:
        memcpy(self.reserve(n if n else 1), source, n)
        self.tail += n
        return 0

    cdef void consume(self, size_t n) noexcept:
        assert_ok(n <= self.tail - self.head)
        self.head += n
        if self.head == self.tail:
            self.head = self.tail = 0

    cdef void cut(self, size_t n) noexcept:
        assert_ok(n <= self.tail - self.head)
        self.tail = self.head + n
        if n == 0:
            self.head = self.tail = 0

    cdef void release(self) noexcept:
        _leave(self.data, self.capacity)
        if self.budget is not None and self.capacity:
            self.budget.release(<int64_t>self.capacity)
        self.data = NULL
        self.head = self.tail = self.capacity = 0

    # --- Python's door, for tests and the control plane ---

    def write(self, bytes data):
        """Append bytes."""
        self.append(<const char*>data, len(data))

    def peek(self):
        """The content, copied."""
        return PyBytes_FromStringAndSize(self.data + self.head, self.tail - self.head) if self.data else b""

    def skip(self, size_t n):
        """Take n bytes out at the head (at most what is there)."""
        self.consume(min(n, self.tail - self.head))

    def __len__(self):
        return self.tail - self.head

    def expect_much(self):
        """Be bulky from now on."""
        self.bulky = True

    @property
    def allocated(self):
        """Bytes held from the allocator."""
        return self.capacity


cdef inline void assert_ok(bint condition) noexcept:
    if not condition:
        abort_on_bug()


cdef extern from "stdlib.h":
    void abort_on_bug "abort"() noexcept
