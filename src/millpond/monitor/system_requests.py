"""Monitoring over NATS: `$SYS.REQ.SERVER.PING[.PAGE]`, `$SYS.REQ.SERVER.<id>.<PAGE>` and what every client may ask
(reference 07.2). The same pages as over HTTP, with options as JSON, in an envelope that says which server answers.

There is one account, so no user belongs to a system account: the requests about the server are answered to
clients on this machine, and for anybody else there is no responder, as on nats-server without system rights.
What only shows (connections and figures of the account, the user itself) every client may ask.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from millpond.base import process_memory
from millpond.broker.sink import CallableSink, Subscription
from millpond.jetstream.go_json import format_time
from millpond.monitor import standalone
from millpond.monitor.accounts import AccountStatzOptions, AccountzOptions, accountz, accstatz
from millpond.monitor.connz import ConnzOptions, connz
from millpond.monitor.healthz import HealthzOptions, healthz
from millpond.monitor.jsz import JszOptions, jetstream_config, jetstream_limits, jetstream_stats, jsz
from millpond.monitor.subsz import SubszOptions, subsz
from millpond.monitor.varz import FEATURE_FLAGS, varz
from millpond.monitor.view import GLOBAL_ACCOUNT, PageError, View, number, render

log = logging.getLogger("millpond")

ROOT: Final = "$SYS.REQ.SERVER."
ANYBODY: Final = (
    "$SYS.REQ.USER.INFO",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.PING.STATZ",
    "$SYS.REQ.SERVER.PING.CONNZ",
)
UNDER_WAY_MAX: Final = 64
"""Requests that are being answered at once; more of them get no answer, and a line in the log."""
BAD_REQUEST, INTERNAL = 400, 500
HAS_JETSTREAM: Final = 1


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which servers are asked, in a PING."""

    server_name: str = ""
    cluster: str = ""
    host: str = ""
    exact_match: bool = False
    tags: list[str] = []
    domain: str = ""


class Nothing(msgspec.Struct, frozen=True):
    """Pages without options."""


Page = Callable[[View, Any], Awaitable[Any]]


async def _healthz(view: View, options: HealthzOptions) -> dict[str, Any]:
    status, page = healthz(view, options)
    return {"status": page.pop("status"), "status_code": status, **page}


def _plain(make: Callable[[View], Any]) -> tuple[Page, type]:
    async def page(view: View, options: Nothing) -> Any:
        return make(view)

    return page, Nothing


async def _varz(view: View, options: Nothing) -> dict[str, Any]:
    return await varz(view)


PAGES: Final[dict[str, tuple[Page, type]]] = {
    "VARZ": (_varz, Nothing),
    "CONNZ": (connz, ConnzOptions),
    "SUBSZ": (subsz, SubszOptions),
    "JSZ": (jsz, JszOptions),
    "HEALTHZ": (_healthz, HealthzOptions),
    "ACCOUNTZ": (accountz, AccountzOptions),
    "ROUTEZ": _plain(standalone.routez),
    "GATEWAYZ": _plain(standalone.gatewayz),
    "LEAFZ": _plain(standalone.leafz),
    "RAFTZ": _plain(lambda view: {}),
    "IPQUEUESZ": _plain(lambda view: {}),
}


