# Answers on their way back to another account (reference 02.3, SEC-32).
from libc.stdint cimport int64_t, uint64_t
from millpond.base.budget cimport Budget
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink, Subscription
from millpond.broker.timers cimport Timer, Timers
from millpond.base.clock cimport Clock
from millpond.wire.message cimport Msg

# A message of a stream: its acknowledgements are imported by their own subject.
cdef bint is_ack(const Msg* msg) noexcept

cdef class Asker:                    # one client that waits for answers
    cdef Responses account
    cdef uint64_t cid
    cdef Budget held                 # what its requests hold: a fair share of its account's
    cdef dict pending                # {subject: Pending}, the oldest first

cdef class Pending(Sink):            # somebody waits for this
    cdef Responses responder, requester
    cdef Asker asker
    cdef Subscription subscription
    cdef bytes reply
    cdef bint once
    cdef int64_t threshold_ns, deadline_ns, size
    cdef object measured             # service_latency.Measured; None: nobody is told how long it takes
    cdef bint listens                # somebody listened for the answer when it was asked

cdef class Responses:                # of one account, which answers, or asks, or both
    cdef readonly str account
    cdef readonly Router router
    cdef Timers _timers
    cdef Clock _clock
    cdef Timer _sweep
    cdef bytes _prefix
    cdef readonly dict pending       # {subject: Pending} that it is to answer, the oldest first
    cdef readonly Budget held        # what its clients' requests hold: a fair share of the server's
    cdef dict _askers                # {cid: Asker}, those of its clients that wait for answers
    cdef Py_ssize_t _to_sweep        # how many of `pending` this round of the sweep has still to look at
    # A subject to answer on; what is published there goes to `reply` in the requester's account, for its client `asker`.
    cdef bytes expect(self, Responses requester, Sink asker, bytes reply, bint once, int64_t threshold_ns,
                      object measured)
    # The header block of a traced request that leaves its account: its destination is not for others. `traced`: they
    # may go on with the trace, and see that there is one.
    cdef bytes hide_destination(self, bytes block, bint traced)
    cdef bytes _subject(self)
    cdef Asker _asker(self, Sink source)
    cdef int _make_room(self, Asker asker) except -1
    cdef int forget(self, bytes subject) except -1       # one that is not there: nothing happens
    cdef int end(self, bytes subject, int status) except -1      # it is not answered; who measures is told
    cdef int sweep(self, int64_t now_ns) except -1
