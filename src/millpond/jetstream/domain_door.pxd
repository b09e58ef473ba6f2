# `$JS.<domain>.API.>` is `$JS.API.>`: the way in for clients that name the domain.
from libc.stdint cimport uint32_t
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink

cdef class DomainDoor(Sink):
    cdef Router _router
    cdef bytes _prefix               # "$JS.<domain>.API."
