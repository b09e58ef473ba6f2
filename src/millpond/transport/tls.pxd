# TLS between a socket and a session: OpenSSL through Python's ssl and two memory buffers.
from millpond.transport.reactor cimport Reactor
from millpond.transport.stream cimport Layer, iovec

cdef class TlsStream(Layer):
    cdef Reactor reactor
    cdef object context, ssl, incoming, outgoing
    cdef object decrypt, encrypt, rest   # of what is below `ssl`, whose own methods are a call in Python more
    cdef bytes held                  # encrypted, and not all of it has left
    cdef Py_ssize_t held_at
    cdef size_t came                 # in the handshake
    cdef bint shaken, broken, ended
    cdef int shake(self) except -1                       # 1 = done, 0 = the client's turn; HandshakeFailed
    cdef int _receive(self) except -3
    cdef Py_ssize_t _decrypt(self, iovec* parts, int count) except -3
    cdef int _tell(self) except -2                       # sends what OpenSSL has to say
    cdef tuple chain(self)
    cdef object peer(self, bint first)                   # TlsPeer, once the handshake is done
