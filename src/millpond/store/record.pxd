# One record of the log: its bytes, written and verified. FORMAT.md draws it.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from millpond.store.api cimport Record

cdef enum Kind:
    MESSAGE = 1
    REMOVE = 2           # body: sequences (u64) that are gone
    FLOOR = 3            # seq: everything below is gone
    FIRST = 4            # seq: nothing below is issued again; an empty store begins here
    TRIM = 5             # seq: no segment of a lower generation belongs to the log any more
    ERASED = 6           # a message whose content was overwritten; seq is what it was
    CLEAN = 7            # everything before is on disk; seq is the last sequence
    KIND_LAST = 7

cdef enum Flag:
    HAS_EXPIRY = 1       # expires_ns (i64) follows the head
    COPY = 2             # a message that compaction moved here
    BATCH = 4            # first record of a write: everything before it was synced before it was written
    SECURE = 8           # of REMOVE: what it names is to be overwritten as well

cdef enum:
    PAGE = 4096
    ALIGN = 8

cdef packed struct Head:             # little-endian, 32 bytes
    uint32_t crc                     # crc32c, seeded per segment, of everything from `length` to the end
    uint32_t length                  # of the whole record, without padding
    uint8_t kind
    uint8_t flags
    uint16_t subject_len
    uint32_t hdr_len
    uint64_t seq
    int64_t ts_ns

cdef packed struct Erasure:          # body of a REMOVE with SECURE: what is to be overwritten, and where it lies
    uint64_t seq
    uint64_t generation              # of its segment
    uint32_t offset
    uint32_t size                    # accounted; tells the record's length but for a few bytes

cdef inline uint32_t aligned(uint32_t length) noexcept nogil:
    return (length + ALIGN - 1) & ~<uint32_t>(ALIGN - 1)

cdef inline uint32_t page_floor(uint32_t offset) noexcept nogil:
    return offset & ~<uint32_t>(PAGE - 1)

cdef inline uint32_t page_ceil(uint32_t offset) noexcept nogil:
    return (offset + PAGE - 1) & ~<uint32_t>(PAGE - 1)

cdef inline uint32_t content_at(const Head* head) noexcept nogil:        # where the subject begins
    return <uint32_t>sizeof(Head) + (8 if head.flags & HAS_EXPIRY else 0)

cdef inline int64_t expires_of(const Head* head) noexcept nogil:          # 0 = none of its own
    return (<const int64_t*>(<const char*>head + sizeof(Head)))[0] if head.flags & HAS_EXPIRY else 0

cdef inline uint32_t body_len_of(const Head* head) noexcept nogil:
    return head.length - content_at(head) - head.subject_len - head.hdr_len

# Puts the checksum on a record that is filled in otherwise.
cdef void record_seal(Head* head, uint32_t seed) noexcept
# Could a record begin here? `have` bytes can be looked at.
cdef bint record_plausible(const char* at, size_t have) noexcept nogil
# Does a whole record begin here, with these bytes and this seed?
cdef bint record_valid(const char* at, size_t have, uint32_t seed) noexcept
# The message of which a whole record begins here; False: none does.
cdef bint record_message(const char* at, size_t have, uint32_t seed, Record* out) noexcept
# Overwrites what a message says, its length and sequence stay, and seals it.
cdef void record_erase(Head* head, uint32_t seed) noexcept
# The first valid record at or after `at`, `end` when there is none. What was passed over and is neither a record
# nor the padding of a write begins at *bad; *bad is `end` when nothing was. Behind padding only the first record of a
# write is in place: before another one something is missing. The image starts at the segment's start.
cdef uint32_t record_next(const char* image, uint32_t at, uint32_t end, uint32_t seed, uint32_t* bad) noexcept
