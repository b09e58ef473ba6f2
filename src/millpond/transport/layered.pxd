# A connection whose bytes pass through a stream (TLS, WebSocket).
from millpond.transport.reactor cimport Reactor
from millpond.transport.stream cimport Stream
from millpond.transport.tcp cimport TcpConnection

cdef class LayeredConnection(TcpConnection):
    cdef Stream stream
    cdef int set_up(self, Reactor reactor, object sock, Stream stream) except -1
    cdef int start_session(self, str ip, int port) except -1
    cdef int write_out(self) except -1
