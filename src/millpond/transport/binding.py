"""The socket of a listener. Every address means those of IPv4 and of IPv6, in one socket, as it does for Go.

`localhost` is ::1 first for many clients: a server that listens on every address must be there, too.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

EVERY_ADDRESS: Final = ("", "0.0.0.0", "::")
NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT)
WAITING_MAX: Final = 1024
"""Connections that are not accepted yet; the kernel has a bound of its own (net.core.somaxconn)."""
MAPPED: Final = "::ffff:"
"""How the kernel writes the IPv4 address of a peer on a socket of both (RFC 4291 2.5.5.2)."""


def bound(host: str, port: int) -> socket.socket:
    """Bound and non-blocking, not listening yet; a port of 0 or less is any free one. Raises OSError."""
    return wrapped(_bound_where(host, port))


def wrapped(sock: _socket.socket) -> socket.socket:
    """The same socket, as others take it; non-blocking."""
    import socket

    found = socket.socket(fileno=sock.detach())
    found.setblocking(False)
    return found


def _bound_where(host: str, port: int) -> _socket.socket:
    if host in EVERY_ADDRESS:
        try:
            return _bound(_socket.AF_INET6, "::", port)
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
        host = "0.0.0.0"
    return _bound(_socket.AF_INET6 if ":" in host else _socket.AF_INET, host, port)


def listening(host: str, port: int) -> _socket.socket:
    """Clients may connect: the kernel holds them until they are accepted. To be `wrapped`: the module of such sockets
    takes 3 ms to import, and clients are not to wait for it. Raises OSError."""
    sock = _bound_where(host, port)
    try:
        sock.listen(WAITING_MAX)
    except OSError:
        sock.close()
        raise
    return sock


def _bound(family: int, host: str, port: int) -> _socket.socket:
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, host != "::")
        sock.setblocking(False)
        sock.bind((host, max(0, port)))
    except OSError:
        sock.close()
        raise
    return sock


def bound_locally(path: str) -> socket.socket:
    """A Unix socket at this path, for its owner only; non-blocking, not listening yet. What a server that is gone left
    there is replaced. Raises OSError.
    """
    import socket

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_behind(path):
            os.unlink(path)
        sock.setblocking(False)
        sock.bind(path)
        os.chmod(path, 0o600)  # before it listens, nobody can connect
    except OSError as error:
        sock.close()
        number, why = error.errno or errno.ENAMETOOLONG, error.strerror or error  # a path that is too long has none
        raise OSError(number, f"cannot listen on {path}: {why}") from None
    return sock


def _is_left_behind(path: str) -> bool:
    """Is there a socket that nobody listens on?"""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def peer_ip(address: str) -> str:
    """The address of a peer as people write it."""
    return address.removeprefix(MAPPED) if "." in address else address
