"""Streams that come and go: one pipelining client creates them, publishes, adds a consumer, deletes them again.

What is done to one name happens in the order in which it was sent. After a crash each name is as some first part of
that left it, no shorter than what was answered; of what belongs to the stream that is there, everything answered is.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from .load import first_of
from .model import Violation
from .wire import Message, Wire

NAMES: Final = tuple(f"CHURN{number}" for number in range(6))
WINDOW: Final = 24
CLIENT: Final = "churn"
KIND: Final = "c"
"""Replies are `_INBOX.churn.c<number>`."""


class Step(NamedTuple):
    """`life` counts the creations of this name."""

    name: str
    verb: str
    life: int


class Found(NamedTuple):
    """A stream after a restart."""

    life: int
    messages: int
    consumers: int
    updated: bool


class Churn:
    """`steps` is what was sent; the number of a step is in its reply's subject."""

    def __init__(self, rng: random.Random) -> None:
        self.steps: list[Step] = []
        self.answered: set[int] = set()
        self._rng = rng
        self._lives = dict.fromkeys(NAMES, 0)
        self._verbs: dict[str, list[str]] = {name: [] for name in NAMES}
        self._created = dict.fromkeys(NAMES, -1)
        """The step that has created its newest life."""
        self._room = asyncio.Event()
        self._wire: Wire | None = None

    async def run(self, port: int, until: Callable[[], bool]) -> None:
        """Until the server is gone, or `until()`. Raises Violation for an answer that is not as it should be."""
        self._wire = wire = await Wire.open(port, CLIENT, self._answer)
        while not wire.gone.is_set() and not (until() and len(self.answered) == len(self.steps)):
            while len(self.steps) - len(self.answered) < WINDOW and not until() and (ready := self._ready()):
                self._send(wire, self._rng.choice(ready))
            self._room.clear()
            await first_of(self._room, wire.gone)
        wire.check()
        wire.close()

    def _ready(self) -> list[str]:
        """Streams that the next step may be about. A publish does not wait behind requests that wait for a disk which
        stands still: it would meet the stream before."""
        return [
            name for name in NAMES if self._verbs[name][:1] != ["publish"] or self._created[name] in self.answered
        ]

    def _send(self, wire: Wire, name: str) -> None:
        if not self._verbs[name]:
            middle = ["publish", "consume", "update"]
            self._rng.shuffle(middle)
            self._verbs[name] = ["create", *middle[: self._rng.randint(0, 3)], "delete"]
            self._lives[name] += 1
        verb = self._verbs[name].pop(0)
        if verb == "create":
            self._created[name] = len(self.steps)
        reply = wire.inbox(f"{KIND}{len(self.steps)}")
        self.steps.append(Step(name, verb, self._lives[name]))
        wire.publish(*request(self.steps[-1]), reply)

    def _answer(self, message: Message) -> None:
        number = int(message.subject.rpartition(f".{KIND}")[2])
        if b'"error"' in message.payload or number in self.answered:
            raise Violation(f"{self.steps[number]} was answered {message.payload!r}")
        self.answered.add(number)
        self._room.set()

    # --- after a crash ---

    def verify(self, found: dict[str, Found], answered: Iterable[int]) -> None:
        """`found`: the streams that are there. Raises Violation."""
        by_name: dict[str, set[int]] = {name: set() for name in NAMES}
        for number in answered:
            by_name[self.steps[number].name].add(number)
        for name in NAMES:
            self._verify_one(name, found.get(name), by_name[name])

    def _verify_one(self, name: str, found: Found | None, answered: set[int]) -> None:
        numbers = [number for number, step in enumerate(self.steps) if step.name == name]
        certain = max(answered, default=-1)
        possible = {self._life_after(numbers, certain)}
        possible |= {self._life_after(numbers, number) for number in numbers if number > certain}
        life = found.life if found is not None else 0
        if life not in possible:
            raise Violation(f"{name}: life {life} is there (0: none), and one of {sorted(possible)} should be")
        if found is None:
            return
        for number in sorted(answered):
            verb, its_life = self.steps[number].verb, self.steps[number].life
            there = {"publish": found.messages, "consume": found.consumers, "update": found.updated}.get(verb, 1)
            if its_life == life and not there:
                raise Violation(f"{name}: the {verb} of life {life} was answered, and what it made is gone")

    def _life_after(self, numbers: list[int], last: int) -> int:
        """Which life of a stream is there after the step `last`; 0: none."""
        before = [self.steps[number] for number in numbers if number <= last]
        return before[-1].life if before and before[-1].verb != "delete" else 0


def request(step: Step) -> tuple[str, bytes]:
    """A step as the wire carries it."""
    subject = step.name.lower()
    config = {"name": step.name, "subjects": [subject], "storage": "file", "num_replicas": 1}
    if step.verb == "publish":
        return subject, b"x"
    if step.verb == "consume":
        consumer = {"durable_name": "C", "name": "C", "ack_policy": "explicit"}
        body = {"stream_name": step.name, "config": consumer}
        return f"$JS.API.CONSUMER.CREATE.{step.name}.C", json.dumps(body).encode()
    if step.verb == "delete":
        return f"$JS.API.STREAM.DELETE.{step.name}", b""
    config["description"] = f"{step.life}" if step.verb == "create" else f"{step.life} updated"
    return f"$JS.API.STREAM.{step.verb.upper()}.{step.name}", json.dumps(config).encode()


async def find(port: int) -> dict[str, Found]:
    """What of it a server holds."""
    wire = await Wire.open(port, "find")
    found = {}
    for name in NAMES:
        info = json.loads((await wire.request(f"$JS.API.STREAM.INFO.{name}")).payload)
        if "error" in info:
            if info["error"]["err_code"] != 10059:
                raise Violation(f"{name}: {info['error']}")
            continue
        life, _, updated = info["config"]["description"].partition(" ")
        found[name] = Found(int(life), info["state"]["messages"], info["state"]["consumer_count"], bool(updated))
    wire.close()
    return found
