"""TLS of one listener: what is in force for connections that come in from now on. A reload replaces it."""

from __future__ import annotations

import time
from typing import Any

from millpond.accounts import certificates
from millpond.config import tls_context
from millpond.config.tls import TlsOptions
from millpond.transport.tls import TlsConnection

SECOND_NS = 1_000_000_000


class Rate:
    """`connection_rate_limit`: so many handshakes in a second that begins with the first of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._until_ns = 0

    def allows(self) -> bool:
        """One more. nats-server's counting: the last one of a second is one too many."""
        now_ns = time.monotonic_ns()
        if now_ns > self._until_ns:
            self._count, self._until_ns = 0, now_ns + SECOND_NS
        else:
            self._count += 1
        return self._count < self._most


class TlsDoor:
    """Makes the connections of a listener. Raises OptionError when the options cannot be used."""

    def __init__(self, options: TlsOptions, *, allow_non_tls: bool = False, proxied: bool = False) -> None:
        self.options = options
        self.proxied = proxied
        """Load balancers say where their clients are."""
        self.allow_non_tls = allow_non_tls
        self.context = tls_context.server_context(options)
        self.rate = Rate(options.connection_rate_limit) if options.connection_rate_limit else None
        self.hello = {"tls_required": True, "tls_available": allow_non_tls} if options.handshake_first else None

    def __call__(self, reactor: Any, sock: Any, ip: str, port: int) -> None:
        TlsConnection(reactor, sock, ip, port, self)

    def is_pinned(self, chain: tuple[bytes, ...]) -> bool:
        """May a client with these certificates come in?"""
        return is_pinned(self.options, chain)


def is_pinned(options: TlsOptions, chain: tuple[bytes, ...]) -> bool:
    """Is the first of these certificates listed, or none?"""
    pinned = options.pinned_certs
    return not pinned or (bool(chain) and certificates.key_sha256(chain[0]) in pinned)