class SystemRequests:
    """Answers while it is open."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._sent = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sink = CallableSink(self._receive)
        subjects = [*ANYBODY[:3], f"{ROOT}PING", f"{ROOT}PING.*", f"{ROOT}{view.broker.server_id}.*"]
        router = view.broker.router
        self._subscriptions: list[Subscription] = [router.subscribe(each.encode(), self._sink) for each in subjects]

    def close(self) -> None:
        """Stop answering."""
        for subscription in self._subscriptions:
            self._view.broker.router.unsubscribe(subscription)
        for task in self._tasks:
            task.cancel()

    # --- requests ---

    def _receive(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> bool:
        """False: as if nobody listened."""
        asked = subject.decode("utf-8", "replace")
        name = asked.rpartition(".")[2] if asked != f"{ROOT}PING" else "STATSZ"
        if asked not in ANYBODY and not _is_local(source):
            return False
        if asked.startswith(ROOT) and name not in PAGES and name not in ("STATSZ", "IDZ"):
            return False
        if not reply:
            return True
        if len(self._tasks) >= UNDER_WAY_MAX:
            log.warning("monitoring: %d requests are under way, one on %s is left out", UNDER_WAY_MAX, asked)
            return True
        task = asyncio.get_running_loop().create_task(self._answer(asked, name, reply, body, source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _answer(self, asked: str, name: str, reply: bytes, body: bytes, source: Any) -> None:
        try:
            if asked.startswith(f"{ROOT}PING") and body and not self._is_meant(body):
                return
            answer = await self._made(asked, name, body, source)
        except msgspec.MsgspecError as error:
            answer = {"server": self._server(), "error": {"code": BAD_REQUEST, "description": str(error)}}
        except PageError as error:
            answer = {"server": self._server(), "data": None, "error": {"code": INTERNAL, "description": str(error)}}
        except Exception:
            log.exception("monitoring: a request on %s failed", asked)
            return
        self._view.broker.router.publish(reply, render(answer, 0))
        self._view.broker.turn.wake()

    async def _made(self, asked: str, name: str, body: bytes, source: Any) -> dict[str, Any]:
        view = self._view
        if asked == "$SYS.REQ.USER.INFO":
            return {"server": self._server(), "data": _user(source)}
        if asked == "$SYS.REQ.ACCOUNT.PING.STATZ":
            options = AccountStatzOptions(include_unused=True)
            return {"server": self._server(), "data": await accstatz(view, options)}
        if name == "IDZ":
            return {"name": view.broker.server_name, "host": view.broker.info["host"], "id": view.broker.server_id}
        if name == "STATSZ":
            return {"server": self._server(), "statsz": self._statsz()}
        make, kind = PAGES[name]
        data = await make(view, msgspec.json.decode(body or b"{}", type=kind))
        return {"server": self._server(), "data": data}

    def _is_meant(self, body: bytes) -> bool:
        """Whether the filter of a PING lets this server answer."""
        wanted = msgspec.json.decode(body, type=Filter)
        broker, jetstream = self._view.broker, self._view.options.jetstream
        if wanted.cluster or wanted.tags or (wanted.domain and wanted.domain != (jetstream and jetstream.domain)):
            return False
        for text, own in ((wanted.server_name, broker.server_name), (wanted.host, broker.info["host"])):
            if text and (text != own if wanted.exact_match else text not in own):
                return False
        return True

    # --- what is said ---

    def _server(self) -> dict[str, Any]:
        """The head of an answer, in the server's order."""
        broker, jetstream = self._view.broker, self._view.options.jetstream
        self._sent += 1
        domain = {"domain": jetstream.domain} if jetstream is not None and jetstream.domain else {}
        return {
            "name": broker.server_name,
            "host": broker.info["host"],
            "id": broker.server_id,
            **domain,
            "ver": broker.info["version"],
            "feature_flags": FEATURE_FLAGS,
            "jetstream": jetstream is not None,
            "flags": HAS_JETSTREAM if jetstream is not None else 0,
            "seq": self._sent,
            "time": format_time(time.time_ns()),
        }

    def _statsz(self) -> dict[str, Any]:
        view, counters = self._view, self._view.broker.statistics()
        sent = {"msgs": counters["out_msgs"], "bytes": counters["out_bytes"]}
        received = {"msgs": counters["in_msgs"], "bytes": counters["in_bytes"]}
        page: dict[str, Any] = {
            "start": format_time(view.broker.started_ns),
            "mem": process_memory.read().rss,
            "cores": os.cpu_count() or 1,
            "cpu": number(view.cpu.percent()),
            "connections": len(view.broker.sessions),
            "total_connections": counters["total_connections"],
            "active_accounts": 1,
            "subscriptions": view.broker.router.sublist.statistics()["subscriptions"],
            "sent": sent,
            "sent_to_clients": sent,
            "received": received,
            "received_from_clients": received,
            "slow_consumers": counters["slow_consumers"],
            "active_servers": 1,
        }
        if view.jetstream is not None:
            config = {name: value for name, value in jetstream_config(view.jetstream).items() if name != "store_dir"}
            page["jetstream"] = {
                "config": config,
                "stats": jetstream_stats(view.jetstream),
                "limits": jetstream_limits(view.jetstream),
            }
        return {**page, "gomaxprocs": 1}


def _user(source: Any) -> dict[str, Any]:
    info = source.info(False) if source is not None and hasattr(source, "info") else None
    user = info.authorized_user if info is not None else ""
    account = info.account if info is not None else GLOBAL_ACCOUNT
    return {"user": user, "account": account, "account_name": account}


def _is_local(source: Any) -> bool:
    """A client on this machine, or the server itself."""
    if source is None:
        return True
    try:
        return ipaddress.ip_address(getattr(source, "ip", "")).is_loopback
    except ValueError:
        return False
