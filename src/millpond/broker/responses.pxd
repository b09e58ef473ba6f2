# Answers on their way back to another account (reference 02.3, SEC-32).
from libc.stdint cimport int64_t
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.timers cimport Timer, Timers
from millpond.base.clock cimport Clock
from millpond.wire.message cimport Msg

# A message of a stream: its acknowledgements are imported by their own subject.
cdef bint is_ack(const Msg* msg) noexcept

cdef class Pending(Sink):            # somebody waits for this
    cdef Responses responder, requester
    cdef Subscription subscription
    cdef bytes reply
    cdef bint once
    cdef int64_t threshold_ns, deadline_ns

cdef class Responses:                # of one account, which answers
    cdef readonly Router router
    cdef Timers _timers
    cdef Clock _clock
    cdef Timer _sweep
    cdef bytes _prefix
    cdef readonly dict pending       # {subject: Pending}, the oldest first
    # A subject to answer on; what is published there goes to `reply` in the requester's account.
    cdef bytes expect(self, Responses requester, bytes reply, bint once, int64_t threshold_ns)
    cdef int forget(self, bytes subject) except -1       # one that is not there: nothing happens
    cdef int sweep(self, int64_t now_ns) except -1
