"""The system account at work: requests under `$SYS.REQ` are answered, events are published (reference 07.2, 07.3).

    a request -> queue (per account) -> one task -> the document -> its reply subject

What an account asks about itself is answered in its own subject space; nothing of it goes through the system account.
The documents' modules are loaded with the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millpond.base.errors import MillpondError, OptionError
from millpond.broker.broker import Broker
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink, ServiceSink
from millpond.monitor.envelope import BAD_REQUEST, FAILED, Envelopes
from millpond.monitor.request_queue import RequestQueue
from millpond.monitor.system_events import SystemEvents
from millpond.monitor.view import View, loaded
from millpond.server.logs import log

if TYPE_CHECKING:
    from millpond.broker.message_trace import MessageTrace
    from millpond.broker.service_latency import Report
    from millpond.monitor.system_requests import SystemRequests

PREFIX: Final = "$SYS.REQ."
SERVER_PAGES: Final = (
    "IDZ", "STATSZ", "VARZ", "SUBSZ", "CONNZ", "ROUTEZ", "GATEWAYZ", "LEAFZ", "ACCOUNTZ", "JSZ", "HEALTHZ", "PROFILEZ",
    "EXPVARZ", "IPQUEUESZ", "RAFTZ",
)  # fmt: skip
ACCOUNT_PAGES: Final = ("SUBSZ", "CONNZ", "LEAFZ", "JSZ", "INFO", "STATZ", "CONNS")
COMMANDS: Final = ("RELOAD", "KICK", "LDM")
OWN_PAGES: Final = ("ACCOUNT.PING.CONNZ", "ACCOUNT.PING.STATZ", "SERVER.PING.CONNZ")
USER_INFO: Final = "USER.INFO"
SUBSCRIBERS: Final = "$SYS.DEBUG.SUBSCRIBERS"
SUBSCRIBERS_OF: Final = "ACCOUNT.NSUBS"
DOCUMENTS: Final = tuple(
    f"millpond.monitor.{name}" for name in ("request_options", "encodings", "statsz", "subscribers", "system_requests")
)
"""Where they are made; the last one needs the others."""
STATSZ_FIRST_S: Final = 0.25
STATSZ_S: Final = 10.0
"""Pauses between STATSZ begin short and double up to this."""
CONNECTIONS_S: Final = 30.0
"""How often the number of an account's connections is told without a change."""


class Asked(NamedTuple):
    """One request. `account`: the ordinary account it is about and comes from; "": it came in the system account."""

    subject: str
    reply: bytes
    headers: bytes
    body: bytes
    router: Router
    account: str


