"""The load of the crash tests: one pipelining writer per stream, and a consumer whose acknowledgements are confirmed.

Every writer predicts the answer of each operation with its model at the time it sends it, keeps `window` of them
in flight, and compares what comes back. What was answered when the server died is what must survive.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any, Final

from .model import NO_SUCH_MESSAGE, Answer, Batch, Delete, Model, Operation, Publish, Purge, Violation
from .wire import Message, Wire

WINDOW: Final = 256
KEYS: Final = 40
BATCH: Final = 64
ACK_WAIT_NS: Final = 1_000_000_000
PULL_NS: Final = 200_000_000
LARGE_BYTES: Final = 70_000
DELETE_REFUSALS: Final = (10043, 10057)
"""A message that is not there: which of the two depends on where it would be."""

_COMMON: Final = {
    "storage": "file", "retention": "limits", "allow_direct": True, "num_replicas": 1,
    "duplicate_window": 3600 * 10**9,      # the model has no clock: no campaign's ids grow as old
}  # fmt: skip
STREAMS: Final[list[dict[str, Any]]] = [
    {**_COMMON, "name": "LOG", "subjects": ["log.*"], "max_msgs": 3000, "compression": "s2"},
    {**_COMMON, "name": "LAST", "subjects": ["last.*"], "max_msgs_per_subject": 1},
    {
        **_COMMON, "name": "LOCKS", "subjects": ["locks.*"], "max_msgs_per_subject": 1, "discard": "new",
        "discard_new_per_subject": True,
    },
    {**_COMMON, "name": "WORK", "subjects": ["work.*"], "compression": "s2"},
]  # fmt: skip
CONSUMER: Final = {
    "stream_name": "WORK",
    "config": {
        "durable_name": "C", "name": "C", "ack_policy": "explicit", "deliver_policy": "all", "ack_wait": ACK_WAIT_NS,
        "max_ack_pending": 20_000,
    },
}  # fmt: skip


def payload(rng: random.Random) -> bytes:
    """Never twice the same; mostly small, sometimes as large as several pages, sometimes nothing but its mark. Half of
    them can be compressed."""
    mark = b"%016x" % rng.getrandbits(64)
    size = rng.choice((0, 0, 10, 60, 200, 700, 4000, 9000, LARGE_BYTES if rng.random() < 0.03 else 30))
    return mark + (mark * (size // 16) if rng.random() < 0.5 else rng.randbytes(size))


class Writer:
    """Pipelines operations of one stream. `stop()` lets what is in flight come back and sends nothing more."""

    def __init__(self, model: Model, rng: random.Random, window: int = WINDOW, deletes: bool = True) -> None:
        self.before = model
        self.operations: list[Operation] = []
        self.answered: set[int] = set()
        self.acked_seqs: dict[int, int] = {}
        """Sequence -> operation, of publishes."""
        self._ahead = model.clone()
        self._expected: list[Answer] = []
        self._rng = rng
        self._window = window
        self._deletes = deletes
        self._room = asyncio.Event()
        self._stopping = False
        self._wire: Wire | None = None
        self.on_answer: Callable[[], None] = lambda: None

    @property
    def answered_upto(self) -> int:
        """How many operations must have survived: everything up to the last answer that is given in order.

        A refused delete changes nothing and is answered at once; it says nothing about what was sent before it.
        """
        in_order = (number for number in self.answered if not self._refused_delete(number))
        return max(in_order, default=-1) + 1

    def _refused_delete(self, number: int) -> bool:
        return isinstance(self.operations[number], Delete) and self._expected[number][0] == "error"

    def reply(self, number: int) -> str:
        return f"o{number}"

    async def run(self, port: int) -> None:
        """Until the server is gone, or `stop`. Raises Violation for an answer that is not the expected one."""
        self._wire = wire = await Wire.open(port, self.before.name, self._answer)
        while not wire.gone.is_set():
            while len(self.operations) - len(self.answered) < self._window and not self._stopping:
                self._send(wire)
            if self._stopping and len(self.operations) == len(self.answered):
                break
            self._room.clear()
            await first_of(self._room, wire.gone)
        wire.check()
        wire.close()

    def stop(self) -> None:
        self._stopping = True
        self._room.set()

    def _send(self, wire: Wire) -> None:
        operation = self._choose()
        while isinstance(operation, Delete) and not self._deletes:
            operation = self._choose()
        number = len(self.operations)
        self.operations.append(operation)
        self._expected.append(self._ahead.apply(operation))
        send(wire, self._ahead.name, operation, wire.inbox(self.reply(number)))

    def _answer(self, message: Message) -> None:
        number = int(message.subject.rpartition(".o")[2])
        found, expected = read_answer(self.operations[number], message.payload), self._expected[number]
        if found != expected:
            operation = str(self.operations[number])[:120]
            raise Violation(f"{self.before.name}: {operation} was answered {found}, expected {expected}")
        if number in self.answered:
            raise Violation(f"{self.before.name}: operation {number} was answered twice")
        self.answered.add(number)
        if found[0] == "ack":
            self.acked_seqs[found[1]] = number
        self._room.set()
        self.on_answer()

    # --- what to do next ---

    def _choose(self) -> Operation:
        return {"LOG": self._log, "LAST": self._last, "LOCKS": self._locks, "WORK": self._work}[self._ahead.name]()

    def _log(self) -> Operation:
        rng, chance = self._rng, self._rng.random()
        subject = f"log.{rng.randrange(5)}"
        if chance < 0.03 and self._ahead.messages:
            return Delete(rng.randrange(max(1, self._ahead.first_seq - 3), self._ahead.last_seq + 2))
        if chance < 0.032:
            recent = Purge(seq=max(1, self._ahead.last_seq - 50))
            return rng.choice((Purge(subject), Purge(subject, keep=5), recent, Purge(keep=200), Purge()))
        if chance < 0.13:
            ids = list(self._ahead.ids)
            known = rng.choice(ids[-200:]) if ids and rng.random() < 0.3 else f"id-{rng.getrandbits(60):x}"
            return Publish(subject, payload(rng), msg_id=known)
        return Publish(subject, payload(rng))

    def _last(self) -> Operation:
        rng, subject = self._rng, f"last.{self._rng.randrange(KEYS)}"
        current = max(self._ahead.of_subject(subject), default=0)
        chance = rng.random()
        if chance < 0.3:
            return Publish(subject, payload(rng), expected_seq=current)
        if chance < 0.35:
            return Publish(subject, payload(rng), expected_seq=current + 1)
        if chance < 0.4:
            return Purge(subject)
        if chance < 0.45 and current:
            return Delete(current)
        return Publish(subject, payload(rng))

    def _locks(self) -> Operation:
        subject = f"locks.{self._rng.randrange(KEYS)}"
        held = self._ahead.of_subject(subject)
        chance = self._rng.random()
        if held and chance < 0.6:
            return Purge(subject) if chance < 0.3 else Delete(held[0])
        return Publish(subject, payload(self._rng))

    def _work(self) -> Operation:
        return Publish(f"work.{self._rng.randrange(3)}", payload(self._rng))


async def first_of(*events: asyncio.Event) -> None:
    """Returns when one of them is set."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


