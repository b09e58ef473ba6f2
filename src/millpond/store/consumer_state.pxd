# What must survive of a consumer: delivered and ack floors, pending acknowledgements, redelivery
# counts. Same class for file and memory streams; with a journal every change is one journal record,
# committed together with the stream (design.md 6).
#
#   floor_stream_seq <= every pending stream_seq - 1; floors only grow
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from millpond.store.committer cimport Committer, Target

cdef struct Pending:
    uint64_t stream_seq
    uint64_t consumer_seq        # of the first delivery; kept over redeliveries
    int64_t ts_ns                # last delivery, wall clock
    uint32_t deliveries          # 1 = delivered once

cdef class ConsumerState:
    cdef readonly uint64_t delivered_stream_seq      # highest stream sequence delivered
    cdef readonly uint64_t delivered_consumer_seq    # deliveries so far, redeliveries included
    cdef readonly uint64_t floor_stream_seq
    cdef readonly uint64_t floor_consumer_seq
    cdef readonly int64_t delivered_ts_ns            # 0 = never
    cdef readonly int64_t acked_ts_ns                # 0 = never
    cdef readonly uint64_t num_pending_acks
    cdef readonly uint64_t num_redelivered           # pending with deliveries > 1
    cdef readonly ConsumerJournal journal            # None: memory only
    # Pending in ascending stream_seq; deliveries 0 marks a hole. Live ones are in [_head, _count).
    cdef Pending* _table
    cdef size_t _head, _count, _capacity
    cdef uint32_t _id                                # in the journal
    cdef bint _replaying                             # recovery: changes are not written again
    # First delivery. tracked: waits for an ack; else both floors follow at once (ack none).
    cdef uint64_t deliver(self, uint64_t stream_seq, int64_t ts_ns, bint tracked) except 0   # -> consumer_seq
    # Another delivery of a pending message. Returns the new consumer_seq; *deliveries gets the count.
    cdef uint64_t redeliver(self, uint64_t stream_seq, int64_t ts_ns, uint32_t* deliveries) except 0
    cdef bint get(self, uint64_t stream_seq, Pending* out) noexcept
    cdef bint touch(self, uint64_t stream_seq, int64_t ts_ns) noexcept       # +WPI, NAK delay: moves ts_ns; not journaled
    # Acknowledged, terminated, or gone from the stream. Moves the floors. False: was not pending.
    cdef bint ack(self, uint64_t stream_seq, int64_t ts_ns) except *
    # Ack policy all: everything pending <= stream_seq. Returns how many.
    cdef uint64_t ack_through(self, uint64_t stream_seq, int64_t ts_ns) except? 0xFFFFFFFFFFFFFFFF
    # Lowest pending >= from_seq; False: none. Iterate with stream_seq + 1.
    cdef bint next_pending(self, uint64_t from_seq, Pending* out) noexcept
    # Nothing at or below stream_seq will ever be asked for again (purge; start position): floors move up to it.
    cdef int advance(self, uint64_t stream_seq) except -1
    # Back to a position (CONSUMER.RESET, start of a new consumer): forgets pending; delivered and floor stream seq = given.
    cdef int reset(self, uint64_t stream_seq) except -1
    cdef uint64_t memory_bytes(self) noexcept
    cpdef list check(self)

    cdef size_t _find(self, uint64_t stream_seq) noexcept
    cdef int _push(self, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns, uint32_t deliveries) except -1
    cdef void _drop(self, size_t slot) noexcept
    cdef void _settle_floors(self) noexcept
    cdef int _log(self, uint8_t kind, uint64_t a, uint64_t b, int64_t ts_ns, bint owed) except -1
    cdef int _apply(self, uint8_t kind, uint64_t a, uint64_t b, int64_t ts_ns) except -1

cdef class ConsumerJournal(Target):
    # Journal of all consumers of one stream: two fixed file names, checkpoint plus records, swapped when big.
    cdef readonly uint64_t position                  # bytes of ops up to the last one that somebody waits for
    cdef readonly uint64_t committed_position
    cdef public object on_committed                  # callable() or None, loop thread
    cdef readonly str failure                        # "" = healthy
    cdef readonly uint64_t generation
    cdef Committer _committer
    cdef object _files                               # consumer_file.JournalFiles
    cdef dict _states, _configs, _ids                # by name, by name, name by id
    cdef uint32_t _next_id
    cdef char* _buffer                               # gathered ops, one frame per write
    cdef size_t _used, _capacity
    cdef uint64_t _appended, _written_position
    cdef uint64_t _file_bytes, _checkpoint_bytes
    cdef bint _swap_next, _closed
    cdef int _errors
    # New or recovered state by consumer name. `config` is opaque JSON kept with it.
    cpdef ConsumerState open_consumer(self, str name, bytes config)
    cpdef int set_config(self, str name, bytes config) except -1
    cpdef int delete_consumer(self, str name) except -1
    cpdef dict recovered(self)                       # {name: (config bytes, ConsumerState)} found on disk
    cpdef int close(self) except -1

    cdef char* _reserve(self, size_t size) except NULL
    cdef int _owe(self) except -1
    cdef int _put_open(self, uint32_t id, bytes name, bytes config) except -1
    cdef int _put_state(self, ConsumerState state) except -1
    cdef int _replay(self, bytes frame) except -1
    cdef int _checkpoint(self) except -1
    cdef size_t _replay_op(self, const char* at, size_t left) except 0
    cdef size_t _replay_open(self, const char* at, size_t left) except 0
    cdef size_t _replay_state(self, const char* at, size_t left) except 0
