"""How a connection came in: what is known of a client before it says who it is."""

from __future__ import annotations

from typing import Final

import msgspec

STANDARD: Final = "STANDARD"
WEBSOCKET: Final = "WEBSOCKET"
LOCAL: Final = "LOCAL"
"""By the socket for operators: the kernel has said that it is one."""


class TlsPeer(msgspec.Struct, frozen=True):
    """What a handshake came to."""

    version: str
    """`1.2` or `1.3`."""
    cipher: str
    """Go's name."""
    first: bool
    """The handshake came before INFO."""
    chain: tuple[bytes, ...] = ()
    """The client's certificates (DER), its own first; empty: it has shown none."""


class Cookies(msgspec.Struct, frozen=True):
    """Credentials that came with an upgrade to WebSocket."""

    user: str = ""
    password: str = ""
    token: str = ""
    jwt: str = ""

    def __repr__(self) -> str:
        return "Cookies(...)"


class Origin(msgspec.Struct, frozen=True):
    """`kind` is a connection type as users are allowed to have; `tls` None: in the clear."""

    kind: str = STANDARD
    tls: TlsPeer | None = None
    cookies: Cookies | None = None

    @property
    def is_websocket(self) -> bool:
        """Did it come in over WebSocket?"""
        return self.kind == WEBSOCKET


    @property
    def is_local(self) -> bool:
        """Did it come in by the socket for operators?"""
        return self.kind == LOCAL


DIRECT: Final = Origin()
"""Over TCP, in the clear."""
