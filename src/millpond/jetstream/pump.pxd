# The pump and commit phases of JetStream: which consumers are ready, in rotation.
from libc.stdint cimport uint64_t
from millpond.broker.router cimport Router
from millpond.base.budget cimport Budget
from millpond.broker.sink cimport Sink
from millpond.broker.turn cimport Phase, Turn
from millpond.store.committer cimport Committer

cdef class Settler(Sink):
    # Owes answers for what is committed: a stream.
    cdef int settle(self) except -1

cdef class CommitPhase(Phase):
    cdef readonly Committer committer
    cdef list _streams                               # [Settler] with answers to give
    cdef int add(self, Settler stream) except -1     # it keeps the flag that it is in the list

cdef class Pump(Phase):
    cdef public Budget output                        # None, or: while it is over its share nothing is delivered
    cdef public bint refusing                        # the server is out of memory: streams take no publishes
    cdef list _ready
    cdef set _queued                                 # id() of what is in _ready
    cdef dict _watched                               # {Follower: None} that wait for somebody to listen
    cdef Router _router
    cdef uint64_t _generation
    cdef int add(self, object consumer) except -1    # a Consumer or a Phase; adding it twice is one entry
    # It is told, once a turn, when subscriptions have changed; until forgotten.
    cdef int watch(self, object follower, Router router) except -1
    cdef int forget(self, object follower) except -1
    cdef int _tell_watched(self) except -1
    cdef bint _is_full(self) noexcept
