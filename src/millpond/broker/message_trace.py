"""The way of one message through this server, for who asked to be told (ADR-41, reference 09.9).

    begin()      its headers ask for a trace: is there a place to tell, may its sender tell it there
    MessageTrace collects what happens to it, while it is routed and judged
    finish()     by its publisher and by each stream it has reached: the last of them lets it be told

Who asks for a trace only gets no delivery: sinks say what they would have done. Loaded with the first message that
asks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from millpond.base.ids import random_below
from millpond.subjects import pytokens
from millpond.wire.headers import with_last, without
from millpond.wire.quote import quote

DESTINATION: Final = b"Nats-Trace-Dest"
ONLY: Final = b"Nats-Trace-Only"
ORIGIN_ACCOUNT: Final = b"Nats-Trace-Origin-Account"
ENCODING: Final = b"Accept-Encoding"
PARENT: Final = b"traceparent"
DISABLED: Final = b"trace disabled"
"""Takes the place of a destination where a message goes on without being traced; it is no subject."""
FLAGS: Final = re.compile(rb"[0-9a-fA-F]{2}|\+[0-9a-fA-F]")
VERSION_LINE: Final = b"NATS/1.0\r\n"
CLIENT: Final = 0
"""The kind of all connections that a message comes from or goes to."""

Value = int | bool | str | bytes
Headers = dict[bytes, list[bytes]]


class Event(msgspec.Struct):
    """One thing that happened; `fields` under their names in the document, in its order."""

    type: str
    fields: dict[str, Value]
    at_ns: int = msgspec.field(default_factory=time.time_ns)


class MessageTrace:
    """Of one message. `tell` gets it when nothing more can happen."""

    def __init__(self, asked: Asked, entered: Event, tell: Callable[[MessageTrace], None] | None) -> None:
        self.only = asked.only
        self.destination = asked.destination
        self.headers = asked.headers
        self.size = asked.size
        self.events = [entered]
        self.listens_for: bytes | None = None
        """The filter of the subscription in the exporting account through which it is being delivered; else None."""
        self._tell = tell
        self._unfinished = 1

    @property
    def account(self) -> str:
        """Where it came in, and is told."""
        return str(self.events[0].fields["acc"])

    @property
    def encoding(self) -> bytes:
        """What the trace may be packed with."""
        return self.headers.get(ENCODING, [b""])[0]

    def _add(self, kind: str, fields: dict[str, Value]) -> None:
        self.events.append(Event(kind, fields))

    def refused(self, error: str) -> None:
        """It may not be published."""
        self.events[0].fields["error"] = error

    def mapped(self, to: bytes) -> None:
        self._add("sm", {"to": to})

    def exported(self, account: str, to: bytes) -> None:
        """As a message of a stream that `account` imports."""
        self._add("se", {"acc": account, "to": to})

    def imported(self, account: str, subject: bytes, to: bytes) -> None:
        """As a request, or an answer, to `account`."""
        self._add("si", {"acc": account, "from": subject, "to": to})

    def delivered(self, receiver: Any, filter: bytes, queue: bytes, obstacle: str) -> None:
        """To a subscription of this session; `obstacle`: not so, and why."""
        account = receiver.account.name
        self._add("eg", {
            "kind": CLIENT, "cid": receiver.cid, "name": receiver.client_name(),
            "acc": account if account != self.account else "", "sub": self.listens_for or filter, "queue": queue,
            "error": obstacle,
        })  # fmt: skip

    def into_stream(self, name: str) -> StreamEvent:
        """A stream judges it. The event is to be finished."""
        event = StreamEvent(self, name)
        self.events.append(event.row)
        self._unfinished += 1
        return event

    def finish(self) -> None:
        self._unfinished -= 1
        if not self._unfinished and self._tell is not None:
            self._tell(self)


class StreamEvent:
    """What one stream does with the message."""

    def __init__(self, trace: MessageTrace, name: str) -> None:
        self._trace = trace
        self._name = name
        self._error = ""
        self.judged = True
        """Nothing spoke against it, until storing it failed."""
        self.row = Event("js", {})

    @property
    def only(self) -> bool:
        return self._trace.only

    def refused(self, error: str, *, stored: bool = False) -> None:
        """Only the first reason counts. stored: it had been judged, and failed later."""
        if not self._error:
            self._error, self.judged = error, stored

    def finish(self, subject: bytes, no_interest: bool) -> None:
        """`subject`: under which it is stored. no_interest: nobody wants it, so it is not."""
        fields: dict[str, Value] = {"stream": self._name}
        if self.judged:
            fields |= {"subject": subject, "nointerest": no_interest}
        self.row.fields = {**fields, "error": self._error}
        self.row.at_ns = time.time_ns()
        self._trace.finish()


class Asked(msgspec.Struct, frozen=True):
    """What a message asks for."""

    destination: bytes
    only: bool
    headers: Headers
    size: int
    """Header block and body, in bytes."""


class Begun(msgspec.Struct, frozen=True):
    """How a publish goes on."""

    trace: MessageTrace | None = None
    dropped: bool = False
    """Not at all: its trace cannot be told, and it wanted nothing else."""
    denied: bytes = b""
    """Not at all: its sender may not publish there."""
    block: bytes | None = None
    """With another header block."""

    @property
    def is_dropped(self) -> bool:
        """The message is not published."""
        return self.dropped or bool(self.denied)


def begin(source: Any, subject: bytes, block: bytes, size: int) -> Begun:
    """For a message with this header block. source: the session; it says who it is and where it may publish."""
    headers = headers_that_ask(block)
    options = source.account.options
    if headers is None:
        return Begun()
    destination, only = headers.get(DESTINATION, [b""])[0], False
    external = not destination
    if not external:
        only = headers.get(ONLY, [b""])[0].lower() in (b"1", b"true", b"on")
    if ORIGIN_ACCOUNT in headers:
        source.log_once(f"Message tracing disabled because of header {quote(ORIGIN_ACCOUNT)}")
        return Begun(dropped=only, block=None if only else disabled(block))
    if external:
        destination = options.trace_destination.encode()
        if not destination:
            return Begun()
        if not random_below(100) < options.trace_sampling:
            return Begun(block=disabled(block))
    if not pytokens.is_valid_subject(destination):
        source.log_once(f"Destination {quote(destination)} is not valid, won't be able to trace events")
        return Begun(dropped=only)
    if not source.may_tell(destination):
        return Begun(denied=destination)
    fields: dict[str, Value] = {"kind": CLIENT, "cid": source.cid, "name": source.client_name()}
    entered = Event("in", {**fields, "acc": options.name, "subj": subject})
    return Begun(MessageTrace(Asked(destination, only, headers, size), entered, source.broker.tell_trace))


def disabled(block: bytes) -> bytes:
    """The header block of a message that goes on without being traced, wherever it comes to."""
    return bytes(with_last(without(block, DESTINATION), DESTINATION, DISABLED))


def headers_that_ask(block: bytes) -> Headers | None:
    """All headers, their keys as they are written, when they ask for a trace: by a destination, or as a sampled part of
    a trace of another kind (W3C trace context). Headers without a value are none."""
    if not block.startswith(VERSION_LINE):
        return None
    found: Headers = {}
    at, asks = len(VERSION_LINE), False
    while (colon := block.find(b":", at)) >= 0 and (end := block.find(b"\r\n", _past_blanks(block, colon + 1))) >= 0:
        key, value = block[at:colon], block[_past_blanks(block, colon + 1) : end].rstrip(b" \t")
        at = end + 2
        if not key or not value:
            continue
        if key == DESTINATION and key not in found:
            if value == DISABLED:
                return None
            asks = True
        asks = asks or (key.lower() == PARENT and is_sampled(value))
        found.setdefault(key, []).append(value)
    return found if asks else None


def _past_blanks(block: bytes, at: int) -> int:
    while block[at : at + 1] in (b" ", b"\t"):
        at += 1
    return at


def is_sampled(parent: bytes) -> bool:
    """Does a `traceparent` ask that this part is recorded? Its flags are read as nats-server does: a signed byte."""
    parts = parent.split(b"-")
    if len(parts) != 4 or not FLAGS.fullmatch(parts[3]):
        return False
    flags = int(parts[3], 16)
    return flags <= 0x7F and bool(flags & 1)
