# What was read from segments, or written to them a moment ago: windows of files in one bounded memory, shared by
# all stores of a server, least recently used first out. Cold parts are read by a worker thread.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.api cimport Load
from millpond.store.disk cimport Disk
from millpond.store.packer cimport Packer
from millpond.store.segment cimport Packed

cdef struct Window:
    uint64_t id                      # life of a segment file
    uint32_t key                     # cell << 1, or offset << 1 | 1 for a record with a window of its own
    uint32_t begin                   # offset of data[0]
    uint32_t end
    uint32_t capacity
    bint fresh                       # read ahead when somebody comes to it
    char* data
    Window* newer
    Window* older
    Window* next                     # in the hash chain

cdef struct PackedRead:              # what a read of a packed file is to make of the bytes
    Packed* packed
    uint32_t begin, end              # in the plain segment

cdef class ColdRead:
    cdef PackedRead packed           # packed.packed NULL: the file is plain
    cdef uint64_t id
    cdef uint32_t key, begin, size
    cdef char* data
    cdef int fd                      # our own
    cdef bint in_a_row               # somebody reads the file from its beginning, or from the window before on
    cdef list arrived                # callables, told when it is there; none: it is read ahead

cdef class ReadCache:
    cdef readonly Disk disk
    cdef readonly Packer packer      # of the same stores; its answers wake event_fd too
    cdef readonly int event_fd       # readable when cold reads have arrived; register it with the reactor
    cdef readonly uint64_t bytes, bytes_max
    cdef readonly uint64_t hits, hot_reads, cold_reads, waited_reads, ahead_reads
    cdef Window** _chains
    cdef Window* _newest
    cdef Window* _oldest
    cdef void* _worker
    cdef uint64_t _ids, _tickets
    cdef dict _jobs                  # {ticket: ColdRead}
    cdef dict _flying                # {(id, key): ColdRead}
    cdef dict _failed                # {(id, key): reason}; asked for once
    cdef list _starved               # callables that found too many cold reads in flight

    cdef uint64_t new_id(self) noexcept
    # The bytes [offset, offset + n) of a file, when they are here; else NULL. Valid until the next call on this cache.
    cdef char* find(self, uint64_t id, uint32_t offset, uint32_t n) noexcept
    # The same, read from `fd` when they are not here. COLD: a worker reads them, then calls `arrived()`. MISSING: the
    # file does not have them. `end`: nothing from there on is of use. `wait`: block instead. `drop`: the kernel's
    # pages of what was read are not needed any more. `packed`: how the file holds those bytes; NULL: as they are.
    # Raises OSError when the disk does.
    cdef Load fetch(self, uint64_t id, int fd, const Packed* packed, uint32_t offset, uint32_t n, uint32_t end,
                    bint wait, bint drop, object arrived, char** out) except *
    # Reads at once, sector by sector (of a packed file block by block); those that cannot be read are 0xFF. Fewer than
    # *n bytes where the file ends. The window is of these bytes alone.
    cdef char* fetch_around(self, uint64_t id, int fd, const Packed* packed, uint32_t offset, uint32_t* n) except NULL
    # After a find() whose window is fresh: the worker reads what follows of the file, up to `end`.
    cdef inline bint is_fresh(self) noexcept:
        return self._newest.fresh
    cdef int read_ahead(self, int fd, const Packed* packed, uint32_t end) except -1
    # Bytes that were just written at `begin`: kept as if they had been read.
    cdef int put(self, uint64_t id, uint32_t begin, const char* data, uint32_t n) except -1
    cdef int forget(self, uint64_t id) noexcept                  # that life has ended
    cpdef int collect(self) except -1                            # called when event_fd is readable
    cpdef int drain(self) except -1                              # blocks until every cold read has arrived (tests)
    cpdef int close(self) except -1
    cpdef int resize(self, uint64_t bytes_max) except -1         # the new bound holds at once; 0: nothing is kept

    cdef Window* _lookup(self, uint64_t id, uint32_t key) noexcept
    cdef void _use(self, Window* window) noexcept
    cdef void _unlink(self, Window* window) noexcept
    cdef void _drop(self, Window* window) noexcept
    cdef Window* _insert(self, uint64_t id, uint32_t key, uint32_t begin, uint32_t end, uint32_t capacity,
                         char* data) except NULL
    cdef int _put_cell(self, uint64_t id, uint32_t cell, uint32_t begin, const char* data, uint32_t n) except -1
    cdef size_t _read(self, int fd, const Packed* packed, uint32_t begin, uint32_t size, char* data, bint wait,
                      bint drop) except? 0xFFFFFFFFFFFFFFFF
    # `arrived` None: nobody waits for it.
    cdef int _submit(self, uint64_t id, uint32_t key, uint32_t begin, uint32_t size, int fd, const Packed* packed,
                     object arrived) except -1
    cdef bint _is_in_a_row(self, uint64_t id, uint32_t key) noexcept
    cdef int _arrive(self, ColdRead job, size_t got, int error) except -1
