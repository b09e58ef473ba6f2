# A sealed segment in a compressed file: blocks of 64 KiB of it, each readable on its own. FORMAT.md draws it.
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from millpond.store.disk cimport Disk
from millpond.store.segment cimport Packed, SegmentHead
from millpond.store.summary cimport SummaryFoot

cdef enum:
    BLOCK_BYTES = 65536              # of the plain segment, at most

cdef enum Coding:
    STORED = 0                       # as it is
    S2 = 1

cdef packed struct BlockHead:        # little-endian, 24 bytes; what it holds follows
    uint32_t crc                     # seeded as the segment's records; of everything from `length` to the block's end
    uint32_t length                  # of what follows this head
    uint32_t at                      # offset in the plain segment, a multiple of BLOCK_BYTES
    uint32_t plain                   # bytes of it that are here
    uint32_t end                     # of the plain segment's records
    uint32_t coding

cdef enum:
    PACKED_MAX = BLOCK_BYTES + 32    # bytes of a block, its head and the padding included

cdef struct Scratch:                 # what packing works in
    char* plain                      # BLOCK_BYTES
    char* check                      # BLOCK_BYTES
    char* out                        # what the encoder may need, and a head
    uint16_t* table

cdef bint scratch_new(Scratch* out) noexcept nogil       # False: no memory
cdef void scratch_free(Scratch* scratch) noexcept nogil

cdef Packed* packed_new(uint32_t seed, uint32_t bytes, uint32_t end) except NULL
cdef void packed_keep(Packed* packed) noexcept           # one more that uses it
cdef void packed_let_go(Packed** packed) noexcept        # one less, here NULL now; NULL before: nothing to do
cdef uint64_t packed_memory(const Packed* packed) noexcept

# Makes a block of the n bytes in scratch.plain, in scratch.out; returns its length, padding included. 0: what comes
# back from it is something else.
cdef uint32_t pack_block(Scratch* scratch, uint32_t n, uint32_t at, uint32_t end, uint32_t seed) noexcept nogil
# The range of the file that has the blocks of the plain range [begin, end).
cdef void packed_extent(const Packed* packed, uint32_t begin, uint32_t end, uint32_t* file_at,
                        uint32_t* file_end) noexcept nogil
# The plain bytes [begin, end), begin a multiple of BLOCK_BYTES, from that range; 0xFF where a block does not verify and
# cannot be mended. Returns of how many blocks one bit was flipped: they come out as they were.
cdef uint32_t unpack(const Packed* packed, const char* file, uint32_t file_at, size_t file_n, uint32_t begin, uint32_t end,
                     char* out) noexcept nogil

# Finds the blocks of a file with that head, also behind damage. Raises OSError, MemoryError.
cdef Packed* packed_open(Disk disk, int fd, const SegmentHead* head, uint64_t size) except NULL
# The same, as a summary has their places. `size`: of the file, without the summary. Raises MemoryError.
cdef Packed* packed_placed(const SegmentHead* head, const SummaryFoot* foot, const char* body, uint64_t size) except NULL
# n bytes from `offset` of the plain segment on. Blocks until they are read. Raises OSError, MemoryError.
cdef int packed_read(Disk disk, int fd, const Packed* packed, uint32_t offset, uint32_t n, char* out) except -1
