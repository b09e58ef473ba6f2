"""Whom a server trusts to name accounts and users (reference 02.1, SEC-06, SEC-07): frozen values, as texts."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from millpond.base import limits
from millpond.config.security import GLOBAL_ACCOUNT
from millpond.config.tls import TlsClientOptions

TOKEN_PREFIX: Final = "eyJ"
"""How every JWT begins: `{"` in base64."""


class ResolverOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where claims of accounts come from. Durations in ns; 0: the default."""

    kind: Literal["memory", "full", "cache", "url"] = "memory"
    url: str = ""
    """An account's key is put behind it."""
    directory: str = ""
    allow_delete: bool = False
    hard_delete: bool = False
    limit: int = 0
    """Accounts that may be stored; 0: any number."""
    ttl_ns: int = 0
    """How long a cache keeps an account; negative: for ever."""
    interval_ns: int = 0
    timeout_ns: int = limits.ACCOUNT_FETCH_TIMEOUT_NS

    def __repr__(self) -> str:
        """Without the URL, as credentials may be in it."""
        return f"ResolverOptions(kind={self.kind!r}, directory={self.directory!r})"


class OperatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """With tokens or keys, every account and every user is known by its claims."""

    tokens: tuple[str, ...] = ()
    """Operators' JWTs."""
    keys: tuple[str, ...] = ()
    """Operators' public keys, when there are no tokens."""
    resolver: ResolverOptions | None = None
    resolver_tls: TlsClientOptions | None = None
    """Of the resolver's URL; None: the machine's authorities, and no certificate of one's own."""
    preload: tuple[tuple[str, str], ...] = ()
    """(account, its JWT)."""
    pinned_accounts: frozenset[str] = frozenset()
    """Whose users are let in; empty: any account's."""
    default_sentinel: str = ""
    """The JWT of whoever shows none."""

    def __repr__(self) -> str:
        """Without tokens."""
        return f"OperatorOptions(keys={self.keys!r}, resolver={self.resolver!r})"


class CalloutOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody else decides who is let in (SEC-09)."""

    issuer: str
    """The account key that signs its answers."""
    account: str = GLOBAL_ACCOUNT
    """Where it listens."""
    users: tuple[str, ...]
    """Who is not asked about."""
    xkey: str = ""
    """Whose eyes requests are for."""
    allowed_accounts: tuple[str, ...] = ()
    """Whose users it is asked about; empty: those of all."""
