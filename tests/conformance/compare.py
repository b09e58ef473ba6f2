"""Runs one scenario on two servers and compares what they answered.

A scenario is a function of a `Session`; every exchange it makes through the session is recorded as one text
line. Lines are compared after `normalise`, which hides only what two runs of the *same* server may differ in:
see `VOLATILE_KEYS` and `_PATTERNS`. Key order, zero fields and blanks are kept, since clients see them.
There are no stored golden files: the reference server is asked in the same run.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from .target import REFERENCE, Target
from .wire_client import Client, ConnectionGone, Frame

Scenario = Callable[["Session"], None]

# JSON members whose values belong to one run: identities, addresses, clocks, sizes of the process.
VOLATILE_KEYS = frozenset({
    "id", "server_id", "nonce", "host", "port", "rtt", "uptime", "mem", "cpu", "start", "now", "last_active",
    "client_id", "cid", "client_ip", "ip", "_nats.ver", "server",
})
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_PATTERNS = (
    # stream, consumer, delivered, stream and consumer sequence stay; then the time; then pending stays
    (re.compile(r"(\$JS\.ACK\.[^.\s]+\.[^.\s]+\.\d+\.\d+\.\d+\.)\d+(\.\d+)"), r"\1<ns>\2"),
    (re.compile(r"(\$JS\.FC\.[^.\s]+\.[^.\s]+\.)\w+"), r"\1<nuid>"),
    (re.compile(r"(Nats-Pending-Bytes: )-\d+"), r"\1-<n>"),
)
CLOCK_SLACK_SECONDS = 86_400
NEVER = "1754-08-30T22:43:41.128654848Z"
"""What nats-server sometimes makes of no time, after its nanoseconds overflowed."""


def _hide_time(match: re.Match[str]) -> str:
    text = match.group()
    if text.startswith("0001-") or text == NEVER:
        return "0001-01-01T00:00:00Z" if text == NEVER else text
    try:
        moment = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
    except ValueError:
        return text
    near = abs((datetime.now(UTC) - moment).total_seconds()) < CLOCK_SLACK_SECONDS
    return "<now>" if near else text


def _hide(value: Any, key: str = "") -> Any:
    if key in VOLATILE_KEYS and not isinstance(value, (dict, list)):
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return {name: _hide(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return _in_order([_hide(item, key) for item in value])
    if key == "active" and isinstance(value, int):
        return "never" if value < 0 else "<ns ago>"
    return value


def _in_order(items: list[Any]) -> list[Any]:
    """What a stream's info says of its sources comes in any order from nats-server."""
    if len(items) > 1 and all(isinstance(item, dict) and "lag" in item for item in items):
        return sorted(items, key=json.dumps)
    return items


def normalise(text: str, hidden: dict[str, str]) -> str:
    """The text without what may differ between two runs of one server."""
    for secret, shown in hidden.items():
        text = text.replace(secret, shown)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return _TIME.sub(_hide_time, text)


def show_payload(payload: bytes) -> str:
    """JSON with hidden volatile members and its order kept; anything else as a bytes literal."""
    if payload[:1] in (b"{", b"["):
        try:
            return json.dumps(_hide(json.loads(payload)), ensure_ascii=False)
        except ValueError:
            pass
    return repr(payload)


def show(frame: Frame, *, subject: bool = True) -> str:
    where = f" {frame.subject} sid={frame.sid} reply={frame.reply or '-'}" if subject and frame.subject else ""
    headers = f" headers={frame.headers!r}" if frame.headers else ""
    return f"{frame.op}{where}{headers} {show_payload(frame.payload)}"


class Recorded(Protocol):
    """What one scenario saw on one target, a line each, without what may differ between two runs."""

    @property
    def target(self) -> Any: ...

    def result(self) -> list[str]: ...


