# What leaves a stream because its consumers are through with it (work queue and interest retention).
from libc.stdint cimport uint32_t, uint64_t
from millpond.broker.turn cimport Phase
from millpond.jetstream.listeners cimport Listeners
from millpond.jetstream.pump cimport Pump
from millpond.store.api cimport Store

cdef enum Policy:
    LIMITS = 0                   # nothing
    WORKQUEUE = 1                # what its consumer has acknowledged
    INTEREST = 2                 # what every consumer that wants it has acknowledged

cdef class Retention(Phase):
    cdef Policy policy
    cdef Listeners _listeners    # of the stream
    cdef Store _store
    cdef Pump _pump
    cdef uint64_t _next, _end    # sequences to be looked at; _next 0: none
    cdef bint _unwanted          # among them, those that no consumer wants go too (interest)
    cdef int apply(self, str retention) except -1
    # Is a message of this subject to be stored? Not when nobody wants it, with interest retention.
    cdef bint takes(self, const char* subject, uint32_t subject_len) except *
    # A consumer is through with this message. True: it was removed.
    cdef bint settled(self, uint64_t stream_seq) except *
    # Consumers are through with some messages of [from_seq, to_seq]. A few are looked at now, the rest in later turns.
    # `unwanted`: with interest retention, also remove what no consumer wants any more.
    cdef int review(self, uint64_t from_seq, uint64_t to_seq, bint unwanted) except -1
    cdef int stop(self) except -1
    cdef bint _done(self, uint64_t stream_seq, bint unwanted) except *
    cdef bint _look(self) except *
