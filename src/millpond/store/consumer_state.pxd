# What must survive of a consumer: delivered and ack floors, pending acknowledgements, redelivery
# counts. Same class for file and memory streams; with a journal every change is one journal record,
# committed together with the stream (design.md 6).
#
#   floor_stream_seq <= every pending stream_seq - 1; floors only grow (but for reset)
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from millpond.store.consumer_ops cimport OpLog, OpPending

cdef enum Place:                 # who knows when a pending message is due again
    TIMED = 0                    # delivered once, nothing has moved its time: due in the order of the table
    MOVED = 1                    # due at a time of its own
    QUEUED = 2                   # waits to be redelivered now

cdef struct Pending:
    uint64_t stream_seq
    uint64_t consumer_seq        # of the first delivery; kept over redeliveries
    int64_t ts_ns                # last delivery, wall clock
    uint32_t deliveries          # 1 = delivered once
    uint32_t place

cdef enum Left:                  # what ack() found
    NOTHING = 0
    WAS_PENDING = 1
    WAS_EXHAUSTED = 2

cdef class ConsumerState:
    cdef readonly uint64_t delivered_stream_seq      # highest stream sequence delivered
    cdef readonly uint64_t delivered_consumer_seq    # deliveries so far, redeliveries included
    cdef readonly uint64_t floor_stream_seq
    cdef readonly uint64_t floor_consumer_seq
    cdef readonly uint64_t began_stream_seq          # of the last reset: nobody acknowledged what lies at or below
    cdef readonly int64_t delivered_ts_ns            # 0 = never
    cdef readonly int64_t acked_ts_ns                # 0 = never
    cdef readonly uint64_t num_pending_acks
    cdef readonly uint64_t num_redelivered           # pending with deliveries > 1, and the exhausted ones
    cdef readonly uint64_t num_queued                # pending in place QUEUED
    cdef readonly OpLog log                          # None: memory only
    # Pending in ascending stream_seq; deliveries 0 marks a hole. Live ones are in [_head, _count).
    cdef Pending* _table
    cdef size_t _head, _count, _capacity
    # Delivered as often as allowed and never acknowledged: ascending sequences that are still in the stream.
    cdef uint64_t* _exhausted
    cdef size_t _exhausted_count, _exhausted_capacity
    cdef uint32_t id                                 # in the journal
    cdef bint parted                                 # a checkpoint has rows of it, up to _parted_seq, and goes on
    cdef uint64_t _parted_seq
    cdef bint replaying                              # recovery: changes are not written again
    cdef uint64_t _knows_of                          # position of the stream's log
    # First delivery. tracked: waits for an ack; else both floors follow at once (ack none).
    cdef uint64_t deliver(self, uint64_t stream_seq, int64_t ts_ns, bint tracked) except 0   # -> consumer_seq
    # Another delivery of a pending message, which becomes MOVED. Returns the new consumer_seq; *deliveries gets the count.
    cdef uint64_t redeliver(self, uint64_t stream_seq, int64_t ts_ns, uint32_t* deliveries) except 0
    cdef bint get(self, uint64_t stream_seq, Pending* out) noexcept
    # Changes when it is due again; not journaled. False: was not pending.
    cdef bint move(self, uint64_t stream_seq, int64_t ts_ns, Place place) noexcept
    # The same for MOVED, journaled: a client asked for it.
    cdef bint postpone(self, uint64_t stream_seq, int64_t ts_ns) except *
    # Acknowledged, terminated, or gone from the stream. Moves the floors.
    cdef Left ack(self, uint64_t stream_seq, int64_t ts_ns) except *
    # Ack policy all: everything <= stream_seq, as delivered with that consumer_seq. Returns how many were pending.
    cdef uint64_t ack_through(self, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns) except? 0xFFFFFFFFFFFFFFFF
    # Delivered as often as allowed: no longer pending, remembered until it is acknowledged or leaves the stream.
    cdef bint exhaust(self, uint64_t stream_seq) except *
    cdef bint is_exhausted(self, uint64_t stream_seq) noexcept
    # Lowest pending >= from_seq; False: none. Iterate with stream_seq + 1.
    cdef bint next_pending(self, uint64_t from_seq, Pending* out) noexcept
    # The same for all of them, from *slot (0) on, at no cost but of looking: nothing may come or leave meanwhile.
    cdef bint next_slot(self, size_t* slot, Pending* out) noexcept
    # move() of what next_slot() has just found.
    cdef void move_slot(self, size_t slot, int64_t ts_ns, Place place) noexcept
    # Lowest stream sequence that is pending or exhausted; 0 = none.
    cdef uint64_t lowest(self) noexcept
    # Nothing at or below stream_seq will ever be asked for again (purge; start position): floors move up to it.
    cdef int advance(self, uint64_t stream_seq) except -1
    # The stream lost what is above stream_seq: nothing there is pending or delivered any more.
    cdef int cut(self, uint64_t stream_seq) except -1
    # Back to a position: forgets pending; delivered and floor stream seq = given. `anew`: consumer sequences begin
    # at 1 again (CONSUMER.RESET, start of a new consumer).
    cdef int reset(self, uint64_t stream_seq, bint anew) except -1
    # What it does from here on follows from what the stream holds at this position of its log: the journal keeps none of
    # that before the log has come there.
    cdef int knows_of(self, uint64_t position) noexcept
    cdef uint64_t memory_bytes(self) noexcept
    cpdef list check(self)

    # --- for the journal ---
    cdef int put_checkpoint(self) except -1          # this state as ops
    # The same, no more than `rows_max` pending at a time; changes may be put between. True: there is more to put.
    cdef bint put_part(self, size_t rows_max) except -1
    cdef int take_no_parts(self) noexcept            # the next put_part() is the first one
    cdef size_t take_rows(self, const char* at, size_t left) except 0
    cdef size_t take_checkpoint(self, const char* at, size_t left) except 0   # returns the size of the op
    cdef int apply(self, uint8_t kind, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns) except -1

    # --- private ---
    cdef int _apply_to_part(self, uint8_t kind, uint64_t stream_seq, int64_t ts_ns) except -1
    cdef int _put_state(self, uint64_t count) except -1
    cdef int _put_exhausted(self) except -1
    cdef int _take_row(self, const OpPending* row) except -1
    cdef size_t _put_rows(self, OpPending* out, uint64_t from_seq, size_t most) noexcept
    cdef size_t _find(self, uint64_t stream_seq) noexcept
    cdef int _push(self, Pending row) except -1
    cdef void _drop(self, size_t slot) noexcept
    cdef int _add_exhausted(self, uint64_t stream_seq) except -1
    cdef bint _forget_exhausted(self, uint64_t stream_seq) noexcept
    cdef void _keep_exhausted_through(self, uint64_t stream_seq) noexcept
    cdef void _forget_exhausted_through(self, uint64_t stream_seq) noexcept
    cdef void _settle_floors(self) noexcept
    cdef int _log(self, uint8_t kind, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns, bint owed) except -1
