"""Claims of accounts in a directory (reference 02.1, SEC-07): one file `<account>.jwt` each.

`full` holds every account there is; `cache` holds those that were asked for, the last ones, and for a time. A token is
on the disk, under its name, before anybody is told that it was taken.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from millpond.accounts import claims_rules as rules
from millpond.accounts.book import AccountError, decoded
from millpond.base.digests import sha256
from millpond.base.errors import OptionError
from millpond.config.operator import ResolverOptions
from millpond.config.tls import TlsClientOptions
from millpond.server.logs import log
from millpond.store.directory import make_directory, sync_directory

SUFFIX: Final = ".jwt"
DELETED: Final = ".deleted"
CACHED: Final = 1000
"""How many accounts a cache holds that says nothing else."""

Ask = Callable[[str], Awaitable[str]]
"""Asks whoever else may know the account. Raises AccountError."""


class _Kept(msgspec.Struct):
    """A file. `at_s`: when it came or was used, by the monotonic clock."""

    at_s: float
    digest: bytes
    ends_s: int | None = None
    """When what it says ends (Unix time, 0: never); None: nobody has looked."""


class DirectoryResolver:
    """`manages`: it hears of all claims itself. Raises OptionError for a directory that cannot be used.

    Files are written by a thread, one at a time, while the loop goes on."""

    manages = True

    def __init__(self, options: ResolverOptions, ask: Ask) -> None:
        self.is_cache = options.kind == "cache"
        self.may_delete = self.is_cache or options.allow_delete
        self._hard = self.is_cache or options.hard_delete
        self._limit = options.limit if options.limit > 0 else CACHED if self.is_cache else 0
        self._ttl_s = options.ttl_ns / 1e9
        self._ask = ask
        self.path = Path(options.directory).absolute()
        self._kept: dict[str, _Kept] = {}
        """By account, those that were used last at the end."""
        self._writing = asyncio.Lock()
        try:
            make_directory(self.path)
            for file in sorted(self.path.glob(f"*{SUFFIX}")):
                self._take(file)
        except OSError as error:
            raise OptionError(f"account resolver: {error.filename}: {error.strerror}") from None

    def _take(self, file: Path) -> None:
        """What was here at the start. Other files stay as they are."""
        try:
            if rules.is_account(file.stem) and file.is_file():
                self._track(file.stem, file.read_text())
                return
        except UnicodeDecodeError:
            pass
        log.warning("account resolver: %s holds no account, it has no effect", file)

    # --- as a resolver ---

    async def check(self) -> None:
        """There is: the directory."""

    def use_tls(self, tls: TlsClientOptions | None) -> None:
        """Others are asked by messages."""

    async def fetch(self, name: str) -> str:
        """From here, or from whoever answers."""
        token = self.load(name)
        if token:
            return token
        if not self.is_cache:
            raise AccountError("account jwt not found")
        token = await self._ask(name)
        await self.store(name, token)
        return token

    def check_preload(self, name: str, token: str) -> None:
        """Raises AccountError unless it is this account's token."""
        self._file(name)
        if decoded(token).subject != name:
            raise AccountError("jwt subject nkey and provided nkey do not match")

    async def store(self, name: str, token: str) -> None:
        """Keep it unless what is here is newer. Raises AccountError."""
        before, claims = self.load(name), decoded(token)
        if before:
            try:
                kept = decoded(before)
            except AccountError:
                kept = None
            if kept is not None and (kept.token_id == claims.token_id or kept.issued_s > claims.issued_s):
                return
        self.check_preload(name, token)
        await self.save(name, token)

    # --- as a store ---

    def load(self, name: str) -> str:
        """"": it is not here, or no longer."""
        self._expire()
        token = self._read(name)
        if token and self.is_cache and (kept := self._kept.pop(name, None)) is not None:
            kept.at_s = time.monotonic()
            self._kept[name] = kept
        return token

    def _read(self, name: str) -> str:
        try:
            return self._file(name).read_text()
        except (OSError, UnicodeDecodeError):
            return ""

    async def save(self, name: str, token: str) -> bool:
        """False: it is what was here. Raises AccountError when there is no room."""
        file = self._file(name)
        async with self._writing:
            if name in self._kept and self._kept[name].digest == _hash(token):
                return False
            if self._limit and name not in self._kept and len(self._kept) >= self._limit:
                if not self.is_cache:
                    raise AccountError("jwt store is full")
                self._drop(next(iter(self._kept)))
            try:
                await asyncio.to_thread(_write, file, token)
            except OSError as error:
                raise AccountError(f"{error.strerror}") from None
            self._track(name, token)
        return True

    async def delete(self, name: str) -> None:
        """Of its own accord it stays as a file of another name. Raises AccountError."""
        file = self._file(name)
        async with self._writing:
            try:
                await asyncio.to_thread(_delete, file, self._hard)
            except OSError as error:
                raise AccountError(f"{error.strerror}") from None
            self._kept.pop(name, None)

    def names(self) -> list[str]:
        """Those that are good for something, sorted."""
        return [name for name, _ in self.rows()]

    def rows(self) -> Iterator[tuple[str, str]]:
        """(account, token), sorted, without those that have expired. Nobody uses them by that."""
        self._expire()
        for name in sorted(self._kept):
            token = self._read(name)
            if token and name in self._kept and not 0 < self._ends_s(name, token) < time.time():
                yield name, token

    def _ends_s(self, name: str, token: str) -> int:
        """Found out once for each file."""
        kept = self._kept[name]
        if kept.ends_s is None or kept.digest != _hash(token):
            try:
                kept.ends_s, kept.digest = decoded(token).expires_s, _hash(token)
            except AccountError:
                kept.ends_s = 0
        return kept.ends_s

    @property
    def hash(self) -> bytes:
        """32 bytes, the same for the same tokens in any order."""
        total = 0
        for each in self._kept.values():
            total ^= int.from_bytes(each.digest, "big")
        return total.to_bytes(32, "big")

    def _file(self, name: str) -> Path:
        if not rules.is_account(name):
            raise AccountError("invalid public key")
        return self.path / f"{name}{SUFFIX}"

    def _track(self, name: str, token: str) -> None:
        self._kept.pop(name, None)
        self._kept[name] = _Kept(time.monotonic(), _hash(token))

    def _drop(self, name: str) -> None:
        self._file(name).unlink(missing_ok=True)
        self._kept.pop(name, None)

    def _expire(self) -> None:
        """What a cache has held for too long goes; the oldest ones are in front."""
        while self._ttl_s > 0 and self._kept:
            name, kept = next(iter(self._kept.items()))
            if kept.at_s + self._ttl_s >= time.monotonic():
                break
            self._drop(name)


def _hash(token: str) -> bytes:
    return bytes(sha256(token.encode()).digest())


def _write(file: Path, token: str) -> None:
    """Whole or not at all, whatever happens."""
    fresh = file.with_name(file.name + ".new")
    with open(fresh, "w", encoding="utf-8") as out:
        out.write(token)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    sync_directory(file.parent)


def _delete(file: Path, hard: bool) -> None:
    """For good, or to another name."""
    if hard:
        file.unlink(missing_ok=True)
    elif file.exists():
        file.replace(file.with_name(file.name + DELETED))
    sync_directory(file.parent)
