# A connection: what it reads, what it keeps of that, and its session.
from millpond.broker.session cimport Session
from millpond.structures.buffers cimport ByteBuffer
from millpond.transport.reactor cimport Reactor, Source
from millpond.transport.stream cimport iovec

cdef class TcpConnection(Source):
    cdef Session session
    cdef object sock
    cdef ByteBuffer carry
    cdef size_t need
    cdef bint reads_little           # of strangers: nothing that the socket gave is held back below
    cdef bint read_less              # than there may have been
    cdef int start(self, Reactor reactor, object sock, str ip, int port) except -1      # all but opening the session
    cdef int want(self, int bit, bint on) except -1
    # Fills the parts: how many bytes, 0 = nothing more comes, -1 = nothing now, -2 = the connection is broken.
    cdef Py_ssize_t take(self, iovec* parts, int count) except -3
    cdef int read(self) except -1
    cdef int feed_fresh(self, const char* data, size_t n) except -1
    cdef int feed_carry(self) except -1
    cdef int check_carry(self) except -1
    cdef int tell_unfinished(self, bint another) except -1
    cdef int discard(self) except -1
    cdef int resume(self) except -1
    cdef int shut(self) except -1
