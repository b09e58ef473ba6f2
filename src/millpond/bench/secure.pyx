"""Connections over TLS for the load generator. The server's certificate is not judged: it was made a moment ago.

As on the server's side (transport/tls), OpenSSL works on a whole read or write at a time, between two memory buffers.
"""

import ssl

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t
from millpond.bench.loop cimport Connection, Driver

from millpond.bench.loop import LoadError

cdef extern from "Python.h":
    int PyBUF_READ, PyBUF_WRITE
    object PyMemoryView_FromMemory(char* memory, Py_ssize_t size, int flags)

cdef enum:
    READ_BYTES = 65536
    WRITE_BYTES = 65536          # of plain bytes that are encrypted at a time


def context():
    """An ssl.SSLContext for a client that trusts whoever answers."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def secured(sock):
    """The Connection over a blocking socket to a NATS server that asks for TLS: INFO has come, and the handshake."""
    cdef SecureConnection conn = SecureConnection()
    info = b""
    while not info.endswith(b"\r\n"):
        some = sock.recv(READ_BYTES)
        if not some:
            raise LoadError("the server closed the connection instead of saying INFO")
        info += some
    if b'"tls_required":true' not in info and b'"tls_available":true' not in info:
        raise LoadError("the server does not offer TLS")
    conn.incoming, conn.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    conn.ssl = context().wrap_bio(conn.incoming, conn.outgoing)
    while True:
        try:
            conn.ssl.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(conn.outgoing.read())
            conn.incoming.write(sock.recv(READ_BYTES))
    sock.sendall(conn.outgoing.read())
    below = conn.ssl._sslobj                 # without the methods in Python around it, as on the server's side
    conn.decrypt, conn.encrypt, conn.rest = below.read, below.write, below.pending
    return conn


cdef class SecureConnection(Connection):
    """`promised` plain bytes are in `held`, encrypted; they count as sent when all of it has left."""
    cdef object ssl, incoming, outgoing, decrypt, encrypt, rest
    cdef bytes held
    cdef Py_ssize_t held_at, promised

    cdef Py_ssize_t put(self, const char* data, size_t n) except -1:
        cdef Py_ssize_t sent
        if self.promised == 0:
            self.promised = <Py_ssize_t>min(n, <size_t>WRITE_BYTES)
            self.encrypt(PyMemoryView_FromMemory(<char*>data, self.promised, PyBUF_READ))
            self.held, self.held_at = self.outgoing.read(), 0
        while self.held_at < len(self.held):
            sent = Connection.put(self, PyBytes_AS_STRING(self.held) + self.held_at,
                                  <size_t>(len(self.held) - self.held_at))
            if sent == 0:
                return 0
            self.held_at += sent
        sent, self.promised = self.promised, 0
        return sent

    cdef int read(self, Driver driver, int64_t now_ns) except -1:
        cdef char[READ_BYTES] buffer
        cdef Py_ssize_t got = self.receive(buffer, READ_BYTES)
        self.incoming.write(PyMemoryView_FromMemory(buffer, got, PyBUF_READ))
        try:
            while got:
                self._make_room()
                got = self.decrypt(
                    self.capacity - self.end,
                    PyMemoryView_FromMemory(self.data + self.end, <Py_ssize_t>(self.capacity - self.end), PyBUF_WRITE))
                self.end += <size_t>got
                self._dispatch(driver, now_ns)
                if not self.incoming.pending and not self.rest():
                    return 0
        except ssl.SSLWantReadError:
            return 0
        return 0
