"""A stream without a layer, for a connection that turned out to come in the clear; what layers have in common."""

from libc.errno cimport EAGAIN, EINTR, errno as c_errno

from millpond.base import limits

cdef extern from "sys/uio.h" nogil:
    ssize_t readv(int fd, const iovec* parts, int count)

cdef extern from "sys/socket.h" nogil:
    ssize_t c_send "send"(int fd, const void* buffer, size_t n, int flags)
    int MSG_NOSIGNAL


cdef size_t WRITE_BYTES = limits.LAYER_WRITE_BYTES


cdef Py_ssize_t send_some(int fd, const char* data, size_t n) noexcept:
    cdef ssize_t sent
    while True:
        sent = c_send(fd, data, n, MSG_NOSIGNAL)
        if sent >= 0:
            return sent
        if c_errno != EINTR:
            return 0 if c_errno == EAGAIN else -1


cdef class Stream:
    """Override what a layer does otherwise."""

    def __init__(self, int fd):
        self.fd = fd

    cdef Py_ssize_t take(self, iovec* parts, int count) except -3:
        cdef ssize_t got = readv(self.fd, parts, count)
        if got < 0:
            return -1 if c_errno == EAGAIN or c_errno == EINTR else -2
        return got

    cdef Py_ssize_t put(self, const char* data, size_t n) except -2:
        return send_some(self.fd, data, n)

    cdef bint has_unsent(self) noexcept:
        return False

    cdef int push(self) except -2:
        return 1

    cdef int finish(self, str reason) except -1:
        return 0


cdef class Layer(Stream):
    """Override `encode` and `push`."""

    cdef int encode(self, const char* data, size_t n) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef Py_ssize_t put(self, const char* data, size_t n) except -2:
        cdef int left
        if not self.promised:
            left = self.push()
            if left <= 0:
                return left
            self.promised = min(n, WRITE_BYTES)
            self.encode(data, self.promised)
        assert self.promised <= n, "what was promised is offered again"
        left = self.push()
        if left <= 0:
            return left
        n, self.promised = self.promised, 0
        return <Py_ssize_t>n
