# The subscription of the JetStream API, as the router sees it.
from millpond.broker.sink cimport Sink

cdef class ApiDoor(Sink):
    # handler(subject, reply, hdr, body, source), all bytes, for every request that is the API's own.
    cdef readonly object handler
