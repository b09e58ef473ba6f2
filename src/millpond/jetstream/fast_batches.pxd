# Fast batches (ADR-50, fast ingest): messages that are stored as they come, and acknowledged now and then.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.batch_totals cimport BatchTotals
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.host cimport Host
from millpond.jetstream.ingest cimport Ingest
from millpond.store.api cimport Store
from millpond.wire.message cimport Msg

cdef struct Place:
    # What a reply subject says of its message's place in a batch.
    const char* batch_id
    uint32_t id_len
    uint64_t number                          # from 1
    uint32_t per_ack                         # messages per acknowledgement, at most
    bint gaps                                # may be lost messages
    bint begins, appends, commits, ends, pings   # ends: commits and is not stored itself

cdef class FastBatch:
    cdef bytes batch_id
    cdef uint64_t last                       # number of the last message that came
    cdef uint64_t stored                     # of the last one that is through; lower only behind a refused message
    cdef uint64_t told                       # of the last acknowledgement
    cdef uint64_t stream_seq                 # of the last one stored
    cdef uint32_t per_ack, per_ack_max
    cdef bint gaps, committing
    cdef bint held                           # the stream refused one: nothing is through before a later one is stored
    cdef int64_t active_ns                   # monotonic

cdef class FastBatches(Timer):
    cdef dict _batches                       # {batch id: FastBatch}
    cdef FastBatch _latest                   # looked up last; None: it has ended
    cdef Host _host
    cdef Store _store
    cdef Dedupe _dedupe
    cdef Clock _clock
    cdef Timers _timers
    cdef BatchTotals _totals
    # Outcome of the last _judge() that did not refuse.
    cdef Msg _msg                            # what is to be stored, without a reply
    cdef uint64_t _duplicate_of
    cdef object _kept                        # what `_msg` views
    # A publish whose reply is_fast(). 1: it must wait for a cold read.
    cdef int take(self, const Msg* msg, Ingest rules) except -1
    # What keeps such a publish from its batch, or a batch from beginning; None: nothing. Changes nothing.
    cdef object first_refusal(self, const Msg* msg, Ingest rules)
    cdef int drop_all(self) except -1
    # --- private ---
    cdef object _refusal(self, const Msg* msg, const Place* place, Ingest rules)
    cdef FastBatch _find(self, const Place* place)
    cdef FastBatch _begin(self, const Place* place)
    cdef int _end(self, FastBatch batch) except -1
    cdef object _judge(self, const Msg* msg, Ingest rules)
    cdef int _ping(self, const Msg* msg, const Place* place, FastBatch batch) except -1
    cdef bint _follows(self, const Msg* msg, const Place* place, FastBatch batch) except *
    cdef int _go_on(self, const Msg* msg, const Place* place, FastBatch batch, Ingest rules, object refused) except -1
    cdef int _refused(self, const Msg* msg, const Place* place, FastBatch batch, Ingest rules, object refused) except -1
    cdef int _commit(self, const Msg* msg, FastBatch batch) except -1
    cdef bint _tell(self, const Msg* msg, FastBatch batch) except *
    cdef int _send_ack(self, const Msg* msg, uint64_t number, uint32_t per_ack) except -1
    cdef int _send_gap(self, const Msg* msg, uint64_t expected, uint64_t number) except -1

# Does this reply subject say that its message belongs to a fast batch?
cdef bint is_fast(const char* reply, uint32_t reply_len) noexcept