class Ear:
    """Takes requests in one account's subject space. `account`: as in Asked."""

    def __init__(self, system: System, router: Router, account: str) -> None:
        self._system = system
        self._router = router
        self._account = account

    def page(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        name = subject.decode("utf-8", "replace")
        self._system.ask(Asked(name, reply, hdr, body, self._router, self._account))

    def user_info(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        if reply:
            self._router.publish(reply, self._system.user_info(source))


def _page_of(account: str, subject: bytes) -> bytes:
    """What an account asks about itself, as the system account is asked about it."""
    return f"{PREFIX}ACCOUNT.{account}.".encode() + subject.rpartition(b".")[2]


def _user_of(account: str, subject: bytes) -> bytes:
    return f"{PREFIX}USER.{account}.INFO".encode()


class System:
    """Of one running server that has a system account.

    reload: reads the configuration again, raising MillpondError.
    """

    def __init__(self, view: View, reload: Callable[[], Awaitable[None]], loop: asyncio.AbstractEventLoop) -> None:
        self._view = view
        self._broker: Broker = view.broker
        self._reload = reload
        self._loop = loop
        self.envelopes = Envelopes(view)
        self._router: Router = view.broker.system.router
        self.events = SystemEvents(self.envelopes, self._router)
        self._requests: SystemRequests | None = None
        self._queue: RequestQueue[Asked] = RequestQueue()
        self._dropping = False
        self._worker: asyncio.Task[None] | None = None
        self._teller: asyncio.Task[None] | None = None
        """Of the server's numbers."""
        self._subscriptions: list[tuple[Router, Any]] = []
        self._known: dict[str, Any] = {}
        self._subscribe()
        self.use_accounts()
        self._broker.events = self.events
        self._broker.tell_trace = self._tell_trace
        self._broker.tell_latency = self._tell_latency
        self._pause_s = STATSZ_FIRST_S
        self._timers = {
            self._statsz_due: loop.call_later(STATSZ_FIRST_S, self._statsz_due),
            self._connections_due: loop.call_later(CONNECTIONS_S, self._connections_due),
        }

    # --- subjects ---

    def _subscribe(self) -> None:
        ear = Ear(self, self._router, "")
        sink = CallableSink(ear.page)
        server_id = self._broker.server_id
        names = [f"SERVER.{whom}.{page}" for whom in ("PING", server_id) for page in SERVER_PAGES]
        names += [f"SERVER.{server_id}.{command}" for command in COMMANDS]
        names += [f"ACCOUNT.*.{page}" for page in ACCOUNT_PAGES]
        for name in ("SERVER.PING", *names, SUBSCRIBERS_OF):
            self._listen(self._router, PREFIX + name, sink)
        self._listen(self._router, SUBSCRIBERS, sink)
        self._listen(self._router, PREFIX + USER_INFO, CallableSink(ear.user_info))

    def _listen(self, router: Router, subject: str, sink: CallableSink) -> None:
        self._subscriptions.append((router, router.subscribe(subject.encode(), sink)))

    def use_accounts(self) -> None:
        """Listen in the accounts that there are now."""
        accounts = self._broker.accounts
        self._known = {name: known for name, known in self._known.items() if accounts.get(name) is known}
        alive = {id(account.router) for account in accounts.values()}
        for router, subscription in self._subscriptions:
            if id(router) not in alive:                  # it holds what holds it: nobody else would let go of either
                router.unsubscribe(subscription)
        self._subscriptions = [row for row in self._subscriptions if id(row[0]) in alive]
        for name, account in accounts.items():
            if name in self._known or account is self._broker.system:
                continue
            self._known[name] = account
            ear = Ear(self, account.router, name)
            sink = ServiceSink(ear.page, self._broker.system.name, partial(_page_of, name))
            for page in OWN_PAGES:
                self._listen(account.router, PREFIX + page, sink)
            sink = ServiceSink(ear.user_info, self._broker.system.name, partial(_user_of, name))
            self._listen(account.router, PREFIX + USER_INFO, sink)

    # --- requests ---

    def ask(self, asked: Asked) -> None:
        """A request came in."""
        if not asked.reply:
            if not asked.account and asked.subject.endswith((".PING", ".STATSZ")):
                self._tell_statistics()
            return
        if not self._queue.put(asked.account, asked, len(asked.headers) + len(asked.body)):
            if not self._dropping:
                whose = asked.account or self._broker.system.name
                log.warning("Too many requests wait under $SYS.REQ in account %s, some get no answer", whose)
            self._dropping = True
        elif self._worker is None:
            self._worker = self._loop.create_task(self._work())

    async def _work(self) -> None:
        """Answer until nobody waits."""
        while (asked := self._queue.take()) is not None:
            try:
                await self._answer(asked)
            except Exception:
                log.exception("a request on %s failed", asked.subject)
        self._worker, self._dropping = None, False

    async def _answer(self, asked: Asked) -> None:
        name = asked.subject.rpartition(".")[2]
        if name in COMMANDS and not asked.account:
            self._send(asked, await self._command(name, asked.body))
            return
        await loaded(*DOCUMENTS)
        from millpond.monitor import system_requests  # most servers are never asked

        if asked.subject == SUBSCRIBERS:
            system = self._broker.system.name
            self._send(asked, await system_requests.subscribers(self._view, system, asked.body))
        elif asked.subject == PREFIX + SUBSCRIBERS_OF:
            self._send(asked, await system_requests.subscribers_of(self._view, asked.body))
        else:
            request = system_requests.Request(asked.subject, asked.headers, asked.body, asked.account)
            reply = await self._documents().answer(request)
            if reply is not None:
                self._send(asked, reply.body, reply.headers)

    def _documents(self) -> SystemRequests:
        from millpond.monitor.system_requests import SystemRequests

        if self._requests is None:
            self._requests = SystemRequests(self._view, self.envelopes)
        return self._requests

    def _send(self, asked: Asked, body: bytes | None, headers: bytes = b"") -> None:
        if body is not None:
            asked.router.publish(asked.reply, body, b"", headers)
            self._broker.turn.wake()

    def user_info(self, source: Any) -> bytes:
        """At once: it tells of the one who asks, in that moment."""
        if source is None or not hasattr(source, "info"):
            return self.envelopes.refusal(BAD_REQUEST)
        from millpond.monitor.user_info import user_info

        return self.envelopes.answer(user_info(source))

    # --- commands ---

    async def _command(self, name: str, body: bytes) -> bytes | None:
        from millpond.jetstream.go_json import JsonError, read
        from millpond.monitor import request_options as options

        cid = 0
        if name != "RELOAD":
            try:
                cid = read(body, options.CLIENT[name]).get("cid", 0)
            except JsonError as error:
                log.error("SYSTEM - Error unmarshalling kick client request: %s", error)
                return None
        try:
            asked = read(body, options.EVENT_FILTER) if body else {}
        except JsonError as error:
            return self.envelopes.refusal(BAD_REQUEST, str(error))
        if not options.is_meant(self._view, asked):
            return None
        try:
            await self._carry_out(name, cid)
        except MillpondError as error:
            return self.envelopes.refusal(FAILED, str(error))
        return self.envelopes.answer()

    async def _carry_out(self, name: str, cid: int) -> None:
        if name == "RELOAD":
            await self._reload()
            return
        session = self._broker.sessions.get(cid)
        if session is None:
            raise OptionError("no such client or leafnode id" if name == "KICK" else "no such client id")
        if name == "KICK":
            session.close("Kicked")
        elif not session.tell_lame_duck():
            raise OptionError("client does not support Lame Duck Mode or is not ready to receive the notification")

    # --- events ---

    def _statsz_due(self) -> None:
        self._pause_s = min(2 * self._pause_s, STATSZ_S)
        self._timers[self._statsz_due] = self._loop.call_later(self._pause_s, self._statsz_due)
        self._tell_statistics()

    def _tell_statistics(self) -> None:
        if self._teller is None and self.events.wants_statistics():
            self._teller = self._loop.create_task(self._tell())

    async def _tell(self) -> None:
        try:
            await loaded(*DOCUMENTS)
            self.events.statistics(await self._documents().statsz())
            self._broker.turn.wake()
        except Exception:
            log.exception("the server's numbers could not be told")
        self._teller = None

    def _connections_due(self) -> None:
        self._timers[self._connections_due] = self._loop.call_later(CONNECTIONS_S, self._connections_due)
        alive = [account for account in self._broker.accounts.values() if account.connections]
        if any([self.events.counted(account) for account in alive]):
            self._broker.turn.wake()

    # --- message traces ---

    def _tell_trace(self, trace: MessageTrace) -> None:
        """The way of one message has ended."""
        from millpond.monitor.encodings import packed  # most servers are never asked
        from millpond.monitor.message_traces import document

        account = self._broker.accounts.get(trace.account)
        if account is not None:
            body, headers = packed(document(trace, self.envelopes.server()), trace.encoding)
            account.router.publish(trace.destination, body, b"", headers)
            self._broker.turn.wake()

    # --- latencies of services ---

    def _tell_latency(self, report: Report) -> None:
        """How one request ended."""
        from millpond.monitor.service_latencies import document  # most servers measure nothing

        account = self._broker.accounts.get(report.account)
        if account is not None:
            account.router.publish(report.subject.encode(), document(report))
            self._broker.turn.wake()

    # --- the end ---

    def lame_duck(self) -> None:
        """The server is about to leave."""
        self.events.leaving("LAMEDUCK")

    def close(self) -> None:
        """The server stops: say so, and no more."""
        self.events.leaving("SHUTDOWN")
        self._broker.events = self._broker.tell_trace = self._broker.tell_latency = None
        for timer in self._timers.values():
            timer.cancel()
        for task in (self._worker, self._teller):
            if task is not None:
                task.cancel()
        self._worker = self._teller = None
        for router, subscription in self._subscriptions:
            router.unsubscribe(subscription)
        self._subscriptions.clear()
