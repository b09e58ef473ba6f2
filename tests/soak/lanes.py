"""One stream, one connection, and the model beside it.

    sent      |-------------------------------------------|   ahead: the model after everything that was sent
    answered  |-----------------------------|                 settled: after everything that must have happened
    found after a restart:                  ^^^^^^^^^^^^^^^   one of these, and both models go on from there

Operations are pipelined, a burst at a time. Every answer is predicted when its operation is sent and compared when it
comes. Time plays no part here (`fleeting` has what ends on its own), so the model's clock stands still.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from stream_model import Stream
from stream_model_rules import Answer, Operation, Publish, Purge, Update, agrees, api_request, block, understood
from stream_model_steps import SUBJECTS, Chooser, limits

from ..crash.check import Recovered, read
from ..crash.load import first_of
from ..crash.model import Violation
from ..crash.wire import Message, Wire

BURST_S: Final = 0.1
DAY_NS: Final = 86_400 * 10**9
HISTORY: Final = 50_000


@dataclass
class Sent:
    """One operation under way."""

    number: int
    operation: Operation
    expected: list[Answer]
    found: list[Answer] = field(default_factory=list)
    settled: bool = False


class Lane:
    """`burst`: operations every tenth of a second, at most; the next burst waits for the answers of the last."""

    def __init__(self, config: dict[str, Any], rng: Random, burst: int) -> None:
        self.config = config
        self.rng, self.burst = rng, burst
        self.operations = self.generation = 0
        self.bodies: dict[int, bytes] = {}
        """What was ever stored, by sequence; the last 50,000 of it."""
        self.chooser = SoakChooser(rng)
        self._begin(Stream(dict(config)))

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def in_memory(self) -> bool:
        return bool(self.config["storage"] == "memory")

    def _begin(self, model: Stream) -> None:
        """Both models at what is there."""
        self.settled, self.ahead = model, model.clone()
        self._row: deque[Sent] = deque()
        self._waiting: dict[int, Sent] = {}
        self._number = 0

    async def begin(self, port: int) -> None:
        """The stream is made."""
        wire = await Wire.open(port, f"begin-{self.name}")
        await create(wire, self.config)
        wire.close()

    # --- load ---

    async def run(self, port: int, stop: asyncio.Event) -> None:
        """Until `stop`, when all is answered, or until the server is gone. Raises Violation."""
        self._idle = asyncio.Event()
        wire = await Wire.open(port, self.name, self._answered)
        while not wire.gone.is_set() and not stop.is_set():
            began = asyncio.get_running_loop().time()
            self._idle.clear()
            wire.hold()
            sent = 0
            while sent < self.burst:
                operations = self._send_next(wire)
                sent += len(operations)
                if isinstance(operations[-1], Update):       # kept in another file: nothing follows before its answer
                    break
            wire.release()
            if self._waiting:
                await first_of(self._idle, wire.gone)
            if not wire.gone.is_set():
                await pause(stop, wire.gone, began + BURST_S - asyncio.get_running_loop().time())
        wire.check()
        wire.close()

    def _send_next(self, wire: Wire) -> list[Operation]:
        operations = self.chooser.next(self.ahead)
        for operation in operations:
            before = self.ahead.last_seq
            sent = Sent(self._number, operation, self.ahead.apply(operation))
            self._number += 1
            self._row.append(sent)
            if sent.expected:
                self._waiting[sent.number] = sent
            for seq in range(before + 1, self.ahead.last_seq + 1):
                if seq in self.ahead.messages:
                    self.bodies[seq] = self.ahead.messages[seq].body
                self.bodies.pop(seq - HISTORY, None)
            send(wire, self.ahead, operation, wire.inbox(f"o{sent.number}"))
        self.operations += len(operations)
        return operations

    def _answered(self, message: Message) -> None:
        number = int(message.subject.rpartition(".o")[2])
        sent = self._waiting[number]
        sent.found.append(understood(message.payload))
        if not agrees(sent.expected[: len(sent.found)], sent.found):
            raise Violation(f"{self.name}: {sent.operation}: expected {sent.expected}, got {sent.found}")
        if len(sent.found) < len(sent.expected):
            return
        del self._waiting[number]
        if not at_once(sent):
            while self._row and self._row[0].number <= number:
                self.settled.apply(self._row.popleft().operation)
        if not self._waiting:
            self._idle.set()

    def acknowledged(self, seq: int) -> None:
        """A reader's acknowledgement was confirmed."""

    # --- restarts ---

    async def compare(self, port: int) -> None:
        """What a restarted (or idle) server has is one of the states that may be. Raises Violation."""
        wire = await Wire.open(port, f"compare-{self.name}")
        answer = json.loads((await wire.request(f"$JS.API.STREAM.INFO.{self.name}")).payload)
        if "error" in answer:
            if not self.in_memory or answer["error"]["err_code"] != 10059:
                raise Violation(f"{self.name}: {answer['error']}")
            await create(wire, self.config)
            self.bodies.clear()
            self.generation += 1
            self._begin(Stream(dict(self.config)))
        else:
            self._settle(await read(port, wire, self.name), answer["config"])
        wire.close()

    def _settle(self, found: Recovered, config: dict[str, Any]) -> None:
        state, tried = self.settled, []
        for sent in (*self._row, None):
            after = state
            if sent is not None:
                after = state.clone()
                after.apply(sent.operation)
            if self._explains(state, after, sent.operation if sent else None, found, config):
                state.messages = {seq: state.messages[seq] for seq in sorted(found.messages)}
                state.last_seq = found.last_seq
                state.restart()
                self._begin(state)
                return
            tried.append(f"{state.first_seq}..{state.last_seq} {len(state.messages)} messages, then {sent}"[:300])
            state = after
        seqs = sorted(found.messages)
        raise Violation(
            f"{self.name}: found {found.first_seq}..{found.last_seq} {seqs[:40]}, expected one of:\n"
            + "\n".join(tried[:40])
        )

    def _explains(
        self, state: Stream, after: Stream, then: Operation | None, found: Recovered, config: dict[str, Any]
    ) -> bool:
        if any(config.get(name, value) != value for name, value in state.config.items()):
            return False
        there, live = set(state.messages), set(found.messages)
        if isinstance(then, Purge) and there > live >= set(after.messages):   # the oldest go first
            gone = sorted(there - set(after.messages))
            there -= set(gone[: len(there) - len(live)])
        if there != live or not state.last_seq <= found.last_seq <= max(state.last_seq, after.last_seq):
            return False
        return all(
            found.messages[seq] == (state.messages[seq].subject, state.messages[seq].body) for seq in live
        )


