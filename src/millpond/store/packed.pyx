"""Sealed segments, compressed.

    plain   | head | records ............................................................ |
            |<---- block 0, 64 KiB ---->|<---- block 1, 64 KiB ---->|<- block 2 ->|

    packed  | head, version 2 | block 0 | block 1 | block 2 |          each with a head and a checksum of its own

Everything that refers to the log goes on to do so: offsets, seeds, checksums and ends of records are those of the
plain segment, and so a block says where in it it belongs. A reader decodes the blocks of a range. A block that does
not verify reads as 0xFF: no record there verifies, the ones around it do. Blocks behind a damaged one are found by
search, as records are, so no table on disk is needed that could be damaged; a summary has one that saves the search.

A block was decoded and compared before it took the place of what it holds.

Of a block with one flipped bit the checksum says which: each place changes it in a way of its own. So it is mended here,
in what was read, and nowhere else in the store: several flipped bits may look like another single one, once in 2^32 /
places, and then what comes out of the block is wrong. Here that is harmless, for every record in the block has a
checksum as well, which the wrong bytes would have to meet. A plain record has no second checksum (decision 9).
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from millpond.store.checksum cimport crc32c
from millpond.store.disk cimport Disk
from millpond.store.record cimport ALIGN, aligned
from millpond.store.s2_block cimport BLOCK_BYTES as ENCODED_BYTES_MAX
from millpond.store.s2_block cimport HASH_ROWS, decode_first, encode, encoded_bytes_max
from millpond.store.segment cimport (
    PACKED,
    PLAIN,
    RECORDS_AT,
    Packed,
    PackedBlock,
    SegmentHead,
    segment_head_find,
    segment_head_write_as,
    segment_seed,
)
from millpond.store.summary cimport SummaryFoot

cdef enum:
    SEARCH_BYTES = 262_144           # of a file in memory while its blocks are looked for

assert sizeof(BlockHead) == 24, "the format's head"
assert <int>SEARCH_BYTES > <int>PACKED_MAX
assert <int>BLOCK_BYTES <= <int>ENCODED_BYTES_MAX, "the encoder takes a block whole"


cdef bint scratch_new(Scratch* out) noexcept nogil:
    out.plain, out.check = <char*>malloc(BLOCK_BYTES), <char*>malloc(BLOCK_BYTES)
    out.out = <char*>malloc(sizeof(BlockHead) + encoded_bytes_max(BLOCK_BYTES) + ALIGN)
    out.table = <uint16_t*>malloc(HASH_ROWS * sizeof(uint16_t))
    return out.plain != NULL and out.check != NULL and out.out != NULL and out.table != NULL


cdef void scratch_free(Scratch* scratch) noexcept nogil:
    free(scratch.plain)
    free(scratch.check)
    free(scratch.out)
    free(scratch.table)


# --- what is known of a file ---


cdef inline size_t _bytes_for(uint32_t count) noexcept:
    return sizeof(Packed) + <size_t>count * sizeof(PackedBlock)


cdef Packed* packed_new(uint32_t seed, uint32_t bytes, uint32_t end) except NULL:
    """bytes: of the plain file."""
    cdef uint32_t count = <uint32_t>((<uint64_t>bytes + BLOCK_BYTES - 1) // BLOCK_BYTES)
    cdef Packed* packed = <Packed*>calloc(1, _bytes_for(count))
    if packed == NULL:
        raise MemoryError(f"no memory for the places of {count} blocks")
    packed.references, packed.seed, packed.end, packed.count = 1, seed, end, count
    return packed


cdef void packed_keep(Packed* packed) noexcept:
    packed.references += 1


cdef void packed_let_go(Packed** packed) noexcept:
    if packed[0] != NULL:
        packed[0].references -= 1
        if packed[0].references == 0:
            free(packed[0])
    packed[0] = NULL


cdef uint64_t packed_memory(const Packed* packed) noexcept:
    return 0 if packed == NULL else _bytes_for(packed.count)


# --- one block ---


cdef uint32_t pack_block(Scratch* scratch, uint32_t n, uint32_t at, uint32_t end, uint32_t seed) noexcept nogil:
    cdef BlockHead* head = <BlockHead*>scratch.out
    cdef char* body = scratch.out + sizeof(BlockHead)
    cdef uint32_t length
    head.length = <uint32_t>encode(<const uint8_t*>scratch.plain, n, <uint8_t*>body, scratch.table)
    head.coding = S2
    if head.length >= n:
        memcpy(body, scratch.plain, n)
        head.length, head.coding = n, STORED
    head.at, head.plain, head.end = at, n, end
    head.crc = crc32c(seed, scratch.out + 4, sizeof(BlockHead) - 4 + head.length)
    length = <uint32_t>sizeof(BlockHead) + head.length
    memset(scratch.out + length, 0, aligned(length) - length)
    if not _unpack_block(scratch.out, n, scratch.check) or memcmp(scratch.check, scratch.plain, n) != 0:
        return 0
    return aligned(length)


cdef bint _unpack_block(const char* block, uint32_t want, char* out) noexcept nogil:
    """The first bytes of a block that verifies."""
    cdef const BlockHead* head = <const BlockHead*>block
    cdef const char* body = block + sizeof(BlockHead)
    if want > head.plain:
        return False
    if head.coding == STORED:
        memcpy(out, body, want)
        return True
    return decode_first(<const uint8_t*>body, head.length, <uint8_t*>out, head.plain, want)


cdef bint _block_valid(const char* at, size_t have, uint32_t seed) noexcept nogil:
    cdef const BlockHead* head = <const BlockHead*>at
    if have < sizeof(BlockHead) or head.length == 0 or head.length > have - sizeof(BlockHead):
        return False
    if head.plain == 0 or head.plain > BLOCK_BYTES or head.at % BLOCK_BYTES or head.length > head.plain:
        return False
    if head.coding > S2 or (head.coding == STORED and head.length != head.plain):
        return False
    if <uint64_t>head.at + head.plain > head.end:
        return False
    return crc32c(seed, at + 4, sizeof(BlockHead) - 4 + head.length) == head.crc


# --- mending ---

cdef enum:
    POLYNOMIAL = 0x82F63B78          # CRC-32C, reflected


cdef int64_t _flipped_bit(uint32_t syndrome, uint64_t bits) noexcept nogil:
    """Which of so many bits changes the checksum by that, from the first one; -1: none. From the last one backwards
    each does what the one behind it does, and one more step of the register."""
    cdef uint32_t change = POLYNOMIAL
    cdef uint64_t i
    for i in range(bits):
        if change == syndrome:
            return <int64_t>(bits - 1 - i)
        change = (change >> 1) ^ (POLYNOMIAL if change & 1 else 0)
    return -1


cdef bint _mend_length(char* block, uint32_t have, uint32_t seed) noexcept nogil:
    """The flipped bit is one of the length, which says how far the checksum goes."""
    cdef BlockHead* head = <BlockHead*>block
    cdef uint32_t length = head.length, i, wanted
    for i in range(ALIGN):
        wanted = have - i - <uint32_t>sizeof(BlockHead)
        if wanted != length and (wanted ^ length) & ((wanted ^ length) - 1) == 0:
            head.length = wanted
            if _block_valid(block, have, seed):
                return True
    head.length = length
    return False


cdef bint _mend(char* block, uint32_t have, uint32_t seed) noexcept nogil:
    """Flips the one bit that explains its checksum; False: there is none, or two could be it. `have`: with padding or
    without."""
    cdef BlockHead* head = <BlockHead*>block
    cdef uint32_t length = <uint32_t>sizeof(BlockHead) + head.length, syndrome
    cdef int64_t bit
    if _mend_length(block, have, seed):
        return True
    if head.length > have or aligned(length) != aligned(have):
        return False
    syndrome = crc32c(seed, block + 4, length - 4) ^ head.crc
    bit = _flipped_bit(syndrome, <uint64_t>(length - 4) * 8)
    if syndrome & (syndrome - 1) == 0:             # of the checksum itself
        head.crc ^= syndrome
        return bit < 0 and _block_valid(block, have, seed)
    if bit < 0:
        return False
    block[4 + bit // 8] ^= <char>(1 << bit % 8)
    return _block_valid(block, have, seed)


cdef char* _mended(const char* data, uint32_t have, uint32_t seed) noexcept nogil:
    """A copy of the block that verifies; the caller frees it. NULL: it cannot be had."""
    cdef char* block
    if have < sizeof(BlockHead) or have > PACKED_MAX:
        return NULL
    block = <char*>malloc(have)
    if block != NULL:
        memcpy(block, data, have)
        if _mend(block, have, seed):
            return block
        free(block)
    return NULL


cdef bint _unpack_mended(const char* data, uint32_t have, uint32_t at, uint32_t seed, uint32_t want,
                         char* out) noexcept nogil:
    """The same as for a block that verifies."""
    cdef char* block = _mended(data, have, seed)
    cdef bint whole = block != NULL and (<BlockHead*>block).at == at and _unpack_block(block, want, out)
    free(block)
    return whole


# --- ranges ---


cdef void packed_extent(const Packed* packed, uint32_t begin, uint32_t end, uint32_t* file_at,
                        uint32_t* file_end) noexcept nogil:
    cdef uint32_t i
    file_at[0] = file_end[0] = 0
    for i in range(begin // BLOCK_BYTES, packed.count):
        if <uint64_t>i * BLOCK_BYTES >= end:
            break
        if packed.blocks[i].at:
            if not file_at[0]:
                file_at[0] = packed.blocks[i].at
            file_end[0] = packed.blocks[i].at + packed.blocks[i].length


cdef uint32_t unpack(const Packed* packed, const char* file, uint32_t file_at, size_t file_n, uint32_t begin, uint32_t end,
                     char* out) noexcept nogil:
    cdef uint32_t at = begin, i, want, mended = 0
    cdef const PackedBlock* block
    cdef const char* data
    cdef bint whole
    while at < end:
        i, want = at // BLOCK_BYTES, min(end - at, <uint32_t>BLOCK_BYTES)
        whole = False
        if i < packed.count:
            block = &packed.blocks[i]
            if block.at and block.at >= file_at and block.at - file_at + <uint64_t>block.length <= file_n:
                data = file + (block.at - file_at)
                if _block_valid(data, block.length, packed.seed):
                    whole = (<const BlockHead*>data).at == at and _unpack_block(data, want, out + (at - begin))
                else:
                    whole = _unpack_mended(data, block.length, at, packed.seed, want, out + (at - begin))
                    mended += whole
        if not whole:
            memset(out + (at - begin), 0xFF, want)
        at += want
    return mended


# --- whole files ---


cdef Packed* packed_open(Disk disk, int fd, const SegmentHead* head, uint64_t size) except NULL:
    cdef Packed* packed = packed_new(segment_seed(head), head.bytes, 0)
    cdef char* window = <char*>malloc(SEARCH_BYTES)
    cdef uint64_t at = RECORDS_AT, window_at = 0
    cdef size_t have = 0
    try:
        if window == NULL:
            raise MemoryError("no memory to look for blocks")
        packed.bytes = <uint32_t>min(size, <uint64_t>0xFFFFFFFF)
        while at + sizeof(BlockHead) <= packed.bytes:
            if at + PACKED_MAX > window_at + have and window_at + have < packed.bytes:
                window_at = at
                have = disk.read(fd, window, SEARCH_BYTES, at)
                if have < sizeof(BlockHead):
                    break
            at += _note_block(packed, window + (at - window_at), have - (at - window_at), <uint32_t>at)
    except BaseException:
        packed_let_go(&packed)
        raise
    finally:
        free(window)
    return packed


cdef Packed* packed_placed(const SegmentHead* head, const SummaryFoot* foot, const char* body, uint64_t size) except NULL:
    cdef Packed* packed = packed_new(segment_seed(head), head.bytes, foot.end)
    cdef uint32_t i
    packed.bytes = <uint32_t>size
    memcpy(packed.blocks, body + aligned(foot.steps), min(foot.blocks, packed.count) * sizeof(PackedBlock))
    for i in range(packed.count):                  # a block is read into PACKED_MAX bytes
        if packed.blocks[i].length > PACKED_MAX or packed.blocks[i].at + <uint64_t>packed.blocks[i].length > size:
            packed.blocks[i] = PackedBlock(0, 0)
    return packed


cdef uint32_t _note_block(Packed* packed, const char* at, size_t have, uint32_t file_at) noexcept:
    """How far to go on: over a block that verifies."""
    cdef const BlockHead* head = <const BlockHead*>at
    cdef char* block = NULL
    cdef uint32_t length
    if not _block_valid(at, have, packed.seed):
        if have >= sizeof(BlockHead) and head.length <= <uint32_t>BLOCK_BYTES and head.at % BLOCK_BYTES == 0 \
                and sizeof(BlockHead) + head.length <= have:
            block = _mended(at, <uint32_t>sizeof(BlockHead) + head.length, packed.seed)
        if block == NULL:
            return ALIGN
        length = _note_block(packed, block, sizeof(BlockHead) + head.length, file_at)
        free(block)
        return length
    if head.at // BLOCK_BYTES >= packed.count:
        return ALIGN
    packed.end = head.end
    packed.blocks[head.at // BLOCK_BYTES].at = file_at
    packed.blocks[head.at // BLOCK_BYTES].length = <uint32_t>sizeof(BlockHead) + head.length
    return aligned(<uint32_t>sizeof(BlockHead) + head.length)


cdef int packed_read(Disk disk, int fd, const Packed* packed, uint32_t offset, uint32_t n, char* out) except -1:
    """Block by block, so that little memory is needed whatever n is."""
    cdef char* file = <char*>malloc(PACKED_MAX)
    cdef char* plain = <char*>malloc(BLOCK_BYTES)
    cdef uint32_t at = offset // BLOCK_BYTES * BLOCK_BYTES, begin, end, file_at, file_end
    cdef size_t got
    try:
        if file == NULL or plain == NULL:
            raise MemoryError("no memory to read a block")
        while at < offset + n:
            begin, end = max(at, offset), min(at + BLOCK_BYTES, offset + n)
            packed_extent(packed, at, end, &file_at, &file_end)
            got = disk.read(fd, file, min(file_end - file_at, <uint32_t>PACKED_MAX), file_at) if file_at else 0
            unpack(packed, file, file_at, got, at, end, plain)
            memcpy(out + (begin - offset), plain + (begin - at), end - begin)
            at += BLOCK_BYTES
    finally:
        free(file)
        free(plain)
    return 0


def plain_bytes(bytes data):
    """A segment file as it was before it was packed, up to the end of its records; a plain one as it is."""
    return _plain(data)[0]


def mended_blocks(bytes data):
    """How many blocks of a segment file have a bit flipped, and are mended when they are read."""
    return _plain(data)[1]


cdef tuple _plain(bytes data):
    cdef SegmentHead head
    cdef const char* file = <const char*>data
    cdef size_t n = len(data), at = RECORDS_AT
    cdef Packed* packed
    cdef bytearray out
    if not segment_head_find(file, n, &head) or head.version != PACKED:
        return data, 0
    packed = packed_new(segment_seed(&head), head.bytes, 0)
    try:
        while at + sizeof(BlockHead) <= n:
            at += _note_block(packed, file + at, n - at, <uint32_t>at)
        out = bytearray(max(packed.end, <uint32_t>RECORDS_AT))
        mended = unpack(packed, file, 0, n, 0, <uint32_t>len(out), <char*>out)
        segment_head_write_as(&head, PLAIN, <char*>out)
        return bytes(out), mended
    finally:
        packed_let_go(&packed)
