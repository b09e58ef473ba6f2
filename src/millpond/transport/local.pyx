"""The socket for operators: clients of this machine that the kernel knows, in the system account.

A path in the file system, mode 0600. Whoever connects is asked by nobody: the kernel tells which user's process it is,
and those of the server's own user and of root are let in. Its sessions are those of TCP in every other way.
"""

import errno
import logging
import os
import socket
import struct

from millpond.transport.reactor cimport Reactor, Source
from millpond.transport.tcp cimport TcpConnection

from millpond.accounts.origin import LOCAL, Origin
from millpond.base import limits
from millpond.transport.binding import bound_locally

log = logging.getLogger("millpond")

cdef extern from "poller.h" nogil:
    int POLLER_READ

ORIGIN = Origin(kind=LOCAL)
HELLO = dict.fromkeys(("auth_required", "tls_required", "tls_verify", "tls_available"), False)
ADDRESS = "unix"
CREDENTIALS = struct.Struct("3i")            # pid, uid, gid: struct ucred of unix(7)


cdef class LocalListener(Source):
    """Accepts operators inside the turn. Raises OSError."""
    cdef readonly object sock
    cdef readonly str path
    cdef object _file                        # (device, inode) of the socket that is ours
    cdef list _open

    def __init__(self, Reactor reactor, str path):
        self._open = []
        self.path = os.path.abspath(path)
        self.sock = bound_locally(self.path)
        self._file = _file_at(self.path)
        self.sock.listen(limits.LOCAL_CONNECTIONS_MAX)
        reactor.add(self, self.sock.fileno(), POLLER_READ)

    cdef int ready(self, int what) except -1:
        for _ in range(limits.LOCAL_CONNECTIONS_MAX):
            try:
                sock, _address = self.sock.accept()
            except BlockingIOError:
                return 0
            except OSError as error:
                log.error("cannot accept operators on %s: %s", self.path, error.strerror)
                self.reactor.want(self, 0)
                self.reactor.loop.call_later(0.1, self.resume)
                return 0
            try:
                self.let_in(sock)
            except OSError as error:
                log.error("a new operator's connection failed: %s", error.strerror)
                sock.close()
        return 0

    def let_in(self, sock):
        cdef TcpConnection connection
        pid, uid, _gid = CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
        self._open = [connection for connection in self._open if connection.sock is not None]
        if uid not in (0, os.geteuid()):
            log.error("Operator refused: process %d is of user %d, not of ours (%d) nor of root", pid, uid, os.geteuid())
            sock.close()
        elif len(self._open) >= limits.LOCAL_CONNECTIONS_MAX:
            log.error("Operator refused: %d are here already", len(self._open))
            sock.close()
        else:
            sock.setblocking(False)
            self._open.append(TcpConnection(self.reactor, sock, ADDRESS, pid, ORIGIN, HELLO))

    def resume(self):
        """Accept again."""
        if self.sock is not None:
            self.reactor.want(self, POLLER_READ)

    def close(self):
        """Stop listening; the path goes, if it is still ours."""
        if self.sock is None:
            return
        self.reactor.remove(self)
        self.sock.close()
        self.sock = None
        try:
            if _file_at(self.path) == self._file:
                os.unlink(self.path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                log.error("cannot remove %s: %s", self.path, error.strerror)


def _file_at(path):
    found = os.lstat(path)
    return found.st_dev, found.st_ino