class WorkLane(Lane):
    """A work queue: what its readers acknowledge is gone, what they perhaps acknowledged may be."""

    def __init__(self, config: dict[str, Any], rng: Random, burst: int) -> None:
        super().__init__(config, rng, burst)
        self.chooser = PublishOnly(rng)
        self.gone: Callable[[], set[int]] = set
        self.perhaps_gone: Callable[[], set[int]] = set

    def acknowledged(self, seq: int) -> None:
        self.settled.messages.pop(seq, None)
        self.ahead.messages.pop(seq, None)

    def _explains(
        self, state: Stream, after: Stream, then: Operation | None, found: Recovered, config: dict[str, Any]
    ) -> bool:
        live, most = set(found.messages), set(state.messages) - self.gone()
        if found.last_seq != state.last_seq or not most - self.perhaps_gone() <= live <= most:
            return False
        return all(found.messages[seq] == (state.messages[seq].subject, state.messages[seq].body) for seq in live)


class SoakChooser(Chooser):
    """Without what depends on time; batches only as a whole."""

    ids = 5000

    def next(self, model: Stream) -> list[Operation]:
        chance = self.rng.random()
        if chance < 0.08:
            return [self.delete(model)]
        if chance < 0.1:
            return [self.purge(model)]
        if chance < 0.11:
            return [self.update(model)]
        if chance < 0.16 and model.allows("allow_atomic"):
            return [*self.whole_batch(model), *self.ended(model)]
        return [self.publish(model)]

    def ended(self, model: Stream) -> list[Operation]:
        """A batch before this one whose last message was too large goes on waiting, until a gap ends it: the model has
        no clock to forget it by."""
        return [self.part(Publish(self.under(model, SUBJECTS)), name, 999, "1") for name in model.atomic.under_way]

    def update(self, model: Stream) -> Any:
        made = super().update(model)
        bounded = {"max_age": 0, "max_msgs": self.rng.choice([20, 100])}
        return type(made)(tuple(sorted({**dict(made.changes), **bounded}.items())))


class PublishOnly(Chooser):
    def next(self, model: Stream) -> list[Operation]:
        return [Publish(self.under(model, SUBJECTS), (), self.body())]


def lane_config(name: str, rng: Random, storage: str, **more: Any) -> dict[str, Any]:
    """Streams that stay small and have no clock."""
    bounds = {**limits(rng), "max_age": 0, "max_msgs": 100}
    subjects = [f"{name}.>"]
    return {
        "name": name, "subjects": subjects, "storage": storage, "duplicate_window": DAY_NS, "allow_direct": True,
        "allow_atomic": True, **bounds, **more,
    }  # fmt: skip


def at_once(sent: Sent) -> bool:
    """Is this answered before what came earlier is committed? Then it says nothing about that."""
    if isinstance(sent.operation, Publish):
        return sent.expected == [{}]
    return "refused" in sent.expected[0]


def send(wire: Wire, model: Stream, operation: Operation, reply: str) -> None:
    if isinstance(operation, Publish):
        lines = block(operation.headers)[len(b"NATS/1.0\r\n") : -2] if operation.headers else b""
        wire.publish(operation.subject, operation.body, reply, lines)
        return
    verb, body = api_request(operation, model.config)
    wire.publish(f"$JS.API.{verb}", json.dumps(body).encode(), reply)


async def create(wire: Wire, config: dict[str, Any]) -> None:
    asked = json.dumps(config).encode()
    answer = json.loads((await wire.request(f"$JS.API.STREAM.CREATE.{config['name']}", asked)).payload)
    if "error" in answer:
        raise Violation(f"{config['name']} is refused: {answer['error']}")


async def pause(stop: asyncio.Event, gone: asyncio.Event, seconds: float) -> None:
    """A load has a rate: this waits for its next moment, or for the end."""
    if seconds > 0:
        try:
            async with asyncio.timeout(seconds):
                await first_of(stop, gone)
        except TimeoutError:
            return
