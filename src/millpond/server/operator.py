"""Accounts by their claims, while the server runs (reference 02.1, SEC-06 to SEC-08): only where there is an operator.

    a user of an account that is not in the book -> resolver -> book -> the accounts' options -> the server
    new claims of an account that is in the book --------^                                        |
                                                           its connections: who may not stay goes <-

An account comes with those that it imports of. When an activation or an account ends, everything is made anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.accounts import callout
from millpond.accounts import claims_rules as rules
from millpond.accounts.authenticate import Identity
from millpond.accounts.book import AccountBook, AccountError, Known, decoded, is_revoked, permissions
from millpond.accounts.operator import trust
from millpond.accounts.permissions import CompiledPermissions
from millpond.base.errors import OptionError
from millpond.base.ids import nuid
from millpond.broker.broker import Broker
from millpond.broker.sink import CallableSink
from millpond.config.operator import OperatorOptions
from millpond.config.options import Options
from millpond.config.security import AccountOptions
from millpond.server.account_fetches import AccountFetches
from millpond.server.logs import log
from millpond.server.resolvers import MemoryResolver, Resolver, resolver

if TYPE_CHECKING:
    from millpond.monitor.envelope import Envelopes
    from millpond.server.claims_requests import ClaimsRequests

EXPIRED: Final = "Authentication Expired", "Account Authentication Expired"
REVOKED: Final = "Credentials Revoked", "User Authentication Revoked"
TOO_MANY: Final = "Maximum Account Connections Exceeded", "maximum account active connections exceeded"
TOO_MANY_SUBSCRIPTIONS: Final = "Maximum Subscriptions Exceeded", "maximum subscriptions exceeded"
AGAIN_AFTER_S: Final = 1.0
"""An account that has expired is not looked up more often."""
TIMER_S_MAX: Final = 86_400.0


class OperatorRoom:
    """apply: brings the server's accounts to these options."""

    def __init__(
        self, broker: Broker, options: Options, apply: Callable[[tuple[AccountOptions, ...]], None]
    ) -> None:
        assert options.operator is not None
        self._broker = broker
        self._options: OperatorOptions = options.operator
        self._system = options.system_account
        self._apply = apply
        self.loop = asyncio.get_running_loop()
        self.book: AccountBook = broker.book
        self.resolver: Resolver = resolver(
            self._options.resolver, self._options.resolver_tls, self._ask
        )
        self._fetches = AccountFetches(self.loop, self._fetch)
        self._looked_up: dict[str, float] = {}
        """When accounts that are in the book were fetched anew; by the loop's time."""
        self._timer: asyncio.TimerHandle | None = None
        self._requests: ClaimsRequests | None = None
        self._preloading: asyncio.Task[None] | None = None

    async def start(self, store: Path | None) -> None:
        """Preload, and fetch the system account and those that have streams in the store. Raises OptionError."""
        await self._preload()
        try:
            await self.resolver.check()
        except AccountError as error:
            raise OptionError(str(error)) from None
        if self._system:
            try:
                await self._load(self._system)
            except AccountError as error:
                raise OptionError(f"error resolving system account: {error}") from None
        for name in _with_streams(store):
            try:
                await self._load(name)
            except AccountError as error:
                log.warning("Account fetch failed: %s", error)
        self.book.directory = self
        self._use()

    async def _preload(self) -> None:
        for name, token in self._options.preload:
            try:
                await self.resolver.store(name, token)
                issues = rules.of_account(decoded(token))
            except AccountError as error:
                raise OptionError(f"preload account error for {rules.quoted(name)}: {error}") from None
            if rules.is_blocking(issues):
                log.warning("Account [%s] has validation issues:", name)
                for issue in issues:
                    log.warning("  - %s", issue.description)

    def listen(self, envelopes: Envelopes) -> None:
        """Hear of new claims in the system account."""
        if self.resolver.manages:
            from millpond.server.directory_requests import DirectoryRequests

            known = trust(self._options)
            self._requests = DirectoryRequests(self, self._broker, envelopes, self.resolver, known)  # type: ignore[arg-type]
            return
        from millpond.server.claims_requests import ClaimsRequests

        self._requests = ClaimsRequests(self, self._broker, envelopes)

    def close(self) -> None:
        """Nothing more is fetched."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        self.book.directory = None
        if self._timer is not None:
            self._timer.cancel()
        if self._preloading is not None:
            self._preloading.cancel()
        self._fetches.close()

    def check_reload(self, options: Options) -> None:
        """Before anything is changed. Raises OptionError for what `reload` could not do."""
        assert options.operator is not None
        if options.operator.preload == self._options.preload or isinstance(self.resolver, MemoryResolver):
            return
        for name, token in options.operator.preload:
            try:
                self.resolver.check_preload(name, token)
            except AccountError as error:
                raise OptionError(f"preload account error for {rules.quoted(name)}: {error}") from None

    def reload(self, options: OperatorOptions) -> None:
        """What is preloaded may be something else now; accounts that are not there any more end."""
        before, self._options = self._options, options
        self.resolver.use_tls(options.resolver_tls)
        if before.preload == options.preload:
            return
        if not isinstance(self.resolver, MemoryResolver):
            self._preloading = self.loop.create_task(self._preload_again())
            return
        self.resolver.tokens = dict(options.preload)
        for name in list(self.book.known):
            try:
                self.update(self.resolver.tokens[name], name)
            except (KeyError, AccountError) as error:
                why = "removed" if isinstance(error, KeyError) else "bad claims"
                log.info("Reloaded: deleting account [%s]: %s", why, rules.quoted(name))
                self._remove(name)

    async def _preload_again(self) -> None:
        """Of the settings in force; what is wrong with them was found before, but for what the disk says."""
        try:
            await self._preload()
        except OptionError as error:
            log.error("%s", error)

    def _remove(self, name: str) -> None:
        """The account is not there any more."""
        self.book.forget(name)
        self._looked_up.pop(name, None)
        for session in self._sessions(name):
            session.refuse()
        self._use()

    # --- fetching ---

    def fetch(self, name: str, done: Callable[[], None], address: str = "") -> None:
        """`done()` when the account is in the book, or cannot be had; see `book.Directory`."""
        self._fetches.ask(name, address, done)

    async def _fetch(self, name: str) -> None:
        known = self.book.known.get(name)
        if known is not None and self._is_too_soon(known):
            return
        try:
            await self._load(name)
            self._use()
        except AccountError as error:
            log.warning("Account fetch failed: %s", error)

    def _is_too_soon(self, known: Known) -> bool:
        """Was this account fetched a moment ago? If not, it will be now."""
        now = self.loop.time()
        if time.time() - known.updated_s < AGAIN_AFTER_S or now - self._looked_up.get(known.name, -1) < AGAIN_AFTER_S:
            return True
        self._looked_up[known.name] = now
        return False

    async def _load(self, name: str) -> None:
        """Into the book, with the accounts that it imports of. Raises AccountError when it cannot be had itself."""
        if not rules.is_account(name):
            raise AccountError("will only fetch valid account keys")
        self.book.put(await self._token(name), name)
        tried: set[str] = set()
        while missing := self.book.missing() - tried:
            for other in sorted(missing):
                tried.add(other)
                try:
                    self.book.put(await self._token(other), other)
                except AccountError as error:
                    log.error("Can't locate account [%s] for import (err=%s)", other, error)

    async def _ask(self, name: str) -> str:
        """Of whoever answers in the system account."""
        router = self._broker.system.router
        answer: asyncio.Future[bytes] = self.loop.create_future()

        def hear(subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
            if body and not answer.done():
                answer.set_result(body)

        reply = f"$SYS._INBOX.{nuid()}".encode()
        subscription = router.subscribe(reply, CallableSink(hear))
        timeout_ns = self._options.resolver.timeout_ns if self._options.resolver is not None else 0
        try:
            router.publish(f"$SYS.REQ.ACCOUNT.{name}.CLAIMS.LOOKUP".encode(), b"", reply)
            self._broker.turn.wake()
            return (await asyncio.wait_for(answer, timeout_ns / 1e9)).decode("utf-8", "replace")
        except TimeoutError:
            raise AccountError("fetching jwt timed out") from None
        finally:
            router.unsubscribe(subscription)

    async def _token(self, name: str) -> str:
        began = time.monotonic()
        token = await self.resolver.fetch(name)
        took_s = time.monotonic() - began
        if took_s > 1:
            log.warning("Account [%s] fetch took %gs", name, took_s)
        return token

    # --- new claims ---

    def update(self, token: str, name: str) -> None:
        """New claims of an account that is in the book. Raises AccountError."""
        before = self.book.known[name]
        known = self.book.put(token, name)
        if known is None:
            return
        self._use()
        self._enforce(before, known)
        missing = self.book.missing()
        for other in missing:
            self.fetch(other, lambda: None)

    def forget(self, name: str) -> None:
        """The account is no more: its connections end."""
        if name in self.book.known:
            self.book.forget(name)
            self._looked_up.pop(name, None)
            self._end(name)
            self._use()

    def _use(self) -> None:
        """Bring the server to what the book says, and come back when that changes by itself."""
        self._apply(self.book.options())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.book.next_change_s:
            wait_s = min(max(0.0, self.book.next_change_s - time.time()), TIMER_S_MAX)
            self._timer = self.loop.call_later(wait_s, self._changed)

    def _changed(self) -> None:
        self._timer = None
        for known in list(self.book.known.values()):
            if known.expired:
                self._end(known.name)
        self._use()

    def _sessions(self, name: str) -> list[Any]:
        return [session for session in list(self._broker.sessions.values()) if session.account.name == name]

    def _end(self, name: str) -> None:
        for session in self._sessions(name):
            session.close(*EXPIRED)

    # --- who may stay ---

    def _enforce(self, before: Known, known: Known) -> None:
        """After new claims of this account, in nats-server's order."""
        limit, count = known.claims.nats.limits.conn, 0
        old = before.scopes
        altered = {key for key, scope in old.items() if key not in known.scopes or known.scopes[key] != scope}
        for session in self._sessions(known.name):
            if 0 <= limit <= count:
                session.close(*TOO_MANY)
                continue
            count += 1
            self._enforce_on(session, known, altered)

    def _enforce_on(self, session: Any, known: Known, altered: set[str]) -> None:
        identity: Identity | None = session.identity
        if identity is None or identity.credential is None:
            return
        body, credential = known.claims.nats, identity.credential
        if credential.is_bearer and body.limits.disallow_bearer:
            log.debug("%s:%d - cid:%d - Bearer User JWT not allowed", session.ip, session.port, session.cid)
            session.refuse()
        elif is_revoked(body.revocations, credential.subject, credential.issued_s):
            session.close(*REVOKED)
        elif credential.signing_key in altered:
            session.close("Authentication Failure")
        else:
            if credential.has_defaults:
                identity = with_defaults(identity, known)
            session.use(identity)
            if not session.is_closed() and session.is_full():
                session.close(*TOO_MANY_SUBSCRIPTIONS)


def with_defaults(identity: Identity, known: Known) -> Identity:
    """A user without permissions of its own, with those that its account gives now."""
    assert identity.user is not None
    own = permissions(known.claims.nats.default_permissions)
    if own == identity.user.permissions:
        return identity
    user = msgspec.structs.replace(identity.user, permissions=own)
    compiled = CompiledPermissions(own) if own is not None else None
    found = msgspec.structs.replace(identity, user=user, permissions=compiled)
    return callout.guarded(found) if identity.guarded else found


def _with_streams(store: Path | None) -> list[str]:
    """Accounts that have a part of the store."""
    if store is None or not store.is_dir():
        return []
    return sorted(path.name for path in store.iterdir() if path.is_dir() and rules.is_account(path.name))
