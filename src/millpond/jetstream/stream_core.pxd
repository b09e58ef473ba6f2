# The part of a stream that works in every turn: it judges publishes, keeps them in its store, tells its consumers, and
# lets messages expire. stream_answers.pxd says when it answers; stream.pxd adds its life and what the API asks.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.store.api cimport Filters
from millpond.wire.message cimport Msg
from millpond.jetstream.atomic_batches cimport AtomicBatches
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.direct_get cimport DirectGets
from millpond.jetstream.fast_batches cimport FastBatches
from millpond.jetstream.follower cimport Follower
from millpond.jetstream.host cimport ExpiryTimer, GoingOn, Owner
from millpond.jetstream.pump cimport Pump
from millpond.jetstream.purging cimport Lowering
from millpond.jetstream.republish cimport Republisher
from millpond.jetstream.retention cimport Retention
from millpond.jetstream.schedules cimport Schedules
from millpond.jetstream.storage_room cimport StorageRoom
from millpond.jetstream.stream_answers cimport Answering
from millpond.jetstream.waiting_room cimport WaitingRoom

cdef class StreamCore(Answering):
    cdef readonly object config              # stream_config.StreamConfig in force (with defaults filled in)
    cdef readonly Clock clock
    cdef readonly Pump pump

    # `callback()` runs when cold messages have arrived, or the stream was deleted: ask again.
    cpdef int on_warm(self, object callback) except -1
    # What a consumer wants from now on, and that it waits for a commit or a read: see listeners.pxd.
    cdef int follows(self, Follower consumer, Filters filters, bint stray) except -1
    cdef int expect(self, Follower consumer, uint64_t stream_seq) except -1
    cdef int await_read(self, Follower consumer) except -1
    # A consumer is through with this message, with all of [first_seq, last_seq]: the retention may remove them.
    cdef int settled(self, uint64_t stream_seq) except -1
    cdef int settled_through(self, uint64_t first_seq, uint64_t last_seq) except -1
    # A consumer was moved to `stream_seq`: what lies below is settled for it, with interest retention.
    cdef int passed_over(self, uint64_t stream_seq) except -1
    # Messages from `from_seq` on may have lost their last consumer (work queue, interest); `unwanted`: also remove
    # what no consumer wants, with interest retention.
    cpdef int review(self, uint64_t from_seq, bint unwanted) except -1

    # --- messages of other streams ---
    # None: it is stored, or a duplicate; WAIT: ask again when on_warm() says so; else the ApiError that refuses it.
    # `mirrored`: it becomes last_seq + 1, with its time; else it is new here.
    cdef object take_sourced(self, const Msg* msg, int64_t ts_ns, bint mirrored)
    # Is a rollup under way, that whatever is stored has to wait for? Then on_warm() says when it is over.
    cdef bint waits(self) noexcept
    # The origin has nothing up to this sequence. Raises OSError, StoreError.
    cdef int pass_over(self, uint64_t stream_seq) except -1

    # --- private, shared with Stream ---
    cdef Retention _retention
    cdef object _transform                   # subject_transform; None: subjects are stored as they come
    cdef Republisher _republisher            # None: nothing is republished
    cdef Dedupe _dedupe
    cdef DirectGets _gets
    cdef WaitingRoom _waiting                # publishes that wait for a cold read or a rollup
    cdef AtomicBatches _atomic
    cdef FastBatches _fast
    cdef Schedules _schedules                # None: without allow_msg_schedules
    cdef StorageRoom _room                   # what all streams of this storage share
    cdef StorageRoom _share                  # the account's part of it
    cdef object _no_share(self, const Msg* msg, int64_t before)   # no_room() of the account alone
    cdef size_t _inflight_messages           # at most so much is under way, of messages and of bytes
    cdef uint64_t _inflight_bytes
    cdef object _abandoned
    cdef public object tell_damage           # callable(stream, [(first, last)] that were lost, [what was found]) or None
    cdef Owner _owner
    cdef ExpiryTimer _expiry
    cdef Lowering _lowering
    cdef GoingOn _going_on
    cdef list _on_warm
    cdef uint64_t _told_seq                  # consumers know of messages up to here
    cdef bint _marker_refused                # the disk is full: a message that expires stays until its marker has room
    cdef bint _overrun                       # publishes without a reply are dropped: the log has it
    cdef bint _admitting                     # of those who waited, one is being judged
    cdef int _take(self, const Msg* msg) except -1
    cdef int _take_within(self, const Msg* msg) except -1
    cdef int _considered(self, const Msg* msg) except -1
    cdef int _end_trace(self, const Msg* msg) except -1
    cdef int _answer_duplicate(self, const Msg* msg) except -1
    cdef bint _is_full(self, const Msg* msg) noexcept      # too much would be under way with it
    cdef int _turn_away(self, const Msg* msg) except -1
    cdef int _arrive(self, const Msg* msg) except -1
    cdef int _admit_waiting(self) except -1
    cdef int _judged(self, const Msg* msg) except -1
    cdef bytes _rename(self, Msg* msg)
    cdef uint64_t _store(self, const Msg* msg, bytes tail, int64_t ts_ns) except? 0
    cdef uint64_t _skip(self, const Msg* msg, bytes tail) except? 0
    cdef uint64_t _lose(self, const Msg* msg, object error) except? 0
    cdef int _stored(self, const Msg* msg, uint64_t stream_seq, bytes tail) except -1
    cdef uint64_t _append(self, const Msg* msg, int64_t ts_ns, int64_t expires_ns) except 0
    cdef int64_t _expires_ns(self, int64_t ttl_s, int64_t ts_ns) noexcept
    cdef uint64_t _purge(self, Filters filters, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF
    cdef int _roll_up(self, const Msg* msg, uint64_t keep) except -1
    cdef int _clear(self, Filters filters, uint64_t keep) except -1
    cdef int _lower(self) except -1
    cdef int _arm_expiry(self, int64_t due_ns) except -1
