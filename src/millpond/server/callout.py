"""The auth callout at work (reference 02.1, SEC-09): a service on a subject says who is let in.

    a client's CONNECT -> request on $SYS.REQ.USER.AUTH in the service's account -> answer -> Identity, or refused
                          '-> no answer within `authorization { timeout }` -> refused

The client waits meanwhile: nothing of it is read, nothing is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from millpond.accounts import callout, xkey
from millpond.accounts.authenticate import Identity, with_cookies
from millpond.accounts.book import AccountBook, Known
from millpond.accounts.callout import Denied, Request, Service, ThisServer
from millpond.accounts.claims import UserClaims
from millpond.base.errors import OptionError
from millpond.base.ids import nuid
from millpond.broker.broker import Broker
from millpond.broker.sink import CallableSink
from millpond.config.operator import CalloutOptions
from millpond.config.options import Options
from millpond.config.security import GLOBAL_ACCOUNT
from millpond.server.logs import log
from millpond.wire.handshake import ConnectOptions


def check(options: Options) -> None:
    """Raises OptionError for what cannot work at all; says in the log what will not work as it is."""
    wanted = options.callout
    if wanted is None:
        return
    if wanted.xkey and not xkey.is_there():
        raise OptionError("xkey of auth_callout needs PyNaCl: pip install 'millpond[callout]'")
    if wanted.account not in (GLOBAL_ACCOUNT, *(account.name for account in options.accounts)):
        log.error('Authorization callout account "%s" not valid', wanted.account)
    for name in wanted.users:
        if name not in [user.name for user in options.users]:
            log.error('Authorization callout user "%s" not valid: %s', name, "it is not in the configuration")


class Callout:
    """Of one server; sessions ask `judge` about everybody who wants to be let in."""

    def __init__(self, broker: Broker, loop: asyncio.AbstractEventLoop) -> None:
        self.broker, self.loop = broker, loop
        self.prefix = f"$SYS._INBOX.{nuid()}."
        self._sent = 0

    def reply(self) -> bytes:
        """Where an answer goes that nobody else awaits."""
        self._sent += 1
        return f"{self.prefix}{self._sent}".encode()

    def server(self) -> ThisServer:
        broker = self.broker
        return ThisServer(
            id=broker.server_id, name=broker.server_name, host=broker.info["host"], version=broker.info["version"],
            tags=broker.options.server_tags, keys=broker.keys, xkey=broker.xkey, xkey_secret=broker.xkey_secret,
        )  # fmt: skip

    def judge(self, member: Any, verdict: Any, connect: ConnectOptions) -> Any:
        """A verdict as before, or one to wait for. verdict: of the configuration, or of claims."""
        connect = with_cookies(connect, member.origin.cookies)
        options: CalloutOptions | None = self.broker.options.callout
        found = verdict if isinstance(verdict, Identity) else None
        if options is not None:
            return self._configured(options, member, verdict, found, connect)
        if found is None or found.credential is None:
            return verdict
        known: Known | None = self.broker.book.known.get(found.account)
        if known is None or not known.has_callout:
            return verdict
        given = known.claims.nats.authorization
        if found.name in given.auth_users:
            return callout.guarded(found)
        service = Service(known.name, known.name, given.xkey, known)
        return Awaited(self, member, service, connect, found)

    def _configured(
        self, options: CalloutOptions, member: Any, verdict: Any, found: Identity | None, connect: ConnectOptions
    ) -> Any:
        account = found.account if found is not None else GLOBAL_ACCOUNT
        if account != GLOBAL_ACCOUNT and options.allowed_accounts and account not in options.allowed_accounts:
            return verdict
        name = found.name if found is not None else connect.shown_user
        if name in options.users:
            inside = found is not None and found.account == options.account
            return callout.guarded(found) if inside and found is not None else verdict
        service = Service(options.account, options.issuer, options.xkey)
        return Awaited(self, member, service, connect, found or Identity(name))


class Awaited:
    """The service's answer about one client; see `credential.Awaited`."""

    begun = True
    final = True

    def __init__(
        self, room: Callout, member: Any, service: Service, connect: ConnectOptions, who: Identity
    ) -> None:
        self._room, self._member, self._service = room, member, service
        self._connect, self._who = connect, who
        self._timeout_ns: int = room.broker.options.auth_timeout_ns
        self._request = Request(room.server(), service, self._timeout_ns)
        self._done: Callable[[Any], None] | None = None
        self._subscription: Any = None
        self._router: Any = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, done: Callable[[Any], None]) -> None:
        """Ask."""
        self._done = done
        self._timer = self._room.loop.call_later(self._timeout_ns / 1e9, self._too_late)
        try:
            self._ask()
        except Denied as why:
            self._room.loop.call_soon(self._deny, why)
        except Exception:  # such as a request that cannot be sealed here: the client gets its answer
            log.exception("an auth callout's request on account %s", self._service.account)
            self._room.loop.call_soon(self._conclude, None)

    def _ask(self) -> None:
        room, account = self._room, self._room.broker.accounts.get(self._service.account)
        if account is None:
            raise Denied(f'No valid account "{self._service.account}" for auth callout request: account missing')
        tls = room.broker.options.tls
        headers, body = self._request.message(
            self._member, self._connect, self._who, tls is not None and tls.verifies
        )
        reply = room.reply()
        self._router = account.router
        self._subscription = self._router.subscribe(reply, CallableSink(self._hear))
        self._router.publish(callout.SUBJECT.encode(), body, reply, headers)
        room.broker.turn.wake()

    def give_up(self) -> None:
        """The client has gone."""
        self._done = None
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._subscription is not None:
            self._router.unsubscribe(self._subscription)
            self._subscription = None

    def _hear(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        """The first answer counts. It is looked at outside of the turn that brought it."""
        if self._subscription is not None:
            self._end()
            self._room.loop.call_soon(self._step, partial(self._answered, body))

    def _step(self, act: Callable[[], None]) -> None:
        """Whatever becomes of it, the client gets its answer."""
        if self._done is None:
            return
        try:
            act()
        except Denied as why:
            self._deny(why)
        except Exception:
            log.exception("the auth callout's answer on account %s", self._service.account)
            self._conclude(None)

    def _answered(self, body: bytes) -> None:
        user = self._request.user_of(body, self._member)
        place = self._request.place_of(user)
        book: AccountBook | None = self._room.broker.book
        if book is not None and place not in book.known and book.directory is not None:
            book.directory.fetch(place, partial(self._step, partial(self._place, user, place)), self._member.ip)
        else:
            self._place(user, place)

    def _place(self, user: UserClaims, place: str) -> None:
        broker = self._room.broker
        if place not in broker.accounts:
            raise Denied(
                f'no valid account "{place}" for auth callout response on account "{self._service.account}": '
                "account missing"
            )
        target = broker.book.known.get(place) if broker.book is not None else None
        found = callout.identity(user, self._who.name, place, target)
        if place == self._service.account:
            found = callout.guarded(found)
        self._conclude(found)

    def _deny(self, why: Denied) -> None:
        log.warning("%s", callout.title(str(why)))
        self._conclude(why.reason or None, callout.title(str(why)))

    def _too_late(self) -> None:
        log.debug("Authorization callout response not received in time on account %s", self._service.account)
        self._conclude(None)

    def _conclude(self, verdict: Any, reason: str = "") -> None:
        self._end()
        done, self._done = self._done, None
        if done is None:
            return
        account = self._room.broker.accounts.get(self._service.account)
        if not isinstance(verdict, Identity) and account is not None and self._room.broker.events is not None:
            self._room.broker.events.refused_in(account, self._member, reason)
        done(verdict)
