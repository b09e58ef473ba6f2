"""What a user's JWT came to: the part of an identity that no configuration knows (reference 02.1, SEC-06)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec


class Credential(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Times are Unix seconds, 0: none; -1: no limit."""

    subject: str
    """The user's public key."""
    token: str = ""
    """As the client showed it; "": the auth callout has answered for it."""
    signing_key: str = ""
    """Who issued it, when it was not the account itself."""
    account: str = ""
    issued_s: int = 0
    ends_s: float = 0
    """When the connection ends: the token's end, or that of the hours in which the user may connect."""
    name: str = ""
    """What people call the user."""
    tags: tuple[str, ...] = ()
    max_payload: int = -1
    max_subscriptions: int = -1
    is_bearer: bool = False
    has_defaults: bool = False
    """Its permissions are the account's."""

    @property
    def issuer(self) -> str:
        """As it is shown."""
        return self.signing_key or self.account

    def __repr__(self) -> str:
        return f"Credential({self.subject})"


class Stranger(Protocol):
    """A connection that wants to be let in."""

    @property
    def ip(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def cid(self) -> int: ...


class Awaited(Protocol):
    """A verdict that comes later. While `begun`, no deadline ends the connection; if `final`, nobody else is asked."""

    begun: bool
    final: bool

    def begin(self, done: Callable[[Any], None]) -> None:
        """`done(verdict)`, from the loop, when it is known: an Identity, None, or again something to wait for."""

    def give_up(self) -> None:
        """Nobody waits any more; `done` is not called."""
