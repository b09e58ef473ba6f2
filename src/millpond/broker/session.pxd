# One client connection, whatever it came in on.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.observed cimport Observed
from millpond.broker.outbox cimport Channel
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.timers cimport Timer
from millpond.wire.message cimport Msg
from millpond.wire.parser cimport Frame, Verb

cdef enum State:
    FRESH            # nothing but INFO was sent
    READY            # may publish and subscribe
    CLOSED

cdef class Session(Observed):
    cdef State state
    cdef Verb held                   # of a line that has not ended
    cdef bint verbose, pedantic, echo, headers, no_responders
    cdef bint info_sent_twice
    cdef int64_t rtt_taken_ns, pinged_ns
    cdef int pings_out
    cdef bint heard                  # since the last ping timer: messages, subscriptions, PING (but no PONG)
    cdef readonly bint yielded       # the last feed stopped because the turn's time for intake was over
    cdef Timer ping_timer, auth_timer
    cdef bint asks                   # who they are, those who come in this way, whatever the server asks others
    cdef int64_t auth_timeout_ns, ping_interval_ns   # of this way; 0 = the server's
    cdef readonly str reason         # why it is closed
    cdef bint greets_late            # INFO waits for a handshake
    cdef dict hello                  # what INFO says otherwise to those who come in this way; None: nothing

    # A transport without a handshake of its own opens. One with it enters, greets when it is time, and begins.
    cdef int open(self) except -1
    cdef bint enter(self) except -1              # is counted and listed; False: there is no room, it is closed
    cdef int greet(self) except -1               # INFO
    cdef int begin(self) except -1               # may speak: the deadline to say who it is, pings
    # Frames in data take effect; returns how many bytes were used, *need = length of the frame that is
    # incomplete (0 = not known). Stops early when the session closes, stalls or yields.
    cdef size_t feed(self, const char* data, size_t n, size_t* need) except? 0
    cdef size_t _feed(self, const char* data, size_t n, size_t* need) except? 0
    cdef size_t _feed_traced(self, const char* data, size_t n, size_t* need) except? 0
    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1
    cdef int _frame(self, Frame* frame) except -1
    cdef int _publish(self, Frame* frame) except -1                  # how many took it
    cdef int _publish_asking(self, Msg* msg, const char* sent, uint32_t sent_len) except -1
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
    cdef int _violation(self, int op) except -1
    cdef int _expect_connect(self) except -1
    cdef int _arm_end(self) except -1
    cdef int _arm_first_ping(self) except -1
    cdef int64_t _ping_interval(self) except -1
    cdef int _ping_due(self, int64_t now_ns) except -1
