# The bytes of one connection on their way between a socket and a session. This one is the socket itself.
cdef extern from "sys/uio.h" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef class Stream:
    cdef int fd
    cdef bint stranger               # nobody knows yet who is at its other end; set before each take
    cdef bint eager                  # has something to give, or to say that it is over, whatever the socket says
    # As TcpConnection.take.
    cdef Py_ssize_t take(self, iovec* parts, int count) except -3
    # How many of the n bytes have left for the kernel, in whatever form; 0 = none now, -1 = the peer is gone. Who gets
    # fewer than n offers the same bytes again, first: some of them may be on their way.
    cdef Py_ssize_t put(self, const char* data, size_t n) except -2
    cdef bint has_unsent(self) noexcept
    cdef int push(self) except -2    # what is unsent: 1 = has left, 0 = waits, -1 = the peer is gone
    cdef int finish(self, str reason) except -1      # a last word, if there is one; then no more calls

cdef class Layer(Stream):
    """A stream that sends something else than it is given: records, frames. They are held until they have left."""
    cdef size_t promised             # plain bytes of the caller's that are in what is held
    cdef int encode(self, const char* data, size_t n) except -1      # n bytes become something that is held

# n bytes to a socket: how many it took, 0 = none now, -1 = the peer is gone.
cdef Py_ssize_t send_some(int fd, const char* data, size_t n) noexcept
