"""New claims of accounts, told in the system account (reference 02.1, SEC-08).

    $SYS.REQ.ACCOUNT.<account>.CLAIMS.UPDATE   (and, as before, $SYS.ACCOUNT.<account>.CLAIMS.UPDATE)

Who manages accounts publishes a token there, and is answered what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millpond.accounts import book
from millpond.accounts.book import AccountError
from millpond.accounts.claims import AccountClaims
from millpond.base import limits
from millpond.broker.broker import Broker
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.jetstream.go_json import encode
from millpond.monitor.envelope import FAILED, Envelopes
from millpond.monitor.request_queue import RequestQueue
from millpond.server.logs import log

if TYPE_CHECKING:
    from millpond.server.operator import OperatorRoom

DONE: Final = 200
UPDATES: Final = ("$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE", "$SYS.ACCOUNT.{}.CLAIMS.UPDATE")

Handler = Callable[[str, bytes, bytes], Awaitable[None]]
"""(subject, reply, body)."""


class Asked(NamedTuple):
    """One request that waits."""

    handler: Handler
    subject: str
    reply: bytes
    body: bytes


class Refused(Exception):
    """A request that fails: `about` an account or "", what failed, and why."""

    def __init__(self, about: str, what: str, why: object) -> None:
        super().__init__(about, what, why)
        self.about, self.what, self.why = about, what, str(why)


class ClaimsRequests:
    """Of one server with a system account. Requests wait in a queue, and are answered in their order by one task."""

    def __init__(self, room: OperatorRoom, broker: Broker, envelopes: Envelopes) -> None:
        self._room = room
        self._broker = broker
        self.envelopes = envelopes
        self._router: Router = broker.system.router
        self._subscriptions: list[Any] = []
        self._queue: RequestQueue[Asked] = RequestQueue(limits.CLAIMS_REQUESTS_MAX, limits.CLAIMS_REQUESTS_BYTES_MAX)
        self._worker: asyncio.Task[None] | None = None
        for subject in UPDATES:
            self.listen(subject.format("*"), self._update)

    def listen(self, subject: str, handler: Handler, queue: bytes = b"") -> None:
        """queue: "", or the group of which one server answers."""

        def take(subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
            self._put(Asked(handler, subject.decode("utf-8", "replace"), reply, body))

        self._subscriptions.append(self._router.subscribe(subject.encode(), CallableSink(take), queue))

    def _put(self, asked: Asked) -> None:
        if not self._queue.put("", asked, len(asked.body)):
            log.warning("Too many requests about claims wait, one on %s gets no answer", asked.subject)
        elif self._worker is None:
            self._worker = self._room.loop.create_task(self._work())

    async def _work(self) -> None:
        """Answer until nobody waits."""
        while (asked := self._queue.take()) is not None:
            try:
                await asked.handler(asked.subject, asked.reply, asked.body)
            except Exception:  # the next ones are answered all the same
                log.exception("a request on %s failed", asked.subject)
        self._worker = None

    def close(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
        for subscription in self._subscriptions:
            self._router.unsubscribe(subscription)
        self._subscriptions.clear()

    @staticmethod
    def account_in(subject: str) -> str:
        return subject.split(".")[3 if subject.startswith("$SYS.REQ.") else 2]

    async def _update(self, subject: str, reply: bytes, body: bytes) -> None:
        account = self.account_in(subject)
        try:
            message = self._updated(account, body)
        except Refused as error:
            self.refuse(reply, error)
            return
        self.respond(reply, account, message)

    def _updated(self, account: str, body: bytes) -> str:
        failed = "jwt update resulted in error"
        if not body:
            raise Refused(account, "jwt update error", "request body is empty")
        claims = decoded(body, account, failed)
        if claims.subject != account:
            raise Refused(account, failed, "subject does not match jwt content")
        if account not in self._room.book.known:
            return "jwt update skipped"
        try:
            self._room.update(body.decode(), account)
        except AccountError as error:
            raise Refused(account, failed, error) from None
        return "jwt updated"

    # --- answers ---

    def respond(self, reply: bytes, account: str, message: str) -> None:
        log.debug("%s%s", message, f" - {account}" if account else "")
        data = {"account": account, "code": DONE, "message": message}
        self.send(reply, {"data": {name: value for name, value in data.items() if value}})

    def refuse(self, reply: bytes, error: Refused) -> None:
        log.error("%s - %s%s", error.what, f"{error.about} - " if error.about else "", error.why)
        said = {"account": error.about, "code": FAILED, "description": f"{error.what} - {error.why}"}
        self.send(reply, {"error": {name: value for name, value in said.items() if value}})

    def send(self, reply: bytes, document: dict[str, Any]) -> None:
        """With who speaks in front."""
        if reply:
            self.publish(reply, encode({"server": self.envelopes.server(), **document}))

    def publish(self, reply: bytes, body: bytes) -> None:
        self._router.publish(reply, body)
        self._broker.turn.wake()


def decoded(body: bytes, about: str, failed: str) -> AccountClaims:
    """An account's claims. Raises Refused."""
    try:
        return book.decoded(body.decode("utf-8", "replace"))
    except AccountError as error:
        raise Refused(about, failed, error) from None
