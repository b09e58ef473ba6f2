"""TLS below another layer: the handshake of connections that have no session yet."""

import logging

from millpond.transport.reactor cimport Reactor
from millpond.transport.stream cimport Stream
from millpond.transport.tls cimport TlsStream

from millpond.config import tls_context
from millpond.transport.tls import HandshakeFailed
from millpond.transport.tls_door import is_pinned
from millpond.transport.tls_errors import NOT_PINNED


class TlsBelow:
    """What one listener has of it. Raises OptionError when the options cannot be used."""

    def __init__(self, options):
        self.options = options
        self.context = tls_context.server_context(options)

    def stream(self, Reactor reactor, sock):
        """For a new connection."""
        return TlsStream(reactor, sock.fileno(), self.context)

    def shake(self, Stream stream):
        """One step. None, or why it failed (HandshakeFailed, with a level for the log)."""
        cdef TlsStream tls = <TlsStream?>stream
        try:
            if tls.shake() and not is_pinned(self.options, tls.chain()):
                raise HandshakeFailed(NOT_PINNED)
        except HandshakeFailed as failure:
            failure.level = logging.DEBUG if failure.probe else logging.ERROR
            return failure
        return None

    def peer(self, Stream stream):
        """What the handshake came to; None: it goes on."""
        cdef TlsStream tls = <TlsStream?>stream
        if not tls.shaken:
            return None
        return tls.peer(False)
