# What recovery needs of a sealed segment, without its payloads: made of its records, read back. FORMAT.md draws it.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from millpond.store.record cimport Head

cdef enum:
    FOOT_BYTES = 64

cdef packed struct SummaryFoot:      # little-endian, 64 bytes: the file's last ones
    uint32_t magic                   # "MPSU"
    uint32_t version
    uint64_t generation              # of the segment
    uint32_t bytes                   # of the whole summary, this included: a multiple of PAGE
    uint32_t steps                   # bytes of steps, from the summary's beginning on
    uint32_t blocks                  # of a packed file: so many places (PackedBlock) behind the steps
    uint32_t records                 # how many steps
    uint32_t end                     # of the segment's records
    uint32_t body_crc                # seeded as the records are; of everything before this foot
    uint32_t flags                   # Contains
    uint32_t subjects                # how many different ones
    uint32_t[3] unused               # 0
    uint32_t crc                     # seeded; of the 60 bytes before

cdef enum Contains:
    HEADERS = 1                      # a message with a header block

cdef struct Step:                    # one record, but for what only readers of messages need
    uint32_t offset
    uint32_t length
    uint8_t kind
    uint8_t flags                    # of the record; BATCH is not kept in a summary
    uint32_t subject_len
    uint32_t hdr_len                 # of a summary: 1 when there is a header block; counted off body_len
    uint32_t body_len
    uint64_t seq
    int64_t ts_ns
    int64_t expires_ns               # 0: none of its own
    const char* subject
    const void* body                 # of removals: what follows the head
    uint32_t* known                  # for whoever counts subjects: what it left here for the last step of this subject

# The record at `head`, whole in memory, as a step. `known` is the caller's.
cdef void step_of(const Head* head, uint32_t offset, uint32_t* known, Step* out) noexcept

# --- making one: no Python here ---

cdef struct Name:                    # a subject
    const char* text                 # NULL while it is made: texts move
    uint32_t at                      # of the text, from the summary's beginning on
    uint32_t length
    uint32_t known

cdef struct Making:
    char* data
    uint32_t used, room, most        # bytes: made, allocated, allowed
    uint32_t place                   # where the record before ended
    uint32_t records, flags
    uint64_t seq                     # of the message before
    int64_t ts_ns
    Name* names                      # by number, and where their hash says
    uint32_t* slots
    uint32_t count, count_max, slots_max

cdef void making_begin(Making* making, uint32_t most) noexcept nogil
cdef void making_end(Making* making) noexcept nogil            # gives everything back but `data`, which is the caller's
# The next record: its head, and with it what follows up to the end of its subject, or of a removal. Returns an errno:
# ENOMEM, EFBIG when the summary would become longer than it may.
cdef int making_put(Making* making, const Head* head, uint32_t offset) noexcept nogil
# Puts the foot on it; making.used is what is to be written. `blocks`: places of a packed file, or none. An errno.
cdef int making_seal(Making* making, uint64_t generation, uint32_t seed, uint32_t end, const void* blocks,
                     uint32_t blocks_count) noexcept nogil

# --- reading one ---

# Is this the foot of a summary of that segment, in a file of `size` bytes?
cdef bint foot_valid(const SummaryFoot* foot, uint64_t generation, uint32_t seed, uint64_t size) noexcept nogil
# Are these its bytes, all but the foot?
cdef bint body_valid(const SummaryFoot* foot, const char* body, uint32_t seed) noexcept nogil

cdef struct Reading:
    const uint8_t* at
    const uint8_t* end
    const char* data
    uint32_t place
    uint64_t seq
    int64_t ts_ns
    Name* names
    uint32_t count, count_max
    uint64_t* removed
    uint32_t removed_max

cdef int reading_begin(Reading* reading, const SummaryFoot* foot, const char* body) except -1      # MemoryError
cdef void reading_end(Reading* reading) noexcept
# The next step; `subject` and `known` are valid until another summary begins, `body` until the next step. 0: there is
# none, or none that can be read. Raises MemoryError.
cdef int reading_next(Reading* reading, Step* out) except -1
cdef bint reading_whole(const Reading* reading) noexcept        # every step was read
