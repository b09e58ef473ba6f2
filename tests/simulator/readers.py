"""Consumers of stream `S`, and what a power cut must leave of them.

- One whose creation was answered is there, unless its deletion was sent; one whose deletion was answered is not, unless
  it was created again.
- What was acknowledged, and the acknowledgement confirmed, never comes again; nor do floors and positions go back
  behind what they were when an acknowledgement was sent that was confirmed.
- It is never ahead of its stream, and everything that it has not settled comes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from stream_model_rules import matches

from .history import Violation
from .world import World

ACK_WAIT_S = 30
NAMES = ("C0", "C1", "C2")
PATTERNS = ((), (), ("s.a",), ("s.c.>", "s.b"))
SECOND_NS = 10**9
LATE = 1 << 60
"""Of what has not happened yet."""


@dataclass
class Confirmation:
    """An acknowledgement that asked for an answer. `floor`, `delivered`: the consumer's, right after it was taken."""

    seq: int
    floor: int
    delivered: int
    at: int = LATE


@dataclass
class Reader:
    """One life of a consumer. What is not known to have happened is at LATE."""

    name: str
    filters: tuple[str, ...]
    ack_all: bool
    sent: int = 0
    created: int = LATE
    deletion_sent: int = LATE
    deleted: int = LATE
    confirmations: list[Confirmation] = field(default_factory=list)
    settled: dict[int, int] = field(default_factory=dict)
    """Sequence -> when an acknowledgement, or a TERM, was sent."""
    perhaps: frozenset[int] = frozenset()
    """Those of a life before a power cut."""
    delivered: dict[int, bytes] = field(default_factory=dict)
    """Sequence -> where to acknowledge it; the last delivery of each."""

    def wants(self, subject: str) -> bool:
        return not self.filters or any(matches(one, subject) for one in self.filters)

    def until(self, cut: int) -> Reader:
        """What of it is certain after a cut; nothing of it has a time any more."""
        return replace(
            self, sent=0, created=0, deletion_sent=LATE, deleted=LATE, delivered={},
            confirmations=[replace(one, at=0) for one in self.confirmations if one.at <= cut],
            settled={}, perhaps=self.perhaps | {seq for seq, at in self.settled.items() if at <= cut},
        )  # fmt: skip


