# `$JS.<domain>.API.>` is `$JS.API.>`: the way in for clients that name the domain.
from libc.stdint cimport uint32_t
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink
from millpond.wire.message cimport Msg

cdef class DomainDoor(Sink):
    cdef Router _router
    cdef bytes _prefix               # "$JS.<domain>.API."
    cdef bytes _rename(self, Msg* msg)
