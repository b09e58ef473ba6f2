"""Streams whose every answer is known beforehand: a deep pipeline of operations, and the model beside it.

Found after a crash is what some first part of the operations makes, no shorter than what was answered
(tests/crash/model.py). Half of the bodies can be compressed; each has a mark of its own.
"""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import Any, Final

from ..crash.load import read_answer
from ..crash.model import Answer, Batch, Delete, Model, Operation, Publish, Purge, Violation, settle
from .link import SCARCE, Link, frame
from .read import find

BLOB: Final = Random(0).randbytes(1 << 17)
LARGE_BYTES: Final = 70_000
NEVER: Final = 1 << 62
SMALL: Final = 2000
"""A stream with more messages is not read as a whole after each crash: only the newest, and what it counts."""
HOUR_NS: Final = 3600 * 10**9
"""The model has no clock: no message id grows as old."""


def body(rng: Random) -> bytes:
    """Never twice the same; mostly small, sometimes as large as several pages, sometimes nothing but its mark."""
    mark = b"%016x" % rng.getrandbits(64)
    chance = rng.random()
    size = int(chance * 1000) % 300 if chance < 0.8 else LARGE_BYTES if chance > 0.995 else int(chance * 10**6) % 5000
    if rng.random() < 0.5:
        return mark * (1 + size // 16)
    at = rng.randrange(len(BLOB) - size)
    return mark + BLOB[at : at + size]


def log_config(rng: Random, large: bool) -> dict[str, Any]:
    """A log with limits."""
    most = rng.choice((5_000, 20_000)) if large else rng.choice((50, 300, 1000))
    return {**common("LOG", rng), "max_msgs": most, "allow_rollup_hdrs": True, "allow_atomic": True}


def keys_config(rng: Random) -> dict[str, Any]:
    """Last values, as a key-value bucket has them."""
    return {**common("KEYS", rng), "max_msgs_per_subject": rng.choice((1, 1, 5)), "allow_rollup_hdrs": True}


def locks_config(rng: Random) -> dict[str, Any]:
    """Who is first has it."""
    once = {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True}
    return {**common("LOCKS", rng), **once}


def common(name: str, rng: Random) -> dict[str, Any]:
    return {
        "name": name, "subjects": [f"{name.lower()}.>"], "storage": "file", "retention": "limits", "num_replicas": 1,
        "allow_direct": True, "duplicate_window": HOUR_NS, "compression": rng.choice(("none", "s2")),
    }  # fmt: skip


class Ordered:
    """One stream. `keys`: how many subjects; `tail` begins the subjects of its answers."""

    def __init__(self, config: dict[str, Any], rng: Random, tail: bytes, window: int, keys: int) -> None:
        self.config, self.name, self.tail = config, str(config["name"]), tail
        self.answers = self.compared = 0
        self._rng, self._window, self._keys = rng, window, keys
        self._subject = self.name.lower()
        self._ids: deque[str] = deque(maxlen=100)
        self._whole_upto = 0
        self._begin(Model(config))

    def _begin(self, model: Model) -> None:
        self._before, self._ahead = model, model.clone()
        self._operations: list[Operation] = []
        self._expected: list[Answer] = []
        self._answered: set[int] = set()
        self._answered_upto = 0
        self.scarce = False
        """From here publishes may be refused, all of them from the first one on."""
        self._refused_from = NEVER
        self._taken: set[int] = set()
        self._doubts: list[tuple[int, str]] = []
        """Answers that only a refusal before them explains, which may come later: publishes are answered in order."""

    def create(self, link: Link) -> None:
        asked(link, f"STREAM.CREATE.{self.name}", self.config)

    # --- load ---

    def fill(self, link: Link) -> None:
        """As many operations as there is room for."""
        if self._refused_from < NEVER:
            return
        for _ in range(self._window - (len(self._operations) - len(self._answered))):
            operation, number = self._choose(), len(self._operations)
            self._operations.append(operation)
            self._expected.append(self._ahead.apply(operation))
            link.send(wire_form(self.name, operation, number, b"%b%d" % (self.tail, number)))

    def take(self, tail: bytes, reply: bytes, headers: bytes, payload: bytes) -> None:
        number = int(tail)
        if self.scarce and SCARCE in payload:
            self._refused_from = min(self._refused_from, number)
            return
        if number > self._refused_from:            # what is predicted for it is not so any more
            if read_answer(self._operations[number], payload)[0] == "ack":
                self._taken.add(number)
            return
        expected = self._expected[number]
        if expected[0] != "ack" or payload != b'{"stream":"%b","seq":%d}' % (self.name.encode(), expected[1]):
            found = read_answer(self._operations[number], payload)
            if found != expected:
                operation = str(self._operations[number])[:120]
                text = f"{self.name}: {operation} was answered {payload[:200]!r}, expected {expected}"
                if not self.scarce:
                    raise Violation(text)
                self._doubts.append((number, text))
                return
        if number in self._answered:
            raise Violation(f"{self.name}: operation {number} was answered twice")
        self._answered.add(number)
        self.answers += 1
        refused = expected[0] == "error" and isinstance(self._operations[number], Delete)
        if number >= self._answered_upto and not refused:      # which is answered at once, and says nothing of others
            self._answered_upto = number + 1

    # --- what comes next ---

    def _choose(self) -> Operation:
        return {"LOG": self._log, "KEYS": self._last, "LOCKS": self._lock}[self.name]()

    def _log(self) -> Operation:
        rng, chance, ahead = self._rng, self._rng.random(), self._ahead
        subject = f"log.{rng.randrange(self._keys)}"
        if chance < 0.03 and ahead.messages:
            first = rng.choice((ahead.first_seq, max(ahead.first_seq, ahead.last_seq - 50)))
            return Delete(rng.randrange(max(1, first - 3), ahead.last_seq + 2), secure=rng.random() < 0.3)
        if chance < 0.033:
            recent = Purge(seq=max(1, ahead.last_seq - 50))
            return rng.choice((Purge(subject), Purge(subject, keep=5), recent, Purge(keep=200), Purge()))
        if chance < 0.036:
            return Publish(subject, body(rng), rollup=rng.choice(("sub", "sub", "sub", "all")))
        if chance < 0.045:
            parts = [Publish(f"log.{rng.randrange(self._keys)}", body(rng)) for _ in range(rng.randrange(1, 12))]
            return Batch(f"b{rng.getrandbits(60):x}", tuple(parts))
        if chance < 0.13:
            known = rng.choice(self._ids) if self._ids and rng.random() < 0.3 else f"id-{rng.getrandbits(60):x}"
            self._ids.append(known)
            return Publish(subject, body(rng), msg_id=known)
        return Publish(subject, body(rng))

    def _last(self) -> Operation:
        rng, subject = self._rng, f"keys.{self._rng.randrange(self._keys)}"
        current = self._ahead.last_of(subject)
        chance = rng.random()
        if chance < 0.3:
            return Publish(subject, body(rng), expected_seq=current)
        if chance < 0.35:
            return Publish(subject, body(rng), expected_seq=current + 1)
        if chance < 0.38:
            return Purge(subject)
        if chance < 0.42:
            return Publish(subject, b"%016x" % rng.getrandbits(64), rollup="sub")
        if chance < 0.46 and current:
            return Delete(current, secure=rng.random() < 0.5)
        return Publish(subject, body(rng))

    def _lock(self) -> Operation:
        subject = f"locks.{self._rng.randrange(self._keys)}"
        held, chance = self._ahead.last_of(subject), self._rng.random()
        if held and chance < 0.6:
            return Purge(subject) if chance < 0.3 else Delete(held)
        return Publish(subject, body(self._rng))

    # --- after a crash ---

    def verify(self, link: Link, whole: bool) -> None:
        """Raises Violation, or Gone (then it is asked again). Not `whole`: what lies far back is only counted."""
        since = 1 if whole or len(self._before.messages) < SMALL else max(1, self._before.last_seq - SMALL // 2)
        found = find(link, self.name, since)
        if found is None:
            raise Violation(f"{self.name}: the stream is gone")
        same_config(self.config, found.config)
        for number, text in self._doubts:
            if number < self._refused_from:
                raise Violation(text)
        done = [
            operation for number, operation in enumerate(self._operations)
            if number < self._refused_from or isinstance(operation, (Delete, Purge)) or number in self._taken
        ]  # fmt: skip
        least = min(self._answered_upto, self._refused_from)
        model = settle(self._before, done, least, found, since=since, count=found.count)
        self.compared += len(found.messages)
        self._begin(model)


def same_config(asked_for: dict[str, Any], found: dict[str, Any]) -> None:
    differ = {key: found.get(key) for key, value in asked_for.items() if found.get(key, value) != value}
    if differ:
        raise Violation(f"{asked_for['name']}: its configuration has {differ}")


def asked(link: Link, subject: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = link.api(subject, request)
    if "error" in answer:
        raise Violation(f"{subject}: {answer['error']}")
    return answer


def wire_form(stream: str, operation: Operation, number: int, tail: bytes) -> bytes:
    """An operation as frames; `tail` is where its answer goes."""
    if isinstance(operation, Publish):
        return frame(operation.subject.encode(), operation.payload, tail, publish_headers(operation))
    if isinstance(operation, Batch):
        frames = []
        for place, each in enumerate(operation.parts, 1):
            lines = b"Nats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n" % (operation.batch_id.encode(), place)
            is_last = place == len(operation.parts)
            lines += b"Nats-Batch-Commit: 1\r\n" if is_last else b""
            frames.append(frame(each.subject.encode(), each.payload, tail if is_last else b"", lines))
        return b"".join(frames)
    if isinstance(operation, Delete):
        fields: dict[str, Any] = {"seq": operation.seq, "no_erase": not operation.secure}
        return frame(f"$JS.API.STREAM.MSG.DELETE.{stream}".encode(), json.dumps(fields).encode(), tail)
    fields = {"filter": operation.subject, "keep": operation.keep, "seq": operation.seq}
    text = json.dumps({name: value for name, value in fields.items() if value}).encode()
    return frame(f"$JS.API.STREAM.PURGE.{stream}".encode(), text, tail)


def publish_headers(operation: Publish) -> bytes:
    lines = b""
    if operation.msg_id:
        lines += f"Nats-Msg-Id: {operation.msg_id}\r\n".encode()
    if operation.expected_seq is not None:
        lines += b"Nats-Expected-Last-Subject-Sequence: %d\r\n" % operation.expected_seq
    if operation.rollup:
        lines += b"Nats-Rollup: %b\r\n" % operation.rollup.encode()
    return lines
