# The pump and commit phases of JetStream: which consumers are ready, in rotation.
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
    cdef public Budget output                        # None, or: while it is full nothing is delivered
    cdef public bint refusing                        # the server is out of memory: streams take no publishes
    cdef list _ready
    cdef set _queued                                 # id() of what is in _ready
    cdef int add(self, object consumer) except -1    # a Consumer or a Phase; adding it twice is one entry