def send(wire: Wire, stream: str, operation: Operation, reply: str) -> None:
    """An operation as the wire carries it."""
    if isinstance(operation, Publish):
        lines = b""
        if operation.msg_id:
            lines += f"Nats-Msg-Id: {operation.msg_id}\r\n".encode()
        if operation.expected_seq is not None:
            lines += f"Nats-Expected-Last-Subject-Sequence: {operation.expected_seq}\r\n".encode()
        wire.publish(operation.subject, operation.payload, reply, lines)
    elif isinstance(operation, Delete):
        wire.publish(f"$JS.API.STREAM.MSG.DELETE.{stream}", json.dumps({"seq": operation.seq}).encode(), reply)
    else:
        fields = {"filter": operation.subject, "keep": operation.keep, "seq": operation.seq}
        body = json.dumps({name: value for name, value in fields.items() if value}).encode()
        wire.publish(f"$JS.API.STREAM.PURGE.{stream}", body, reply)


def read_answer(operation: Operation, body: bytes) -> Answer:
    answer = json.loads(body)
    if "error" in answer:
        code = int(answer["error"]["err_code"])
        return ("error", NO_SUCH_MESSAGE if code in DELETE_REFUSALS else code)
    if isinstance(operation, (Publish, Batch)):
        return ("duplicate" if answer.get("duplicate") else "ack", int(answer["seq"]))
    if isinstance(operation, Delete):
        return ("deleted", 0)
    return ("purged", int(answer["purged"]))


class Worker:
    """Takes messages from the consumer of WORK and confirms most acknowledgements. Lives on over restarts."""

    def __init__(self, rng: random.Random) -> None:
        self.delivered: dict[int, bytes] = {}
        """Everything it was ever given, by stream sequence."""
        self.confirmed: set[int] = set()
        self._rng = rng
        self._acks: list[int] = []
        """Sequence of each acknowledgement, in the order they were sent."""
        self._wire: Wire | None = None
        self._left = 0
        self.pulls = 0

    @property
    def sent(self) -> int:
        """How many acknowledgements it sent."""
        return len(self._acks)

    def sequence_of(self, number: int) -> int:
        """The message that the acknowledgement `number` was about."""
        return self._acks[number]

    async def run(self, port: int, until: Callable[[], bool] = lambda: False) -> None:
        """Pull and acknowledge until the server is gone, or `until()` holds after a pull."""
        self._idle = asyncio.Event()
        self._wire = wire = await Wire.open(port, "worker", self._take)
        while not wire.gone.is_set() and not until():
            self._idle.clear()
            request = {"batch": BATCH, "expires": PULL_NS}
            wire.publish("$JS.API.CONSUMER.MSG.NEXT.WORK.C", json.dumps(request).encode(), wire.inbox("pull"))
            self._left = BATCH
            self.pulls += 1
            await first_of(self._idle, wire.gone)
        wire.check()
        wire.close()

    def _take(self, message: Message) -> None:
        assert self._wire is not None
        tail = message.subject.removeprefix(self._wire.inbox(""))
        if tail.startswith("a"):
            self.confirmed.add(self._acks[int(tail[1:])])
        elif message.status:
            self._idle.set()
        else:
            self._work_on(message)

    def _work_on(self, message: Message) -> None:
        assert self._wire is not None
        seq = int(message.reply.split(".")[5])
        if seq in self.confirmed:
            raise Violation(f"WORK: message {seq} was delivered again although its acknowledgement was confirmed")
        if self.delivered.setdefault(seq, message.payload) != message.payload:
            raise Violation(f"WORK: message {seq} was delivered with another content than before")
        chance = self._rng.random()
        if chance < 0.9:
            self._acks.append(seq)
            kind = b"+ACK" if chance < 0.8 else b"+TERM"
            self._wire.publish(message.reply, kind, self._wire.inbox(f"a{len(self._acks) - 1}"))
        elif chance < 0.95:
            self._wire.publish(message.reply, b"-NAK")
        self._left -= 1
        if not self._left:
            self._idle.set()
