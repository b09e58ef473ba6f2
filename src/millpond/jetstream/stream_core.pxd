# The part of a stream that works in every turn: it judges publishes, keeps them in its store, answers when they are
# committed, tells its consumers, and lets messages expire. stream.pxd adds its life and what the API asks.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.router cimport Router
from millpond.broker.turn cimport Turn
from millpond.store.api cimport Filters, Store
from millpond.store.consumer_journal cimport ConsumerJournal
from millpond.wire.message cimport Msg
from millpond.jetstream.acks cimport OwedReplies
from millpond.jetstream.atomic_batches cimport AtomicBatches
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.direct_get cimport DirectGets
from millpond.jetstream.fast_batches cimport FastBatches
from millpond.jetstream.host cimport ExpiryTimer, Host, Owner
from millpond.jetstream.ingest cimport Ingest
from millpond.jetstream.pub_ack cimport AnswerRing
from millpond.jetstream.pump cimport CommitPhase, Pump
from millpond.jetstream.purging cimport PurgeSteps
from millpond.jetstream.republish cimport Republisher
from millpond.jetstream.retention cimport Retention
from millpond.jetstream.schedules cimport Schedules
from millpond.jetstream.storage_room cimport StorageRoom
from millpond.jetstream.waiting_room cimport WaitingRoom

cdef class StreamCore(Host):
    cdef readonly str name
    cdef readonly object config              # stream_config.StreamConfig in force (with defaults filled in)
    cdef readonly Store store
    cdef readonly ConsumerJournal journal    # None: memory stream
    cdef readonly Router router
    cdef readonly Turn turn
    cdef readonly Clock clock
    cdef readonly Pump pump
    cdef readonly CommitPhase commit_phase
    cdef readonly str failure                # "" = it takes publishes
    cdef readonly bint purging               # what consumers hear of removed messages is due to a purge
    cdef list _listeners                     # the consumers, for loops

    # `callback()` runs when everything done to this stream (store and journal) until now is committed, or when the
    # stream is deleted.
    cpdef int after_commit(self, object callback) except -1
    # An empty message goes to `reply` at that time; `journaled`: the consumer journal counts too.
    cdef int reply_after_commit(self, const char* reply, uint32_t reply_len, bint journaled) except -1
    # `callback()` runs when cold messages have arrived, or the stream was deleted: ask again.
    cpdef int on_warm(self, object callback) except -1
    # A consumer is through with this message, with all of [first_seq, last_seq]: the retention may remove them.
    cdef int settled(self, uint64_t stream_seq) except -1
    cdef int settled_through(self, uint64_t first_seq, uint64_t last_seq) except -1
    # A consumer was moved to `stream_seq`: what lies below is settled for it, with interest retention.
    cdef int passed_over(self, uint64_t stream_seq) except -1
    # Messages from `from_seq` on may have lost their last consumer (work queue, interest); `unwanted`: also remove
    # what no consumer wants, with interest retention.
    cpdef int review(self, uint64_t from_seq, bint unwanted) except -1

    # --- messages of other streams ---
    # None: it is stored, or a duplicate; WAIT: ask again when the store is warm; else the ApiError that refuses it.
    # `mirrored`: it becomes last_seq + 1, with its time; else it is new here.
    cdef object take_sourced(self, const Msg* msg, int64_t ts_ns, bint mirrored)
    # The origin has nothing up to this sequence. Raises OSError, StoreError.
    cdef int pass_over(self, uint64_t stream_seq) except -1
    # A message that leaves when everything stored until now is committed.
    cdef int tell_after_commit(self, bytes subject, bytes hdr) except -1

    # --- private, shared with Stream ---
    cdef Ingest _ingest
    cdef Retention _retention
    cdef object _transform                   # subject_transform; None: subjects are stored as they come
    cdef Republisher _republisher            # None: nothing is republished
    cdef Dedupe _dedupe
    cdef bytes _last_msg_id
    cdef AnswerRing _answers
    cdef OwedReplies _owed
    cdef DirectGets _gets
    cdef WaitingRoom _waiting                # publishes that wait for a cold read
    cdef AtomicBatches _atomic
    cdef FastBatches _fast
    cdef Schedules _schedules                # None: without allow_msg_schedules
    cdef StorageRoom _room                   # what all streams of this storage share
    cdef StorageRoom _share                  # the account's part of it
    cdef object _no_room(self, const Msg* msg)       # the error for a message that does not fit, or None
    cdef object _abandoned
    cdef Owner _owner
    cdef ExpiryTimer _expiry
    cdef PurgeSteps _purge_steps
    cdef list _purges                        # Purge under way, or who waits for those before: the first one is at work
    cdef list _after, _on_warm
    cdef object _commit_store                # memory stores that commit on request
    cdef uint64_t _told_seq, _ready_seq      # consumers know of messages up to here; told ready up to here
    cdef bint _settling_queued, _appending, _releasing, _stopped
    cdef bint _overrun                       # publishes without a reply are dropped: the log has it
    cdef bint _admitting                     # of those who waited, one is being judged
    cdef bint _leaving                       # deleted: what was owed for is no longer waited for
    cdef int _take(self, const Msg* msg) except -1
    cdef bint _is_full(self) noexcept
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
    cdef int _answer_later(self) except -1
    cdef int _release(self) except -1
    cdef int _release_answers(self) except -1
    cdef int _send(self, const char* reply, uint32_t reply_len, const char* body, uint32_t body_len) except -1
    cdef int _run_after_commit(self) except -1
    cdef int _leave(self) except -1          # answer all that is owed: what it is owed for goes with the stream
    cdef int _arm_expiry(self, int64_t due_ns) except -1