class Session:
    """One scenario's run on one target: a client and the record of what it saw.

    `storage` is that of streams whose scenario does not choose; "" leaves it to the server.
    """

    def __init__(self, target: Target, storage: str = "") -> None:
        self.target = target
        self.storage = storage
        self.client: Client = target.connect()
        self.lines: list[str] = []
        self.raw: list[str] = []
        self.hidden: dict[str, str] = {}
        self.counted = (0, 0)
        self.documents: list[bytes] = []

    def beside(self, user: str) -> Session:
        """The same record, through a connection of another user, whose password is "x"."""
        other = copy.copy(self)
        other.client, other.counted = self.target.connect(user=user, **{"pass": "x"}), (0, 0)
        return other

    def join(self, other: Session) -> None:
        """What this one sees goes into the record of the other one."""
        self.lines, self.raw, self.hidden, self.documents = other.lines, other.raw, other.hidden, other.documents

    def note(self, text: str) -> None:
        self.lines.append(text)
        self.raw.append(text)

    def hide(self, secret: str, shown: str) -> None:
        """A value of this run only, such as the name the server gave to an ephemeral consumer."""
        assert secret, "nothing to hide"
        self.hidden[secret] = shown

    def frame(self, label: str, frame: Frame, *, subject: bool = True) -> Frame:
        if frame.payload[:1] == b"{":
            self.documents.append(frame.payload)
        self.lines.append(f"{label} -> {show(frame, subject=subject)}")
        self.raw.append(f"{label} -> {frame!r}")
        return frame

    def frames(self, label: str, frames: list[Frame]) -> list[Frame]:
        self.note(f"{label}: {len(frames)} frames")
        for frame in frames:
            self.frame("  ", frame)
        return frames

    def api(self, verb: str, body: Any = b"", headers: dict[str, str] | None = None) -> Any:
        """Asks `$JS.API.<verb>`; records request and answer; gives the answer's JSON, or None if it is none."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        frame = self.client.request(f"$JS.API.{verb}", data, headers)
        self.frame(f"API {verb} {data[:300]!r}", frame, subject=False)
        try:
            return json.loads(frame.payload)
        except ValueError:
            return None

    def account(self, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """`$JS.API.INFO`; its counters, which go on through all scenarios, as differences to the last time."""
        frame = self.client.request("$JS.API.INFO", body, headers)
        self.documents.append(frame.payload)
        answer = json.loads(frame.payload)
        counts = answer.get("api", {})
        total, errors = counts.get("total", 0), counts.get("errors", 0)
        if counts:
            counts["total"], counts["errors"] = total - self.counted[0], errors - self.counted[1]
            self.counted = (total, errors)
        self.note(f"INFO {body!r} -> {json.dumps(answer)}")

    def publish(self, subject: str, payload: bytes = b"", headers: dict[str, str] | bytes | None = None) -> Any:
        """Publishes into JetStream and records the exact bytes of the answer."""
        frame = self.client.request(subject, payload, headers)
        self.documents.append(frame.payload)
        label = f"PUB {subject} {payload[:60]!r} {headers!r}"
        self.note(f"{label} -> {frame.op} {frame.headers!r} {frame.payload!r}")
        try:
            return json.loads(frame.payload)
        except ValueError:
            return None

    def pull(self, stream: str, consumer: str, body: Any, count: int) -> list[Frame]:
        """Sends one pull request and records the next `count` frames."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", data, self.client.new_reply())
        self.note(f"PULL {stream} {consumer} {data!r}")
        return [self.frame("  ", self.client.next_message(sid="1")) for _ in range(count)]

    def ack(self, message: Frame, kind: bytes = b"+ACK") -> None:
        """A double ack: returns when the server has applied it."""
        self.frame(f"ACK {kind!r}", self.client.request(message.reply, kind), subject=False)

    def stream(self, name: str, **config: Any) -> Any:
        chosen = {"storage": self.storage} if self.storage else {}
        return self.api(f"STREAM.CREATE.{name}", {"name": name, **chosen, **config})

    def consumer(self, stream: str, name: str, **config: Any) -> Any:
        body = {"stream_name": stream, "config": {"durable_name": name, **config}}
        return self.api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)

    def result(self) -> list[str]:
        return [normalise(line, self.hidden) for line in self.lines]


def clean(target: Target) -> None:
    """Removes every stream, so that scenarios do not see each other."""
    if not target.jetstream:
        return
    with target.connect() as client:
        while names := json.loads(client.request("$JS.API.STREAM.NAMES").payload).get("streams"):
            for name in names:
                client.request(f"$JS.API.STREAM.DELETE.{name}")


def keep_directories(target: Target, *accounts: str) -> None:
    """nats-server removes the directory of an account's streams some time after the last one was deleted, and fails to
    create a stream at that moment (10049). It does not remove one with something in it (a stream, to its /healthz)."""
    if target.kind == REFERENCE and target.jetstream:
        for account in accounts:
            (target.root / "store" / "jetstream" / account / "streams" / ".kept").mkdir(parents=True, exist_ok=True)


def record(target: Target, scenario: Scenario, *, is_truth: bool = False, storage: str = "") -> Session:
    """What a scenario sees on a server without streams."""
    keep_directories(target, "$G")
    clean(target)
    session = Session(target, storage)
    session.account()
    session.lines.clear()
    try:
        carry_out(session, scenario, is_truth=is_truth)
    finally:
        session.client.close()
    return session


def carry_out(session: Session, scenario: Scenario, *, is_truth: bool) -> None:
    """Runs the scenario; a server that falls silent or hangs up becomes a line of the record.

    Not so for the server that is the truth: a scenario it does not carry to the end compares nothing, so the
    exception is raised.
    """
    try:
        scenario(session)
    except (OSError, ConnectionGone, KeyError, TypeError) as error:
        if is_truth:
            raise
        session.note(f"STOPPED by {type(error).__name__}")
        target = session.target
        if target.process is None or target.process.poll() is not None:
            raise RuntimeError(f"{target.kind} died:\n{target.log()[-2000:]}") from error


def differences(reference: Recorded, other: Recorded) -> list[str]:
    """A unified diff, empty when both answered the same."""
    return list(difflib.unified_diff(
        reference.result(), other.result(), reference.target.kind, other.target.kind, lineterm="", n=1
    ))
