# The subscription of the JetStream API, as the router sees it.
from libc.stdint cimport uint32_t, uint64_t
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink
from millpond.jetstream.stream cimport Stream
from millpond.wire.message cimport Msg

cdef class QuickRemovals:
    cdef dict _streams                       # {name: Stream}, the engine's own
    cdef Router _router
    cdef readonly uint64_t taken             # so far
    # True: it is done, and answered when it is durable. False: nothing has happened, the API must judge the request.
    cdef bint take(self, const Msg* msg) except -1
    cdef bint _delete(self, const Msg* msg) except -1
    cdef bint _purge(self, const Msg* msg) except -1
    cdef Stream _stream(self, const Msg* msg, uint32_t verb_len)

cdef class ApiDoor(Sink):
    # handler(subject, reply, hdr, body, source), all bytes, for every request that is the API's own.
    cdef readonly object handler
    cdef QuickRemovals _removals
    cdef str _served_by                      # the account whose service the API is, as message traces tell it
