"""What the pages see of a server, and the few things that every page needs.

A page is a function `async (View, Options) -> dict`: the same for HTTP and for requests over NATS. It takes
live values without copies under locks, as there is one loop; where it walks many rows it lets the loop run
between them (`breathe`), so that a scrape of ten thousand connections stops no message.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base.budget import Budgets
from millpond.base.errors import MillpondError
from millpond.broker.broker import Broker
from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.go_json import duration_text, format_time
from millpond.jetstream.usage import Usage
from millpond.monitor.memory_watch import MemoryWatch
from millpond.store.space import Space

if TYPE_CHECKING:
    from millpond.config.tls import TlsOptions
    from millpond.jetstream.account_streams import AccountStreams

ROWS_PER_BREATH: Final = 32
GLOBAL_ACCOUNT: Final = "$G"
SYSTEM_ACCOUNT: Final = "$SYS"


class PageError(MillpondError):
    """A page that cannot be made as asked; the text is the answer, with status 400."""


class JetStreamView(msgspec.Struct, frozen=True):
    """JetStream while it runs."""

    options: JetStreamOptions
    accounts: Mapping[str, AccountStreams]
    """Those with streams, by name."""
    store_dir: str
    space: Space
    """Of the store directory."""
    is_bounded: bool = False
    """Both its limits were given, not taken from the machine."""

    async def usage(self) -> Usage:
        """Of all accounts together."""
        totals = dict.fromkeys(Usage.__struct_fields__, 0)
        for row, part in enumerate(list(self.accounts.values())):
            await breathe(row)
            used = part.engine.usage()
            for name in totals:
                totals[name] += getattr(used, name)
        return Usage(**totals)


class View:
    """One server. The composition root keeps `jetstream` and `ready` true to life."""

    def __init__(self, options: Options, broker: Broker, budgets: Budgets, memory: MemoryWatch) -> None:
        self.options = options
        self.broker = broker
        self.budgets = budgets
        self.memory = memory
        self.jetstream: JetStreamView | None = None
        self.ready = False
        self.websocket_port = 0
        """The port in use."""
        self.config_loaded_ns: int = broker.started_ns
        self.requests: dict[str, int] = {}
        """Pages served over HTTP, by path."""
        self.cpu = CpuMeter()
        self._certificates: list[tuple[TlsOptions, int]] = []

    def count(self, path: str) -> None:
        """One more request for a page."""
        self.requests[path] = self.requests.get(path, 0) + 1

    def certificate_ends_ns(self, tls: TlsOptions | None) -> int:
        """When the certificate that a listener shows ends, Unix ns; 0: there is none. Read once after each reload."""
        if tls is None:
            return 0
        for known, ends_ns in self._certificates:
            if known is tls:
                return ends_ns
        from millpond.accounts.certificates import not_after_of

        ends_ns = not_after_of(tls.pairs[0][0])
        self._certificates = [*self._certificates[-1:], (tls, ends_ns)]
        return ends_ns

    def head(self) -> dict[str, Any]:
        """The two members that most pages begin with."""
        return {"server_id": self.broker.server_id, "now": now_text()}


class CpuMeter:
    """Share of one core, in percent, over the last second or more; /varz asks at any rate."""

    def __init__(self) -> None:
        self._began = self._at()
        self._percent = 0.0

    @staticmethod
    def _at() -> tuple[float, float]:
        spent = os.times()
        return time.monotonic(), spent.user + spent.system

    def percent(self) -> float:
        now, spent = self._at()
        past, spent_then = self._began
        if now - past >= 1:
            self._percent = round(100 * (spent - spent_then) / (now - past), 1)
            self._began = (now, spent)
        return self._percent


async def loaded(*names: str) -> None:
    """These modules are there, which most servers never need. They come one at a time."""
    for name in names:
        if name not in sys.modules:
            import_module(name)
            await pause()


async def pause() -> None:
    """Between two parts of a page: lets the loop run."""
    await asyncio.sleep(0)


async def breathe(row: int) -> None:
    """Called for each row: lets the loop run after each `ROWS_PER_BREATH` of them."""
    if row % ROWS_PER_BREATH == ROWS_PER_BREATH - 1:
        await asyncio.sleep(0)


def sliced(offset: int, limit: int, size: int) -> slice:
    """The page of `size` rows that `offset` and `limit` ask for."""
    start = min(max(offset, 0), size)
    return slice(start, start + min(limit, size - start))


# --- values as Go writes them ---


def now_text() -> str:
    return format_time(time.time_ns())


def number(value: float) -> int | float:
    """A float without its empty fraction."""
    return int(value) if value == int(value) else value


def uptime_text(duration_ns: int) -> str:
    """`1y2d3h4m5s`, from the largest unit that is not zero on."""
    seconds = max(0, duration_ns) // 1_000_000_000
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    years = days // 365
    parts = [(years, "y"), (days % 365, "d"), (hours % 24, "h"), (minutes % 60, "m"), (seconds % 60, "s")]
    totals = [years, days, hours, minutes, 1]
    first = next(at for at, total in enumerate(totals) if total)
    return "".join(f"{value}{unit}" for value, unit in parts[first:])


def rtt_text(rtt_ns: int) -> str:
    """A round trip; between a micro- and a millisecond without its fraction."""
    if 1_000 < rtt_ns < 1_000_000:
        rtt_ns -= rtt_ns % 1_000
    return duration_text(rtt_ns)
