"""A stream whose messages end on their own, by age or by Nats-TTL, beside what must be there and what must not.

Nobody outside knows to the millisecond when a message was stored: after it was sent, before it was acknowledged. So a
message that is missing must have had time enough to end. One that is there though its time is over is waited for: a
server that was away, or is busy, ends it when it comes to it.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from ..crash.check import Recovered, read
from ..crash.load import first_of
from ..crash.model import Violation
from ..crash.wire import Message, Wire
from .lanes import BURST_S, create, pause

SUBJECTS: Final = 40
AGE_S: Final = 8
ENDED_S: Final = 120.0
"""So long a test waits at most for what is to happen."""
LIVES: Final = {"": AGE_S, "1": 1, "3s": 3, "never": 0}
"""Nats-TTL -> seconds; 0: until it is deleted."""


@dataclass
class Record:
    subject: str
    body: bytes
    life_s: int
    sent_at: float
    acked_at: float = 0.0
    deleting: bool = False
    gone: bool = False


class Fleeting:
    """Publishes, deletes what has no end, purges a subject now and then. `burst`: publishes every tenth of a second."""

    def __init__(self, name: str, storage: str, rng: Random, burst: int) -> None:
        self.name, self.rng, self.burst = name, rng, burst
        self.config: dict[str, Any] = {
            "name": name, "subjects": [f"{name}.>"], "storage": storage, "max_age": AGE_S * 10**9,
            "duplicate_window": 10**9, "allow_msg_ttl": True, "allow_direct": True,
        }  # fmt: skip
        self.records: dict[int, Record] = {}
        self.last_seq = self.operations = 0
        self._asked: dict[int, tuple[str, Any]] = {}

    @property
    def in_memory(self) -> bool:
        return bool(self.config["storage"] == "memory")

    # --- load ---

    async def run(self, port: int, stop: asyncio.Event) -> None:
        """Until `stop`, when all is answered, or until the server is gone. Raises Violation."""
        self._idle = asyncio.Event()
        self._asked.clear()
        self._wire = wire = await Wire.open(port, self.name, self._answered)
        while not wire.gone.is_set() and not stop.is_set():
            began = asyncio.get_running_loop().time()
            self._idle.clear()
            wire.hold()
            for _ in range(self.burst):
                self._publish()
            if self.rng.random() < 0.1:
                self._purge()
            wire.release()
            await first_of(self._idle, wire.gone)
            if not wire.gone.is_set():
                await pause(stop, wire.gone, began + BURST_S - asyncio.get_running_loop().time())
        wire.check()
        wire.close()

    def _ask(self, kind: str, what: Any, subject: str, body: bytes, headers: bytes = b"") -> None:
        self.operations += 1
        self._asked[self.operations] = (kind, what)
        self._wire.publish(subject, body, self._wire.inbox(f"o{self.operations}"), headers)

    def _publish(self) -> None:
        subject, ttl = f"{self.name}.{self.rng.randrange(SUBJECTS)}", self.rng.choice(list(LIVES))
        body = b"%016x" % self.rng.getrandbits(64) + b"x" * self.rng.choice([0, 50, 400])
        self.last_seq += 1
        self.records[self.last_seq] = Record(subject, body, LIVES[ttl], time.monotonic())
        self._ask("publish", self.last_seq, subject, body, f"Nats-TTL: {ttl}\r\n".encode() if ttl else b"")

    def _purge(self) -> None:
        subject = f"{self.name}.{self.rng.randrange(SUBJECTS)}"
        seqs = [seq for seq, record in self.records.items() if record.subject == subject]
        for seq in seqs:
            self.records[seq].deleting = True
        self._ask("purge", seqs, f"$JS.API.STREAM.PURGE.{self.name}", json.dumps({"filter": subject}).encode())

    def _delete(self, seq: int) -> None:
        self.records[seq].deleting = True
        body = json.dumps({"seq": seq, "no_erase": self.rng.random() < 0.5}).encode()
        self._ask("delete", [seq], f"$JS.API.STREAM.MSG.DELETE.{self.name}", body)

    def _answered(self, message: Message) -> None:
        kind, what = self._asked.pop(int(message.subject.rpartition(".o")[2]))
        answer = json.loads(message.payload)
        if kind == "publish":
            if answer.get("seq") != what or "error" in answer:
                raise Violation(f"{self.name}: message {what} was answered {answer}")
            self.records[what].acked_at = time.monotonic()
            if self.records[what].life_s == 0 and not self.records[what].deleting:
                self._delete(what)
        else:
            if "error" in answer and not (kind == "delete" and self.records[what[0]].gone):   # purged meanwhile
                raise Violation(f"{self.name}: {kind} of {what[:5]} was answered {answer}")
            for seq in what:
                self.records[seq].gone = True
        if not self._asked:
            self._idle.set()

    # --- what is there ---

    async def compare(self, port: int) -> None:
        """Raises Violation."""
        wire = await Wire.open(port, f"compare-{self.name}")
        answer = json.loads((await wire.request(f"$JS.API.STREAM.INFO.{self.name}")).payload)
        if "error" in answer:
            if answer["error"]["err_code"] != 10059 or not (self.in_memory or self.last_seq == 0):
                raise Violation(f"{self.name}: {answer['error']}")
            await create(wire, self.config)
            self.records.clear()
            self.last_seq = 0
        else:
            await self._settle(port, wire)
        wire.close()

    async def _settle(self, port: int, wire: Wire) -> None:
        """Everything is as it may be, and nothing is there any more whose time was over."""
        overdue = [0]
        try:
            async with asyncio.timeout(ENDED_S):
                while overdue:
                    asked = time.monotonic()
                    found = await read(port, wire, self.name, still=False)
                    overdue = self._overdue(found, asked)
                    self._check(found, time.monotonic())
        except TimeoutError:
            raise Violation(f"{self.name}: messages {overdue[:20]} do not end") from None

    def _overdue(self, found: Recovered, asked: float) -> list[int]:
        """What was found though it must have ended before that was asked."""
        due = {seq: self.records[seq] for seq in found.messages if seq in self.records}
        return [seq for seq, one in due.items() if one.life_s and one.acked_at and one.acked_at + one.life_s < asked]

    def _check(self, found: Recovered, after: float) -> None:
        acked = max((seq for seq, record in self.records.items() if record.acked_at), default=0)
        if not acked <= found.last_seq <= self.last_seq:
            raise Violation(f"{self.name}: ends at {found.last_seq}; acknowledged {acked}, sent {self.last_seq}")
        for seq, (subject, body) in found.messages.items():
            record = self.records.get(seq)
            if record is None or record.gone or (record.subject, record.body) != (subject, body):
                raise Violation(f"{self.name}: message {seq} should not be there like this: {record}, {body[:40]!r}")
        for seq, record in list(self.records.items()):
            if seq in found.messages:
                continue
            ended = record.life_s and record.sent_at + record.life_s <= after
            if record.acked_at and not record.deleting and not ended:
                raise Violation(f"{self.name}: message {seq} is lost: {record}")
            del self.records[seq]
        self.last_seq = found.last_seq
        for record in self.records.values():       # whatever was under way has happened
            record.deleting, record.acked_at = False, record.acked_at or after
