# One file of the log: its head on disk, and what the log keeps about it in memory.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    HEAD_COPIES = 2
    RECORDS_AT = 128                 # the head twice, then records
    NO_SEGMENT = 0xFFFFFFFF
    BEFORE_HAS_COPIES = 1            # flag of a head: the segment before holds records that compaction moved
    SALT_OF_LOG = 2                  # flag of a head: the salt says to which log the segment belongs

cdef packed struct SegmentHead:      # little-endian, 64 bytes, at 0 and at 64
    uint32_t magic                   # "MPSG"
    uint16_t version
    uint16_t flags
    uint64_t generation              # place in the log: strictly increasing, never used again
    uint64_t before                  # generation of the segment before, 0 = none
    uint64_t oldest                  # when this one began, the log began with that generation
    uint64_t last_seq                # highest sequence issued before this segment
    int64_t last_ts_ns               # time of that sequence
    uint32_t before_end              # where the records of the segment before end
    uint32_t bytes                   # length of the file, of a packed one before it was packed
    uint32_t salt                    # part of the records' seed; of the log and the generation, once random
    uint32_t crc                     # crc32c of the 60 bytes before

cdef enum Form:                      # version of a head: how the file holds the segment
    PLAIN = 1
    PACKED = 2                       # compressed in blocks (packed.pyx)

cdef struct PackedBlock:             # where a block of a packed file begins (its head), and how long it is; 0: not there
    uint32_t at
    uint32_t length

cdef struct Packed:                  # what is known of a packed file; shared by its segment and the reads that run
    uint32_t references
    uint32_t seed
    uint32_t end                     # of the records in the plain segment
    uint32_t bytes                   # of the file
    uint32_t count                   # of blocks that the plain segment has
    PackedBlock[1] blocks            # as many as `count`

cdef enum SegmentState:
    ABSENT = 0                       # no file of this number
    SPARE = 1                        # a file to be used again
    IN_LOG = 2
    LEFT = 3                         # has left the log, waits to become a spare or to be removed
    DAMAGED = 4                      # its head cannot be read, and a segment is missing: not to be touched

cdef struct Segment:
    uint64_t generation
    uint64_t cache_id                # of this life of the file
    uint64_t live_bytes              # accounted bytes of live messages in it
    uint32_t live                    # live messages in it
    uint32_t bytes                   # length of the file, of a packed one before it was packed
    uint32_t used                    # end of the records, written or not; of the tail the next page, perhaps
    uint32_t records_end             # end of the records
    uint32_t written                 # the kernel has everything below
    uint32_t asked                   # the sync that runs covers everything below
    uint32_t synced                  # committed: everything below
    uint32_t dropped                 # pages below were given back to the kernel
    uint32_t seed                    # of the records' checksums
    uint32_t buffer_from             # offset of buffer[0], a multiple of PAGE
    uint32_t buffer_bytes            # allocated
    uint32_t changes                 # so often records were overwritten where they lie
    uint32_t summary                 # bytes of the summary at the file's end; 0: there is none
    Packed* packed                   # NULL: the file is plain
    char* buffer                     # records that are not committed yet; NULL: none
    int fd                           # -1: not open
    SegmentState state
    bint copies                      # holds records that compaction moved
    bint headers                     # a message with a header block may be in it
    bint scrub                       # holds content that was erased elsewhere: not to be used again but removed
    bint erasing                     # a message in it is to be overwritten, perhaps again: its record may not verify
    bint dirty                       # to be written
    bint syncing                     # its descriptor is with the sync worker

cdef uint32_t segment_seed(const SegmentHead* head) noexcept nogil
# What a segment of that generation is salted with, in the log of that identity.
cdef uint32_t segment_salt(uint32_t identity, uint64_t generation) noexcept nogil
# The identity of the log that it belongs to; 0: it does not say.
cdef uint32_t segment_identity(const SegmentHead* head) noexcept nogil
# Fills both copies at `out` (RECORDS_AT bytes).
cdef void segment_head_write(SegmentHead* head, char* out) noexcept
# The same for another form than PLAIN.
cdef void segment_head_write_as(SegmentHead* head, Form form, char* out) noexcept nogil
# The first whole copy of a head in the first RECORDS_AT bytes of a file; False: there is none.
cdef bint segment_head_find(const char* data, size_t n, SegmentHead* out) noexcept nogil
# The same. Raises StoreError for a version that is no Form.
cdef bint segment_head_read(const char* data, size_t n, SegmentHead* out) except *
cdef str segment_name(uint32_t number)
