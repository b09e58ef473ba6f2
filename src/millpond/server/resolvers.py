"""Where the claims of accounts come from (reference 02.1, SEC-07): tokens, by account, which nobody here judges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from millpond.accounts.book import AccountError
from millpond.config.operator import ResolverOptions
from millpond.config.tls import TlsClientOptions

Ask = Callable[[str], Awaitable[str]]


class Resolver(Protocol):
    """`manages`: it hears of new claims itself, and keeps them."""

    manages: bool

    async def check(self) -> None:
        """At the start: is there anybody who could answer? Raises AccountError."""
        ...

    async def fetch(self, name: str) -> str:
        """The account's token. Raises AccountError."""
        ...

    def use_tls(self, tls: TlsClientOptions | None) -> None:
        """After a reload, for one that asks others over TLS."""
        ...

    def check_preload(self, name: str, token: str) -> None:
        """Raises AccountError for what `store` would not take, whatever is here."""
        ...

    async def store(self, name: str, token: str) -> None:
        """Keep it. Raises AccountError where nothing can be kept."""
        ...


class MemoryResolver:
    """What the configuration says, and nothing else."""

    manages = False

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}

    async def check(self) -> None:
        """There is."""

    def use_tls(self, tls: TlsClientOptions | None) -> None:
        """Nobody is asked."""

    async def fetch(self, name: str) -> str:
        if name not in self.tokens:
            raise AccountError("account missing")
        return self.tokens[name]

    def check_preload(self, name: str, token: str) -> None:
        """Anything may be: it is judged when it is fetched."""

    async def store(self, name: str, token: str) -> None:
        self.tokens[name] = token


def resolver(options: ResolverOptions | None, tls: TlsClientOptions | None, ask: Ask) -> Resolver:
    """Made as it was asked for. tls: for a URL; ask: whoever else may know an account. Raises OptionError."""
    if options is None or options.kind == "memory":
        return MemoryResolver()
    if options.kind == "url":
        from millpond.server.url_resolver import UrlResolver

        return UrlResolver(options, tls)
    from millpond.server.directory import DirectoryResolver

    return DirectoryResolver(options, ask)
