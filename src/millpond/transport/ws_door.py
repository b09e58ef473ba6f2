"""WebSocket of one listener: what is in force for connections that come in from now on."""

from __future__ import annotations

from typing import Any

from millpond.base import limits
from millpond.config.websocket import WebsocketOptions
from millpond.transport.websocket import WsConnection


class WsDoor:
    """Makes the connections of a listener. Raises OptionError when its certificate cannot be used."""

    def __init__(self, options: WebsocketOptions) -> None:
        self.options = options
        self.upgrade_ns = options.handshake_timeout_ns or limits.WS_UPGRADE_NS
        self.port = options.port
        """The one in use, once it is known."""
        self.tls: Any = None
        if options.tls is not None:
            from millpond.transport.tls_below import TlsBelow  # and OpenSSL with it

            self.tls = TlsBelow(options.tls)

    def __call__(self, reactor: Any, sock: Any, ip: str, port: int) -> None:
        WsConnection(reactor, sock, ip, port, self)

    def hello(self, broker: Any) -> dict[str, Any]:
        """What INFO says otherwise to those who come in here."""
        secure = self.tls is not None
        return {
            "host": self.options.host,
            "port": self.port,
            "auth_required": bool(broker.info.get("auth_required")) or self.options.has_own_users,
            "tls_required": secure,
            "tls_available": secure,
        }
