"""Which page is at which path, and how a query becomes its options (reference 07.1).

Each handler decodes first, then counts the request, then makes the page: a query that cannot be read is
not counted, as on nats-server.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from millpond.monitor import standalone
from millpond.monitor.accounts import AccountStatzOptions, AccountzOptions, accountz, accstatz
from millpond.monitor.connz import STATES, ConnzOptions, connz
from millpond.monitor.documents import rendered
from millpond.monitor.healthz import HealthzOptions, healthz
from millpond.monitor.http import Answer, Request
from millpond.monitor.jsz import JszOptions, jsz
from millpond.monitor.memz import memz
from millpond.monitor.query import Query
from millpond.monitor.subsz import SubszOptions, subsz
from millpond.monitor.varz import varz
from millpond.monitor.view import PageError, View, loaded

JSON: Final = "application/json"
ANYBODY: Final = (("Access-Control-Allow-Origin", "*"),)
NOT_FOUND: Final = Answer(b"404 page not found\n", 404, headers=(("X-Content-Type-Options", "nosniff"),))

Page = Callable[[Query], Awaitable[Answer]]


def escaped(text: str) -> str:
    """Text as it may stand in HTML, between tags and in quoted attributes."""
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(char, entity)
    return text


async def json_answer(page: Any, status: int = 200, indent: int = 2) -> Answer:
    return Answer(await rendered(page, indent), status, JSON, ANYBODY)


class Pages:
    """The handler of the HTTP server. `base_path` is put before every path."""

    def __init__(self, view: View, base_path: str = "") -> None:
        self._view = view
        self._base = "/" + base_path.strip("/") if base_path.strip("/") else ""
        self._pages: dict[str, Page] = {
            "/": self._root,
            "/varz": self._varz,
            "/connz": self._connz,
            "/subsz": self._subsz,
            "/subscriptionsz": self._subsz,
            "/routez": self._routez,
            "/gatewayz": self._gatewayz,
            "/leafz": self._leafz,
            "/accountz": self._accountz,
            "/accstatz": self._accstatz,
            "/jsz": self._jsz,
            "/healthz": self._healthz,
            "/raftz": self._raftz,
            "/ipqueuesz": self._ipqueuesz,
            "/metrics": self._metrics,
            "/memz": self._memz,
        }

    async def __call__(self, request: Request) -> Answer:
        path = request.path
        if "//" in path:
            return _elsewhere(path, request.query)
        if self._base:
            if path != self._base and not path.startswith(self._base + "/"):
                return NOT_FOUND
            path = path[len(self._base) :] or "/"
        page = self._pages.get(path)
        if page is None:
            return NOT_FOUND
        self._view.broker.clock.refresh()  # it stands still while nobody sends anything
        try:
            return await page(Query(request.query))
        except PageError as error:
            return Answer(str(error).encode(), 400)

    # --- pages ---

    async def _root(self, query: Query) -> Answer:
        self._view.count("/")
        links = "\n".join(
            f'<li><a href="{escaped(self._base + path)}">{escaped(path)}</a></li>'
            for path in self._pages
            if path not in ("/", "/subscriptionsz")
        )
        name = escaped(self._view.broker.server_name)
        return Answer(ROOT.format(name=name, links=links).encode(), content_type="text/html; charset=utf-8")

    async def _varz(self, query: Query) -> Answer:
        self._view.count("/varz")
        return await json_answer(await varz(self._view))

    async def _connz(self, query: Query) -> Answer:
        auth = query.flag("auth")
        subscriptions, detail = query.subscriptions()
        offset, limit, cid = query.integer("offset"), query.integer("limit"), query.unsigned("cid")
        if (state := STATES.get(query.text("state").lower())) is None:
            raise PageError(f"Error decoding state for {query.text('state')}")
        options = ConnzOptions(
            sort=query.text("sort"), auth=auth, subscriptions=subscriptions, subscriptions_detail=detail,
            offset=offset, limit=limit, cid=cid, mqtt_client=query.text("mqtt_client"), state=state,
            user=query.text("user"), acc=query.text("acc"),
        )  # fmt: skip
        self._view.count("/connz")
        return await json_answer(await connz(self._view, options))

    async def _subsz(self, query: Query) -> Answer:
        self._view.count("/subsz")
        options = SubszOptions(
            subscriptions=query.flag("subs"), offset=query.integer("offset"), limit=query.integer("limit"),
            account=query.text("acc"), test=query.text("test"),
        )  # fmt: skip
        return await json_answer(await subsz(self._view, options))

    async def _routez(self, query: Query) -> Answer:
        query.subscriptions()
        self._view.count("/routez")
        return await json_answer(standalone.routez(self._view))

    async def _gatewayz(self, query: Query) -> Answer:
        self._view.count("/gatewayz")
        query.subscriptions()
        query.flag("accs")
        return await json_answer(standalone.gatewayz(self._view))

    async def _leafz(self, query: Query) -> Answer:
        self._view.count("/leafz")
        query.flag("subs")
        return await json_answer(standalone.leafz(self._view))

    async def _accountz(self, query: Query) -> Answer:
        self._view.count("/accountz")
        return await json_answer(await accountz(self._view, AccountzOptions(account=query.text("acc"))))

    async def _accstatz(self, query: Query) -> Answer:
        self._view.count("/accstatz")
        return await json_answer(await accstatz(self._view, AccountStatzOptions(include_unused=query.flag("unused"))))

    async def _jsz(self, query: Query) -> Answer:
        self._view.count("/jsz")
        options = JszOptions(
            accounts=query.flag("accounts"), streams=query.flag("streams"), consumer=query.flag("consumers"),
            direct_consumer=query.flag("direct-consumers"), config=query.flag("config"),
            offset=query.integer("offset"), limit=query.integer("limit"), leader_only=query.flag("leader-only"),
            raft=query.flag("raft"), stream_leader_only=query.flag("stream-leader-only"), account=query.text("acc"),
        )  # fmt: skip
        if options.leader_only and self._view.jetstream is None:
            raise PageError("filtered response: not leader")
        return await json_answer(await jsz(self._view, options))

    async def _healthz(self, query: Query) -> Answer:
        self._view.count("/healthz")
        options = HealthzOptions(
            js_enabled=query.flag("js-enabled"), js_enabled_only=query.flag("js-enabled-only"),
            js_server_only=query.flag("js-server-only"), js_meta_only=query.flag("js-meta-only"),
            details=query.flag("details"), account=query.text("account"), stream=query.text("stream"),
            consumer=query.text("consumer"),
        )  # fmt: skip
        status, page = healthz(self._view, options)
        return await json_answer(page, status, indent=0)

    async def _raftz(self, query: Query) -> Answer:
        return Answer(b"No Raft nodes registered", 404)

    async def _ipqueuesz(self, query: Query) -> Answer:
        query.flag("all")
        return await json_answer({}, indent=3)

    async def _memz(self, query: Query) -> Answer:
        self._view.count("/memz")
        return await json_answer(await memz(self._view))

    async def _metrics(self, query: Query) -> Answer:
        await loaded("millpond.monitor.prometheus")
        from millpond.monitor import prometheus  # most servers are asked for pages only

        self._view.count("/metrics")
        body = await prometheus.metrics(self._view, query.text("prefix"))
        return Answer(body, content_type=prometheus.CONTENT_TYPE, headers=ANYBODY)


ROOT: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{name}</title>
<style>
body {{ font: 16px system-ui, sans-serif; margin: 2rem }}
li {{ font-family: monospace; line-height: 1.6 }}
</style>
</head>
<body><h1>{name}</h1>
<ul>
{links}
</ul></body></html>
"""


def _elsewhere(path: str, query: str) -> Answer:
    """A path with empty segments is sent to the one without."""
    target = quote(re.sub("/+", "/", path)) + (f"?{query}" if query else "")
    body = f'<a href="{escaped(target)}">Temporary Redirect</a>.\n\n'.encode()
    return Answer(body, 307, "text/html; charset=utf-8", (("Location", target),))
