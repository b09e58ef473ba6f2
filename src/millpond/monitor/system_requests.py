"""Requests on `$SYS.REQ`: which document answers which subject (reference 07.2). Loaded for the first of them.

    $SYS.REQ.SERVER.PING[.<page>]   $SYS.REQ.SERVER.<id>.<page>   pages of this server
    $SYS.REQ.ACCOUNT.<name>.<page>                                pages about one account
    $SYS.REQ.ACCOUNT.PING.STATZ                                   all accounts

An ordinary account may ask for its own connections and numbers under the names with PING.
"""

from __future__ import annotations

import binascii
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from millpond.broker.account import Account
from millpond.jetstream.go_json import JsonError, Shape, duration_text, encode, read
from millpond.jetstream.go_text import quote
from millpond.monitor import documents, standalone
from millpond.monitor import request_options as options
from millpond.monitor.accounts import (
    AccountStatzOptions,
    AccountzOptions,
    account_detail,
    account_stat,
    accountz,
    accstatz,
)  # fmt: skip
from millpond.monitor.connz import ConnzOptions, connz
from millpond.monitor.encodings import encoded
from millpond.monitor.envelope import BAD_REQUEST, FAILED, Envelopes
from millpond.monitor.healthz import HealthzOptions, healthz
from millpond.monitor.jsz import JszOptions, jsz
from millpond.monitor.jsz import account_detail as jetstream_account
from millpond.monitor.statsz import statsz
from millpond.monitor.subscribers import count_subscribers
from millpond.monitor.subsz import SubszOptions, subsz
from millpond.monitor.system_events import ACCOUNT_CONNECTIONS, typed
from millpond.monitor.varz import varz
from millpond.monitor.view import PageError, View

PROFILE_MAX_NS: Final = 15_000_000_000
Fields = dict[str, Any]
Page = Callable[[View, Fields, str], Awaitable[Any]]
"""(view, the options asked for, the account in the subject or "") -> the document. NOT_OURS: no answer."""
NOT_OURS: Final = object()


class Request(msgspec.Struct, frozen=True):
    """One message on a subject of ours; `account`: an ordinary account that asks about itself, else ""."""

    subject: str
    headers: bytes
    body: bytes
    account: str = ""


class Reply(msgspec.Struct, frozen=True):
    body: bytes
    headers: bytes = b""


class SystemRequests:
    """Answers requests of one server; who sends the answer is the caller's business."""

    def __init__(self, view: View, envelopes: Envelopes) -> None:
        self._view = view
        self._envelopes = envelopes

    async def answer(self, request: Request) -> Reply | None:
        """None: no answer at all."""
        tokens = request.subject.split(".")
        name = tokens[4] if len(tokens) > 4 else "STATSZ"
        if tokens[2] == "ACCOUNT" or request.account:
            return await self._about_account(request, name, request.account or tokens[3])
        if name == "IDZ":
            return Reply(encode(self._envelopes.identity()))
        if name == "STATSZ":
            return await self._statsz(request)
        shape, page = SERVER_PAGES[name]
        return await self._page(request, shape, page, "")

    async def _about_account(self, request: Request, name: str, account: str) -> Reply | None:
        if name == "CONNS":
            return self._connections(request, account)
        everybody = account == "PING" and name == "STATZ"
        shape, page = ACCOUNT_PAGES[name]
        return await self._page(request, shape, page, "" if everybody else account)

    def _connections(self, request: Request, account: str) -> Reply | None:
        try:
            asked = read(request.body, options.CONNECTIONS) if request.body else {}
        except JsonError:
            return None
        found = self._view.broker.accounts.get(account)
        if found is None or not found.connections or asked.get("acc", account) != account:
            return None
        return Reply(encode(account_connections(self._envelopes, found)))

    async def _statsz(self, request: Request) -> Reply | None:
        try:
            asked = read(request.body, options.STATSZ) if request.body else {}
        except JsonError as error:
            return Reply(self._envelopes.refusal(BAD_REQUEST, str(error)))
        return Reply(await self.statsz()) if options.is_meant(self._view, asked) else None

    async def statsz(self) -> bytes:
        """The document as it is broadcast."""
        return encode({"server": self._envelopes.server(), "statsz": await statsz(self._view)})

    async def _page(self, request: Request, shape: Shape, page: Page, account: str) -> Reply | None:
        try:
            asked = read(request.body, shape) if request.body else {}
        except JsonError as error:
            return Reply(self._envelopes.refusal(BAD_REQUEST, str(error)))
        if not options.is_meant(self._view, asked):
            return None
        try:
            data = await page(self._view, options.page_options(asked), account)
        except PageError as error:
            return Reply(self._envelopes.refusal(FAILED, str(error), empty_data=True))
        if data is NOT_OURS:
            return None
        whole = await documents.encoded({"server": self._envelopes.server(), "data": data})
        body, headers = await encoded(whole, request.headers)
        return Reply(body, headers)


def account_connections(envelopes: Envelopes, account: Account) -> Fields:
    """How many connections an account has, as the event tells it."""
    return {**typed(envelopes, ACCOUNT_CONNECTIONS), **account_stat(account)}


