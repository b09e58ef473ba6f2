# What a consumer journal is made of: ops, gathered in one buffer until they are written as one frame.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from millpond.store.api cimport Store
from millpond.store.committer cimport Committer, Target

cdef enum Op:
    OPEN = 1          # OpOpen, name, config
    DELETE = 2        # OpId
    DELIVER = 3       # OpChange from here to RESET, and from EXHAUST to PARTS
    DELIVER_ACKED = 4
    REDELIVER = 5
    ACK = 6
    ACK_THROUGH = 7
    ADVANCE = 8
    RESET = 9
    STATE = 10        # OpState, then `count` OpPending, then `exhausted` OpSeq
    END = 11          # OpId: the checkpoint is whole; the next id
    EXHAUST = 12
    MOVE = 13
    CUT = 14
    PARTS = 15        # what follows of a consumer comes in parts: stream_seq as of a RESET; then ROWS, in the end a STATE
    ROWS = 16         # OpRows, then `count` OpPending

cdef enum:
    POSTPONED = 0x80000000

cdef packed struct OpChange:
    uint8_t kind
    uint32_t id
    uint64_t stream_seq
    uint64_t consumer_seq
    int64_t ts_ns

cdef packed struct OpOpen:
    uint8_t kind
    uint32_t id
    uint16_t name_len
    uint32_t config_len

cdef packed struct OpState:
    uint8_t kind
    uint32_t id
    uint64_t delivered_stream_seq
    uint64_t delivered_consumer_seq
    uint64_t floor_stream_seq
    uint64_t floor_consumer_seq
    int64_t delivered_ts_ns
    int64_t acked_ts_ns
    uint64_t count
    uint64_t exhausted

cdef packed struct OpRows:
    uint8_t kind
    uint32_t id
    uint64_t count

cdef packed struct OpPending:
    uint64_t stream_seq
    uint64_t consumer_seq
    int64_t ts_ns
    uint32_t deliveries      # POSTPONED or-ed in: due at a time of its own

cdef packed struct OpSeq:
    uint64_t stream_seq

cdef packed struct OpId:
    uint8_t kind
    uint32_t id

cdef class OpLog:
    cdef readonly uint64_t position          # bytes of ops up to the last one that somebody waits for
    cdef uint64_t appended                   # bytes of ops ever put here
    # Positions of the stream's log that are to be committed before they are written: because of what was removed, and of
    # messages on their way that a consumer has passed over.
    cdef readonly uint64_t needs, passed
    cdef char* buffer
    cdef size_t used, _capacity
    cdef bint closed                         # nothing is written any more; what is owed stays owed
    cdef Committer _committer
    cdef Target _target
    cdef Store store                         # whose messages they are about; None: nothing waits for it
    # What comes next is of a consumer that knows of so much of the log, and has all up to this message behind it.
    cdef int follow(self, uint64_t position, uint64_t stream_seq) noexcept
    # Room for one op (or the next part of one) at the end of the buffer; it counts as used from here.
    cdef char* reserve(self, size_t size) except NULL
    # What reserve() gave last was too much by so many bytes.
    cdef int give_back(self, size_t size) except -1
    # `owed`: somebody waits for it. Others ride along with the next write.
    cdef int change(self, uint8_t kind, uint32_t id, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns,
                    bint owed) except -1
    # Somebody waits for all that is gathered: `position` covers it, and a commit is asked for.
    cdef int owe(self) except -1
