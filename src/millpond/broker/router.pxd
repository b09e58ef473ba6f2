# From a subject to sinks. One Router per account; it owns the account's Sublist.
from libc.stdint cimport uint32_t, uint64_t
from millpond.wire.message cimport Msg
from millpond.subjects.sublist cimport Sublist
from millpond.broker.sink cimport Sink, Subscription

cdef class Router:
    cdef readonly Sublist sublist
    cdef public object imports       # None, or it is told: added(sub), dropped(sub)
    cdef uint64_t _random
    cdef int _route_group(self, list members, const Msg* msg, Sink source) except -1
    cdef uint64_t _next_random(self) noexcept
    # Hands `msg` to every plain subscriber of `subject` and to one member of each queue group (another
    # member is tried when the chosen one does not take it). `subject` may differ from msg.subject: a
    # consumer's message travels on the deliver subject and shows the stored one. Returns how many took it.
    cdef int route(self, const char* subject, uint32_t subject_len, const Msg* msg, Sink source) except -1
    # The same for a message whose way is told.
    cdef int route_traced(self, const char* subject, uint32_t subject_len, const Msg* msg, Sink source,
                          object trace) except -1
    cdef int _route_group_traced(self, list members, const Msg* msg, Sink source, object trace) except -1
    # The control plane's publish: reply, headers (whole block) and body as bytes.
    cpdef int publish(self, bytes subject, bytes body, bytes reply=*, bytes headers=*) except -1
    cdef int add(self, Subscription sub) except -1
    cdef int drop(self, Subscription sub) except -1      # in no hurry: it is closed already
    cpdef Subscription subscribe(self, bytes subject, Sink sink, bytes queue=*, int tag=*)
    cpdef int unsubscribe(self, Subscription sub) except -1
    cdef bint has_interest(self, const char* subject, uint32_t subject_len) except -1
