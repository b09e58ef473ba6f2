# What a message can be delivered to, and what ties it to a subject. Client sessions, streams,
# consumers and API handlers are all Sinks; the router knows nothing else.
from libc.stdint cimport int64_t, uint64_t
from millpond.wire.message cimport Msg
from millpond.subjects.sublist cimport Interest

cdef class Sink:
    # Takes one message that matched `sub`. `msg` is valid only during the call. `source` is the Sink
    # that published it (None: the server itself). Returns 1 if taken, 0 if not (closed, echo, over
    # its maximum, stale): a 0 does not count as a responder.
    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1
    # The same for a message whose way is told (`trace`: a MessageTrace): the sink says to it what it does. When
    # `trace.only`, sessions and streams deliver and store nothing, but refusals are answered. As it is here, for what
    # is no part of a trace: the message is taken, whatever the sender wants, and nothing is said.
    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1
    cdef Sink waits_for              # a receiver that has to catch up before this one sends more; None: nobody
    cdef bint took_long              # what it sent was work for the control plane: the turn shall look at the clock
    cdef bint is_behind(self) noexcept       # more waits here, on a slow reader, than is its share
    cdef bint must_wait(self) except -1      # before it sends more

cdef class Subscription(Interest):
    cdef readonly Sink sink
    cdef readonly bytes sid          # client subscriptions: what the client calls it; else b""
    cdef readonly int tag            # internal sinks: which of its subscriptions this is
    cdef public int64_t messages_max # auto-unsubscribe; 0 = none
    cdef public int64_t delivered
    cdef public bint closed

cdef class CallableSink(Sink):
    # Control-plane sink: copies the message and calls handler(subject, reply, hdr, body, source), all bytes.
    cdef readonly object handler

cdef class ServiceSink(CallableSink):
    # In an account where nats-server has an import of a service of the system account, and to a message trace it is one.
    # `target` is called with the subject and gives the one over there.
    cdef str _account
    cdef object _target