class Readers:
    """`told(seq, at)` hears of every delivery."""

    def __init__(self, world: World, rng: Random, told: Any) -> None:
        self.w, self.rng, self.told = world, rng, told
        self.lives: dict[str, list[Reader]] = {name: [] for name in NAMES}
        self._creations: dict[int, Reader] = {}
        self._deletions: dict[int, Reader] = {}
        self._pulls: dict[int, Reader] = {}
        self._confirmed: dict[int, Confirmation] = {}

    # --- what is done ---

    def act(self) -> None:
        name = self.rng.choice(NAMES)
        reader = self._present(name)
        chance = self.rng.random()
        if reader is None:
            self._create(name)
        elif chance < 0.05:
            reader.deletion_sent = self.w.now
            self._deletions[self.w.request(f"CONSUMER.DELETE.S.{name}")] = reader
        elif reader.created == LATE or chance < 0.4:
            self._pulls[self.w.pull("S", name, self.rng.choice((1, 3, 10)))] = reader
        elif reader.delivered:
            self._settle_one(reader)

    def _present(self, name: str) -> Reader | None:
        lives = self.lives[name]
        return lives[-1] if lives and lives[-1].deletion_sent == LATE else None

    def _create(self, name: str) -> None:
        reader = Reader(name, self.rng.choice(PATTERNS), self.rng.random() < 0.3, self.w.now)
        self.lives[name].append(reader)
        config = {
            "durable_name": name, "name": name, "ack_policy": "all" if reader.ack_all else "explicit",
            "filter_subjects": list(reader.filters), "ack_wait": ACK_WAIT_S * SECOND_NS, "max_ack_pending": -1,
        }  # fmt: skip
        self._creations[self.w.request(f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": config})] = reader

    def _settle_one(self, reader: Reader) -> None:
        seq = self.rng.choice(sorted(reader.delivered))
        ack = reader.delivered.pop(seq)
        body = self.rng.choice((b"", b"", b"", b"+ACK", b"-NAK", b"+TERM", b"+WPI"))
        at = self.w.now
        if body in (b"-NAK", b"+WPI"):
            self.w.router.publish(ack, body)
            return
        consumer = self._consumer(reader.name)
        if consumer is None:
            return
        if body == b"+TERM" or self.rng.random() < 0.3:
            self.w.router.publish(ack, body)
        else:
            number = self.w.publish(ack, body)
            info = consumer.state.info()
            self._confirmed[number] = confirmation = Confirmation(
                seq, info["ack_floor"]["stream_seq"], info["delivered"]["stream_seq"]
            )
            reader.confirmations.append(confirmation)
        if reader.ack_all and body != b"+TERM":
            for other in [other for other in reader.delivered if other < seq]:
                reader.settled.setdefault(other, at)
                del reader.delivered[other]
        reader.settled.setdefault(seq, at)

    def _consumer(self, name: str) -> Any:
        stream = self.w.engine.streams.get("S")
        return None if stream is None else stream.consumers.get(name)

    def listen(self) -> None:
        for number in list(self._creations):
            if number in self.w.taken:
                (answer,) = self.w.taken.pop(number)
                self._creations.pop(number).created = self._succeeded(answer.body, answer.at)
        for number in list(self._deletions):
            if number in self.w.taken:
                (answer,) = self.w.taken.pop(number)
                self._deletions.pop(number).deleted = self._succeeded(answer.body, answer.at)
        for number in list(self._confirmed):
            if number in self.w.taken:
                self._confirmed.pop(number).at = self.w.taken.pop(number)[0].at
        for number, reader in self._pulls.items():
            for message in self.w.taken.pop(number, ()):
                if message.reply:
                    seq = int(message.reply.split(b".")[5])
                    if seq in reader.settled and reader.deletion_sent == LATE and not reader.ack_all:
                        raise Violation(f"{reader.name}: {seq} comes again, it was acknowledged")
                    reader.delivered[seq] = message.reply
                    self.told(seq, message.at)

    def _succeeded(self, body: bytes, at: int) -> int:
        answer = json.loads(body)
        if "error" in answer and self.w.failed:
            return LATE
        if "error" in answer:
            raise Violation(f"a consumer's creation or deletion is answered {answer['error']}")
        return at

    # --- after a cut ---

    def _by(self, cut: int) -> list[tuple[str, list[Reader]]]:
        """The lives that were asked for by then."""
        return [(name, [life for life in lives if life.sent <= cut]) for name, lives in self.lives.items()]

    def check(self, world: World, cut: int) -> None:
        stream = world.engine.streams["S"]
        for name, lives in self._by(cut):
            consumer = stream.consumers.get(name)
            created = [life for life in lives if life.created <= cut]
            if consumer is None:
                if created and created[-1] is lives[-1] and created[-1].deletion_sent > cut:
                    raise Violation(f"{name}: its creation was answered, and it is not there")
                continue
            if not lives or lives[-1].deleted <= cut:
                raise Violation(f"{name} is there, and was deleted, or never created")
            life = self._life_of(consumer, lives, cut)
            if life is not None:
                self._check_one(name, life, consumer.state, stream.state()["last_seq"], cut)

    def _life_of(self, consumer: Any, lives: list[Reader], cut: int) -> Reader | None:
        """Where only one can be meant."""
        there = [life for life in lives if life.created <= cut and life.deletion_sent > cut]
        return there[-1] if there and there[-1] is lives[-1] else None

    def _check_one(self, name: str, life: Reader, state: Any, last_seq: int, cut: int) -> None:
        info = state.info()
        floor, delivered = info["ack_floor"]["stream_seq"], info["delivered"]["stream_seq"]
        if delivered > last_seq:
            raise Violation(f"{name} has delivered up to {delivered} of a stream that ends with {last_seq}")
        pending = {row[0] for row in state.pending()}
        for one in life.confirmations:
            if one.at > cut:
                continue
            if one.seq in pending or delivered < one.seq:
                raise Violation(f"{name}: {one.seq} would come again, though its acknowledgement was confirmed")
            if floor < one.floor or delivered < one.delivered:
                raise Violation(f"{name}: floor {floor} and position {delivered} were {one.floor} and {one.delivered}, "
                                f"which was confirmed")  # fmt: skip

    def check_delivery(self, world: World, cut: int, messages: dict[int, dict[str, Any]]) -> None:
        """Everything that is not settled comes, and nothing that is for certain."""
        stream = world.engine.streams["S"]
        world.advance((ACK_WAIT_S + 1) * SECOND_NS)
        store = stream.store
        for name, lives in self._by(cut):
            consumer = stream.consumers.get(name)
            life = None if consumer is None else self._life_of(consumer, lives, cut)
            if life is None:
                continue
            number = world.pull("S", name, 1000)
            world.settle()
            got = {int(one.reply.split(b".")[5]) for one in world.taken.pop(number, ()) if one.reply}
            settled = life.settled.keys() | life.perhaps
            to_come = {seq for seq, message in messages.items() if life.wants(message["subject"].decode())
                       and seq not in settled and store.load_message(seq) is not None}  # fmt: skip
            if life.ack_all:
                highest = max(settled, default=0)
                to_come = {seq for seq in to_come if seq > highest}
            if to_come - got:
                raise Violation(f"{name} is stuck: {sorted(to_come - got)} do not come, got {sorted(got)}, "
                                f"{consumer.state.info()}")  # fmt: skip
            again = {one.seq for one in life.confirmations if one.at <= cut} & got
            if again:
                raise Violation(f"{name}: {sorted(again)} come again, though confirmed")

    def go_on(self, world: World, rng: Random, told: Any, cut: int) -> Readers:
        readers = Readers(world, rng, told)
        stream = world.engine.streams["S"]
        for name, lives in self._by(cut):
            consumer = stream.consumers.get(name)
            if consumer is None:
                continue
            life = self._life_of(consumer, lives, cut)
            if life is None:                       # which one it is, is not known: nothing is expected of it
                life = Reader(name, ("nothing",), True)
            readers.lives[name].append(life.until(cut))
        return readers
