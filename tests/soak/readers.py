"""A consumer of a lane, and what it may be given: nothing that was never stored, and nothing that it confirmed."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any, Final

from stream_model_rules import matches

from ..crash.load import first_of
from ..crash.model import Violation
from ..crash.wire import Message, Wire
from .lanes import Lane

BATCH: Final = 64
PULL_NS: Final = 200_000_000
ACK_WAIT_NS: Final = 2_000_000_000
SAYINGS: Final = (b"+ACK", b"+ACK", b"+TERM", b"-NAK", b"")
"""b"": nothing, so that it comes again after the ack wait."""


class Reader:
    """Pull consumer `name` of a lane, with several filters. Acknowledgements are confirmed, and counted then."""

    def __init__(self, lane: Lane, name: str, filters: list[str], rng: Random) -> None:
        self.lane, self.name, self.filters, self.rng = lane, name, filters, rng
        self.generation = lane.generation
        self.confirmed: set[int] = set()
        self.doubtful: set[int] = set()
        """Acknowledged, and not known to have arrived: whether it comes again is open."""
        self.said: dict[int, int] = {}
        """Acknowledgement under way -> its message."""
        self.deliveries = self.acks = 0
        self.config: dict[str, Any] = {
            "durable_name": name, "name": name, "ack_policy": "explicit", "ack_wait": ACK_WAIT_NS,
            "max_ack_pending": 5000, "filter_subjects": filters,
        }  # fmt: skip

    def never_acknowledged(self) -> set[int]:
        """What the stream has for it and it did not acknowledge."""
        messages = self.lane.settled.messages
        wanted = {seq for seq in messages if any(matches(one, messages[seq].subject) for one in self.filters)}
        return wanted - self.confirmed - self.doubtful

    async def create(self, port: int) -> None:
        """It is there afterwards. Creating it again changes nothing; in memory it has gone with its stream."""
        if self.generation != self.lane.generation:
            self.generation = self.lane.generation
            self.confirmed.clear()
            self.doubtful.clear()
        wire = await Wire.open(port, f"create-{self.name}")
        asked = {"stream_name": self.lane.name, "config": self.config}
        body = json.dumps(asked).encode()
        answer = json.loads((await wire.request(f"$JS.API.CONSUMER.CREATE.{self.lane.name}.{self.name}", body)).payload)
        if "error" in answer:
            raise Violation(f"consumer {self.name}: {answer['error']}")
        wire.close()

    async def info(self, port: int) -> dict[str, Any]:
        wire = await Wire.open(port, f"info-{self.name}")
        answer = json.loads((await wire.request(f"$JS.API.CONSUMER.INFO.{self.lane.name}.{self.name}")).payload)
        wire.close()
        if "error" in answer:
            raise Violation(f"consumer {self.name}: {answer['error']}")
        found: dict[str, Any] = answer
        return found

    # --- load ---

    async def run(self, port: int, stop: asyncio.Event, drain: bool = False) -> None:
        """Pull and acknowledge until `stop` or the server is gone; `drain`: until a pull brought nothing."""
        self._drain, self._left, self._got = drain, 0, 0
        self._idle = asyncio.Event()
        self.said.clear()
        self._wire = wire = await Wire.open(port, f"reader-{self.lane.name}-{self.name}", self._take)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.lane.name}.{self.name}"
        while not wire.gone.is_set() and not stop.is_set():
            self._idle.clear()
            self._left, self._got = BATCH, 0
            wire.publish(subject, json.dumps({"batch": BATCH, "expires": PULL_NS}).encode(), wire.inbox("pull"))
            await first_of(self._idle, wire.gone)
            if drain and not self._got and not self.said:
                break
        wire.check()
        wire.close()

    def _take(self, message: Message) -> None:
        tail = message.subject.removeprefix(self._wire.inbox(""))
        if tail.startswith("a"):
            seq = self.said.pop(int(tail[1:]))
            self.confirmed.add(seq)
            self.doubtful.discard(seq)
            self.lane.acknowledged(seq)
        elif message.status:
            self._idle.set()
        else:
            self._work_on(message)

    def _work_on(self, message: Message) -> None:
        seq = int(message.reply.split(".")[5])
        self.deliveries += 1
        self._got += 1
        if seq in self.confirmed:
            raise Violation(f"{self.lane.name}/{self.name}: {seq} came again, its acknowledgement was confirmed")
        body = self.lane.bodies.get(seq)
        if body is not None and body != message.payload:
            raise Violation(f"{self.lane.name}/{self.name}: {seq} came as {message.payload[:60]!r}, not {body[:60]!r}")
        if not any(matches(one, message.subject) for one in self.filters):
            raise Violation(f"{self.lane.name}/{self.name}: {seq} is under none of its filters")
        saying = b"+ACK" if self._drain else self.rng.choice(SAYINGS)
        if saying in (b"+ACK", b"+TERM"):
            self.acks += 1
            self.said[self.acks] = seq
            self.doubtful.add(seq)
            self._wire.publish(message.reply, saying, self._wire.inbox(f"a{self.acks}"))
        elif saying:
            self._wire.publish(message.reply, saying)
        self._left -= 1
        if not self._left:
            self._idle.set()

    async def check_drained(self, port: int) -> None:
        """Takes what is left. Then everything that is there was acknowledged, and the consumer knows."""
        info = await self.info(port)
        while info["num_pending"] or info["num_ack_pending"]:
            await self.run(port, asyncio.Event(), drain=True)
            info = await self.info(port)
        if info["num_redelivered"] or self.never_acknowledged():
            raise Violation(
                f"{self.lane.name}/{self.name}: drained, and {info['num_redelivered']} wait for a redelivery, "
                f"it never got {sorted(self.never_acknowledged())[:20]}"
            )
