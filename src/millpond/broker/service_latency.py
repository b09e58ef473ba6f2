"""How long a service takes that others import, told in the account that exports it (reference 02.3, SEC-35).

    a request   Meter.begin(): is it measured? by chance, or because its headers are those of a trace that is sampled
    its end     Measured.end(): answered, or why not; once

Loaded where an export asks for it. Durations are of the server's clock, and the clients' own ways are taken off.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from millpond.base.ids import random_below
from millpond.broker.connection_info import ConnectionInfo, client_info
from millpond.broker.message_trace import is_sampled
from millpond.config.security import Latency

Headers = dict[str, list[str]]

ANSWERED: Final = 200
NO_REPLY: Final = 400
LOST: Final = 408
"""Who asked does not listen any more."""
NOBODY_SERVES: Final = 503
TIMEOUT: Final = 504
DESCRIPTIONS: Final = {
    ANSWERED: "", NO_REPLY: "Bad Request", LOST: "Request Timeout", NOBODY_SERVES: "Service Unavailable",
    TIMEOUT: "Service Timeout",
}  # fmt: skip

MEASURED_BYTES: Final = 900
"""One Measured, with what it refers to, without its headers; measured with 5,000 of them."""
HEADER_BYTES: Final = 300
"""Of each header that is told, beside its value."""
TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
LINE_END: Final = re.compile(rb"\r?\n")
UBER: Final = "Uber-Trace-Id"
UBER_MORE: Final = "Uberctx-"
B3: Final = "B3"
B3_SAMPLED: Final = "X-B3-Sampled"
B3_TRACE: Final = "X-B3-Traceid"
B3_PARTS: Final = (B3_SAMPLED, B3_TRACE, "X-B3-Parentspanid", "X-B3-Spanid")
PARENT: Final = "Traceparent"
STATE: Final = "Tracestate"
UBER_FLAGS: Final = re.compile(r".?([0-9a-fA-F])")


class Report(msgspec.Struct, frozen=True):
    """How one request ended. Clients as in `Nats-Request-Info`; None: not a client's. Times in ns."""

    account: str
    subject: str
    """Where it is told."""
    status: int
    requestor: dict[str, Any] | None
    responder: dict[str, Any] | None
    header: Headers
    start_ns: int
    """Unix time when it left its client."""
    service_ns: int = 0
    total_ns: int = 0


class Meter:
    """Of one import of a service. share: the exporter is told more about who asks."""

    def __init__(
        self, latency: Latency, exporter: str, share: bool, server_name: str, tell: Callable[[Report], None]
    ) -> None:
        self._latency = latency
        self._share = share
        self.exporter = exporter
        self.server_name = server_name
        self.subject = latency.subject
        self.tell = tell

    def begin(self, source: Any, block: bytes, wall_ns: int, mono_ns: int) -> Measured | None:
        """For a request with this header block; None: it is not measured."""
        header: Headers | None = {}
        if self._latency.sampling <= random_below(100):
            header = sampled(block) if block else None
        return None if header is None else Measured(self, _info(source), header, wall_ns, mono_ns)

    def requestor(self, info: ConnectionInfo) -> dict[str, Any]:
        if self._share:
            return self.client(info)
        shown = {"acc": info.account, "rtt": info.rtt_ns}
        return {name: value for name, value in shown.items() if value}

    def client(self, info: ConnectionInfo) -> dict[str, Any]:
        return client_info(info, server=self.server_name, name_tag=info.user_tag)


class Measured:
    """One request. `size`: the bytes that it holds."""

    def __init__(
        self, meter: Meter, asker: ConnectionInfo | None, header: Headers, wall_ns: int, mono_ns: int
    ) -> None:
        self._meter = meter
        self._asker = asker
        self._header = header
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self.size = MEASURED_BYTES + sum(HEADER_BYTES + len(value) for values in header.values() for value in values)
        self.size += len(asker.jwt) if asker is not None else 0

    def end(self, status: int, responder: Any, mono_ns: int) -> None:
        """responder: the session that answers; None: there is none."""
        meter, asker, answerer = self._meter, self._asker, _info(responder)
        way_ns = asker.rtt_ns if asker is not None else 0
        took_ns = mono_ns - self._mono_ns if status == ANSWERED else 0
        meter.tell(Report(
            account=meter.exporter, subject=meter.subject, status=status,
            requestor=meter.requestor(asker) if asker is not None else None,
            responder=meter.client(answerer) if answerer is not None else None,
            header=self._header, start_ns=self._wall_ns - way_ns,
            service_ns=max(0, took_ns - answerer.rtt_ns) if answerer is not None else 0,
            total_ns=way_ns + took_ns if status == ANSWERED else 0,
        ))  # fmt: skip


def _info(source: Any) -> ConnectionInfo | None:
    return source.info(False) if hasattr(source, "info") else None


# --- headers of other systems' traces ---


def sampled(block: bytes) -> Headers | None:
    """The headers that say that this is a sampled part of a trace; None: there are none, or they say it is not.

    Where there are several kinds the first of them decides: Jaeger's, Zipkin's of many headers and of one, W3C's.
    """
    found = parse(block)
    if ids := found.get(UBER):
        more = {key: values for key, values in found.items() if key.startswith(UBER_MORE)}
        return {UBER: ids, **more} if _is_sampled_uber(ids[0]) else None
    if (marks := found.get(B3_SAMPLED)) and marks[0] in ("0", "1"):
        return _some_of(found, B3_PARTS) if marks[0] == "1" else None
    if B3_TRACE in found:
        return _some_of(found, B3_PARTS)             # it leaves the choice to us
    if single := found.get(B3):
        parts = single[0].split("-")
        denied = parts[2] == "0" if len(parts) > 2 else parts == ["0"]
        return None if denied else {B3: single}
    if parents := found.get(PARENT):
        return _some_of(found, (PARENT, STATE)) if is_sampled(parents[0].encode("utf-8", "surrogateescape")) else None
    return None


def _is_sampled_uber(text: str) -> bool:
    """`trace:span:parent:flags`, the flags in hexadecimal."""
    parts = text.split(":")
    flags = UBER_FLAGS.fullmatch(parts[3]) if len(parts) == 4 else None
    return flags is not None and bool(int(flags[1], 16) & 1)


def _some_of(found: Headers, names: tuple[str, ...]) -> Headers:
    return {name: found[name] for name in names if name in found}


def parse(block: bytes) -> Headers:
    """All headers, their keys in canonical form (`X-B3-Traceid`); a block with one that is malformed has none."""
    found: Headers = {}
    key = ""
    for line in LINE_END.split(block)[1:-1]:
        if not line:
            return found
        if line[:1] in b" \t":
            if not key:
                return {}
            found[key][-1] = f"{found[key][-1]} {_text(line)}".strip()
            continue
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or CONTROL.search(value):
            return {}
        key = "-".join(part.capitalize() for part in name.decode().split("-"))
        found.setdefault(key, []).append(_text(value))
    return {}                                        # it has no end


def _text(value: bytes) -> str:
    return value.strip(b" \t").decode("utf-8", "replace")
