# One consumer, pull or push: which message next, to whom, what waits for an acknowledgement, what is
# redelivered when. It reads committed messages only. States: active, paused(later), stopped.
#
#   stream seq:  1 .. floor .. [pending and acked] .. delivered .. [num_pending under the filters] .. committed
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink
from millpond.jetstream.follower cimport Follower
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.flow_control cimport Window
from millpond.jetstream.headers_only cimport BodyStripper
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.pull cimport PullQueue, Waiting
from millpond.jetstream.pump cimport Pump
from millpond.jetstream.redelivery cimport RedeliveryQueue
from millpond.jetstream.stream cimport Stream
from millpond.store.api cimport Filters, Record
from millpond.store.consumer_state cimport ConsumerState
from millpond.wire.message cimport Msg

cdef class ConsumerTimer(Timer):
    cdef Consumer consumer

cdef class Consumer(Follower):
    cdef readonly object config              # consumer_config.ConsumerConfig in force
    cdef readonly int64_t created_ns
    cdef readonly Stream stream
    cdef readonly ConsumerState state
    cdef readonly Filters filters
    cdef readonly uint64_t num_pending       # matching live messages above state.delivered_stream_seq; exact

    # --- life (API room) ---
    cpdef int start(self, bint recovered) except -1      # subscribe NEXT/ACK/FC subjects; new: take the start position
    cpdef int update(self, object config) except -1
    cpdef dict info(self)   # delivered, ack_floor (consumer_seq, stream_seq, last_active_ns|0), num_ack_pending, num_redelivered, num_waiting, num_pending, push_bound

    # --- private ---
    cdef object _advisories, _on_inactive
    cdef Clock _clock
    cdef Timers _timers
    cdef Pump _pump
    cdef ConsumerTimer _timer
    cdef list _subs, _backoff
    cdef Notices _notices
    cdef PullQueue _pulls
    cdef BodyStripper _stripper              # None: bodies are delivered
    cdef RedeliveryQueue _redeliveries
    cdef Window _window                      # None: no flow control
    cdef bint _push, _tracked, _ack_all, _stopped, _active, _pumping, _again
    cdef int64_t _ack_wait_ns, _max_deliver, _max_ack_pending, _heartbeat_ns, _inactive_ns, _pause_until_ns
    cdef int64_t _last_active_ns, _heartbeat_due_ns, _expiry_due_ns, _poll_ns, _hold_until_ns
    cdef bytes _deliver_subject
    cdef uint64_t _seen_generation
    cdef list _skip                          # last_per_subject: sequences still to deliver before _resume
    cdef size_t _skip_at
    cdef uint64_t _resume
    cdef char[640] _ack                      # "$JS.ACK.<stream>.<consumer>." and room for five numbers
    cdef uint32_t _ack_prefix
    cdef bint _replay
    cdef uint64_t _replay_end_seq
    cdef int64_t _replay_ts_ns
    cdef int64_t _rate_bps, _rate_free_ns

    cdef int _configure(self) except -1
    cdef int _take_start(self) except -1
    cdef int _recount(self) except -1
    cdef bint _may_deliver(self, int64_t now_ns) except *
    cdef int _deliver_one(self, int64_t now_ns) except -1
    cdef int _delivered(self, bytes subject, Waiting request, int64_t size, int64_t now_ns) except -1
    cdef uint32_t _deliveries(self, uint64_t stream_seq) noexcept
    cdef bint _held_by_replay(self, int64_t ts_ns, int64_t now_ns) except *
    cdef int _step_over(self, uint64_t stream_seq) except -1
    cdef int _settle(self, uint64_t stream_seq) except -1
    cdef uint64_t _next_again(self) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t _next_new(self) except? 0xFFFFFFFFFFFFFFFF
    cdef uint32_t _encode_ack(self, uint64_t deliveries, uint64_t stream_seq, uint64_t consumer_seq, int64_t ts_ns, uint64_t pending) noexcept
    cdef int _next_request(self, bytes reply, bytes body) except -1
    cdef int _acked(self, const Msg* msg) except -1
    cdef int _nak(self, uint64_t stream_seq, uint64_t consumer_seq, bytes argument) except -1
    cdef int _terminate(self, uint64_t stream_seq, uint64_t consumer_seq, bytes reason) except -1
    cdef int _queue_again(self, uint64_t stream_seq) except -1
    cdef int64_t _wait_ns(self, uint32_t deliveries) noexcept
    cdef int _expire(self, int64_t now_ns) except -1
    cdef int _exceeded(self, uint64_t stream_seq, uint32_t deliveries) except -1
    cdef int _check_interest(self) except -1
    cdef int _arm(self) except -1
    cdef int _tick(self, int64_t now_ns) except -1