async def subscribers(view: View, account: str, body: bytes) -> bytes:
    """`$SYS.DEBUG.SUBSCRIBERS`: how many clients' subscriptions of the account hear `subject [queue]`."""
    subject, _, rest = body.decode("utf-8", "replace").strip().partition(" ")
    queue = rest.partition(" ")[0] if rest else None
    return str(await count_subscribers(view, account, subject, queue)).encode()


async def subscribers_of(view: View, body: bytes) -> bytes | None:
    """`$SYS.REQ.ACCOUNT.NSUBS`: the same for any account; None: no answer."""
    try:
        asked = read(body, options.SUBSCRIBERS)
        queue = binascii.a2b_base64(asked["queue"]).decode("utf-8", "replace") if asked.get("queue") else None
    except ValueError:
        return None
    account = view.broker.accounts.get(asked.get("acc", ""))
    if account is None or not account.connections:
        return None
    return str(await count_subscribers(view, account.name, asked.get("subject", ""), queue)).encode()


# --- the pages ---


async def _varz(view: View, asked: Fields, account: str) -> Fields:
    return await varz(view)


async def _subsz(view: View, asked: Fields, account: str) -> Fields:
    only = {"account": account, "subscriptions": True} if account else {}
    return await subsz(view, SubszOptions(**{**asked, **only}))


async def _connz(view: View, asked: Fields, account: str) -> Fields:
    return await connz(view, ConnzOptions(**{**asked, **({"acc": account} if account else {})}))


async def _routez(view: View, asked: Fields, account: str) -> Fields:
    return standalone.routez(view)


async def _gatewayz(view: View, asked: Fields, account: str) -> Fields:
    return standalone.gatewayz(view)


async def _leafz(view: View, asked: Fields, account: str) -> Fields:
    return standalone.leafz(view)


async def _accountz(view: View, asked: Fields, account: str) -> Fields:
    return await accountz(view, AccountzOptions(**asked))


async def _jsz(view: View, asked: Fields, account: str) -> Any:
    wanted = JszOptions(**asked)
    if wanted.leader_only and view.jetstream is None:
        return NOT_OURS
    return await jsz(view, wanted)


async def _healthz(view: View, asked: Fields, account: str) -> Fields:
    status, page = healthz(view, HealthzOptions(**asked))
    return {"status": page["status"], "status_code": status, **page}


async def _profilez(view: View, asked: Fields, account: str) -> Fields:
    name, duration_ns = asked.get("name", ""), asked.get("duration", 0)
    if not name:
        error = "Profile name not specified"
    elif name == "cpu" and not 0 < duration_ns <= PROFILE_MAX_NS:
        error = f"Duration {duration_text(duration_ns)} should be between 0s and 15s"
    elif name == "cpu":
        error = "Failed to start CPU profile: there is none in this server"
    else:
        error = f"Profile {quote(name)} not found"
    return {"profile": None, "error": error}


async def _expvarz(view: View, asked: Fields, account: str) -> Fields:
    return {"memstats": {}, "cmdline": []}


async def _nothing(view: View, asked: Fields, account: str) -> Fields:
    return {}


async def _account_jsz(view: View, asked: Fields, account: str) -> Fields:
    if view.jetstream is None:
        raise PageError("jetstream not enabled")
    if account not in view.broker.accounts:
        raise PageError(f"account {quote(account)} not found")
    if account not in view.jetstream.accounts:
        raise PageError(f"account {quote(account)} not jetstream enabled")
    return await jetstream_account(view.jetstream.accounts[account], JszOptions(**asked))


async def _account_info(view: View, asked: Fields, account: str) -> Fields:
    return account_detail(view, account)


async def _account_statz(view: View, asked: Fields, account: str) -> Any:
    wanted = AccountStatzOptions(**{**asked, **({"accounts": [account]} if account else {})})
    page = await accstatz(view, wanted)
    return page if page["account_statz"] or wanted.include_unused else NOT_OURS


SERVER_PAGES: Final[Mapping[str, tuple[Shape, Page]]] = {
    "VARZ": (options.VARZ, _varz),
    "SUBSZ": (options.SUBSZ, _subsz),
    "CONNZ": (options.CONNZ, _connz),
    "ROUTEZ": (options.ROUTEZ, _routez),
    "GATEWAYZ": (options.GATEWAYZ, _gatewayz),
    "LEAFZ": (options.LEAFZ, _leafz),
    "ACCOUNTZ": (options.ACCOUNTZ, _accountz),
    "JSZ": (options.JSZ, _jsz),
    "HEALTHZ": (options.HEALTHZ, _healthz),
    "PROFILEZ": (options.PROFILEZ, _profilez),
    "EXPVARZ": (options.EXPVARZ, _expvarz),
    "IPQUEUESZ": (options.IPQUEUESZ, _nothing),
    "RAFTZ": (options.RAFTZ, _nothing),
}
ACCOUNT_PAGES: Final[Mapping[str, tuple[Shape, Page]]] = {
    "SUBSZ": (options.SUBSZ, _subsz),
    "CONNZ": (options.CONNZ, _connz),
    "LEAFZ": (options.LEAFZ, _leafz),
    "JSZ": (options.JSZ, _account_jsz),
    "INFO": (options.ACCOUNT_INFO, _account_info),
    "STATZ": (options.ACCOUNT_STATZ, _account_statz),
}
