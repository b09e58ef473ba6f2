# One consumer, pull or push. It owns the rooms that do the work and ties them to the stream, the clients, the
# clock and the API:
#
#   consumer_cursor    which message next, how many to come        pull, pull_priority   waiting requests
#   consumer_delivery  one message on its way                      push, flow_control    the deliver subject
#   redelivery         which message again, and when               consumer_pace         holding back
#   consumer_acks      what clients say about messages             notices               what it says itself
#
# States: active, paused (nothing is delivered until a wall time), stopped.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.consumer_acks cimport Acks
from millpond.jetstream.consumer_cursor cimport Cursor
from millpond.jetstream.consumer_delivery cimport Delivery
from millpond.jetstream.follower cimport Follower
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.pull cimport PullQueue
from millpond.jetstream.pull_priority cimport Priority
from millpond.jetstream.pump cimport Pump
from millpond.jetstream.push cimport PushTarget
from millpond.jetstream.redelivery cimport Redelivery
from millpond.jetstream.stream cimport Stream
from millpond.store.consumer_state cimport ConsumerState
from millpond.wire.message cimport Msg

cdef class ConsumerTimer(Timer):
    cdef Consumer consumer

cdef class Consumer(Follower):
    cdef readonly object config              # consumer_config.ConsumerConfig in force
    cdef readonly int64_t created_ns
    cdef readonly Stream stream
    cdef readonly ConsumerState state
    cdef readonly Cursor cursor
    cdef readonly Redelivery redelivery
    cdef readonly PullQueue pulls
    cdef readonly Priority priority
    cdef readonly PushTarget push            # None: a pull consumer
    cdef readonly list changes               # how to undo those that are not kept yet (consumer_changes)

    # --- life (API room) ---
    # Subscribes; a new consumer takes its start position, a recovered one goes on.
    cpdef int start(self, bint recovered) except -1
    cpdef int update(self, object config) except -1
    cpdef uint64_t reset(self, uint64_t stream_seq) except 0     # 0: to the ack floor. Returns the next sequence
    # What it holds now, and that again.
    cpdef bytes image(self)
    cpdef int take_back(self, bytes image) except -1
    # `callback()` when num_pending is known: at once but for long streams. Also when it is stopped before.
    cpdef int when_counted(self, object callback) except -1
    cpdef int hold(self) except -1                       # nothing is delivered, nor refused, until go_on()
    cpdef int go_on(self) except -1
    cpdef int unpin(self, str group) except -1           # by an administrator
    cpdef tuple pin(self)                                # (pin id, wall ns), ("", 0) when nobody is pinned
    cpdef int tell_pause(self) except -1                 # the advisory of what the configuration says now
    cpdef dict info(self)   # delivered, ack_floor (consumer_seq, stream_seq, last_active_ns|0), num_ack_pending, num_redelivered, num_waiting, num_pending, push_bound

    # --- private ---
    cdef object _on_inactive
    cdef str _scope                          # "<domain or _>.<account hash>" of v2 subjects
    cdef Clock _clock
    cdef Timers _timers
    cdef Pump _pump
    cdef ConsumerTimer _timer
    cdef Notices _notices
    cdef Delivery _delivery
    cdef Acks _acks
    cdef list _subs
    cdef list _on_counted                    # callbacks
    cdef uint64_t _ack_v1_at, _ack_v2_at     # where the numbers begin in an ack subject
    cdef bint _stopped, _pumping, _again, _held
    cdef bint _at_end                        # it waits there, for what it wants: see _catch_up
    cdef int64_t _inactive_ns, _pause_until_ns
    cdef bint _pause_told                    # nobody waits for the advisory that the pause is over
    cdef int64_t _used_ns                    # monotonic: last request, delivery, ack, or listener

    cdef int _configure(self) except -1
    cdef int _set_filters(self, bint stray) except -1
    cdef int _wait(self) except -1
    cdef int _catch_up(self) except -1
    cdef int _subscribe(self) except -1
    cdef int _resume(self) except -1
    cdef bint _may_deliver(self, int64_t now_ns) except *
    cdef uint64_t _deliver_many(self, uint32_t messages, uint64_t bytes, int64_t now_ns, int64_t* last) except? 0xFFFFFFFFFFFFFFFF
    cdef int _request(self, const Msg* msg, uint32_t skipped) except -1
    cdef int _ack(self, const Msg* msg, uint64_t at, bint more) except -1
    cdef int _flow_answered(self, const Msg* msg) except -1
    cdef int _gone(self, uint64_t stream_seq) except -1
    cdef int _look(self) except -1
    cdef int _queue(self) except -1
    cdef int _tell_counted(self) except -1
    cdef int _sweep(self, bint end_of_stream) except -1
    cdef int _arm(self) except -1
    cdef int64_t _due_ns(self, int64_t now_ns) except? -1
    cdef int64_t _inactive_at(self) noexcept
    cdef int _tick(self, int64_t now_ns) except -1
    cdef bint _expire_inactive(self, int64_t now_ns) except *
