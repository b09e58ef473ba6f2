# One client connection, whatever it came in on.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.member cimport Member
from millpond.broker.outbox cimport Channel, Outbox
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.timers cimport Timer
from millpond.wire.message cimport Msg
from millpond.wire.parser cimport Frame, Verb

cdef enum State:
    FRESH            # nothing but INFO was sent
    READY            # may publish and subscribe
    CLOSED

cdef class Session(Member):
    cdef Outbox outbox
    cdef Channel channel
    cdef State state
    cdef Verb held                   # of a line that has not ended
    cdef readonly bint connected     # a CONNECT was accepted
    cdef bint verbose, pedantic, echo, headers, no_responders
    cdef bint info_sent_twice
    cdef dict subs                   # {sid: Subscription}
    cdef object connect              # ConnectOptions or None
    cdef uint64_t in_msgs, in_bytes, out_msgs, out_bytes, stalls
    cdef int64_t started_ns, active_ns, rtt_ns, rtt_taken_ns, pinged_ns
    cdef int pings_out
    cdef bint heard                  # since the last ping timer: messages, subscriptions, PING (but no PONG)
    cdef readonly bint stalled       # reading is paused for a moment
    cdef readonly bint yielded       # the last feed stopped because the turn's time for intake was over
    cdef int64_t stall_credit        # bytes to go before it can be stalled again
    cdef Timer ping_timer, auth_timer, stall_timer

    cdef int open(self) except -1                                      # sends INFO, arms timers
    # Frames in data take effect; returns how many bytes were used, *need = length of the frame that is
    # incomplete (0 = not known). Stops early when the session closes, stalls or yields.
    cdef size_t feed(self, const char* data, size_t n, size_t* need) except? 0
    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1
    cdef int _frame(self, Frame* frame) except -1
    cdef int _publish(self, Frame* frame) except -1
    cdef int _no_responders(self, const Msg* msg) except -1
    cdef int _subscribe(self, Frame* frame) except -1
    cdef int _unsubscribe(self, Frame* frame) except -1
    cdef int _connect(self, Frame* frame) except -1
    cdef int _info(self, Frame* frame) except -1
    cdef int _ping(self) except -1
    cdef int _pong(self) except -1
    cdef int _drop(self, Subscription sub) except -1
    cdef int _write(self, const char* data, size_t n) except -1
    cdef int _queued(self) except -1
    cdef int _slow_down(self) except -1
    cdef int _error(self, str text) except -1
    cdef int _violation(self, int op) except -1
    cdef int _stall(self) except -1
    cdef int _arm_first_ping(self) except -1
    cdef int _ping_due(self, int64_t now_ns) except -1
