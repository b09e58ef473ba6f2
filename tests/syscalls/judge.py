"""What was asked of streams and consumers, what was answered, and what a start may therefore find.

A stream's life is a `History` (tests/simulator): every operation is in it that the stream took, in order, with when it
was sent and answered. What was refused for want of room is not, so what is there of it is found out. Of what failed
with the disk the history says that it may be there. Which life a stream found is, its description says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..simulator.history import LIMITS, Found, History, Violation
from .server import Server

LATE = 1 << 60
"""Of what has not happened yet."""
ACK_WAIT_S = 30
SECOND_NS = 10**9


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
    sent: int = 0
    created: int = LATE
    deletion_sent: int = LATE
    deleted: int = LATE
    confirmations: list[Confirmation] = field(default_factory=list)
    settled: dict[int, int] = field(default_factory=dict)
    """Sequence -> when an acknowledgement, or a TERM, was sent."""
    delivered: dict[int, bytes] = field(default_factory=dict)
    """Sequence -> where to acknowledge it; the last delivery of each."""
    reset_sent: int = LATE
    """From then on all may come again."""
    pauses: list[tuple[int, int, int]] = field(default_factory=list)
    """(sent, answered, until when in ns)."""

    def goes_on(self, cut: int) -> Reader:
        """What of it is certain."""
        confirmed = [] if self.reset_sent <= cut else [one for one in self.confirmations if one.at <= cut]
        return Reader(
            self.name, 0, 0, LATE, LATE,
            [Confirmation(one.seq, one.floor, one.delivered, 0) for one in confirmed],
            {seq: 0 for seq, at in self.settled.items() if at <= cut}, {}, LATE,
            [(0, 0, until) for sent, answered, until in self.pauses[-1:] if answered <= cut],
        )  # fmt: skip


@dataclass
class Life:
    """One life of a stream; `number` is in its description."""

    name: str
    number: int
    history: History
    sent: int
    created: int = LATE
    deletion_sent: int = LATE
    deleted: int = LATE
    readers: list[Reader] = field(default_factory=list)
    slot: str = ""
    unsure: bool = False
    """Its creation was refused, since a sync failed, and it is there after a start: a power cut may take it yet."""

    def reader(self, name: str) -> Reader | None:
        """The one that is there, as far as is known."""
        found = [one for one in self.readers if one.name == name]
        return found[-1] if found and found[-1].deletion_sent == LATE else None


def found_in(server: Server, name: str) -> Found:
    """A stream as it is there. Raises Violation when it contradicts itself."""
    stream: Any = server.engine.streams[name]
    store = stream.store
    messages, seq = {}, store.next_message(1)
    while seq:
        message = store.load_message(seq)
        if message is None:
            raise Violation(f"{name}: {seq} is counted, and cannot be read")
        messages[seq] = dict(message)
        seq = store.next_message(seq + 1)
    wrong = store.check()
    if wrong:
        raise Violation(f"{name}: the store finds itself wrong: {wrong}")
    state = stream.state()
    if state["messages"] != len(messages):
        raise Violation(f"{name} counts {state['messages']} messages of {len(messages)}")
    config = {limit: getattr(stream.config, limit) for limit in LIMITS}
    return Found(messages, state["first_seq"], state["last_seq"], config)


class Books:
    """All lives of all streams since some moment, `begin`, at which everything that was there was on disk."""

    def __init__(self, begin: int = 0) -> None:
        self.begin = begin
        self.lives: list[Life] = []

    def of(self, name: str) -> list[Life]:
        return [life for life in self.lives if life.name == name]

    def present(self, name: str) -> Life | None:
        """The one that is there, as far as is known."""
        lives = self.of(name)
        there = [life for life in lives if life.created != LATE and life.deletion_sent == LATE]
        return there[-1] if there else None

    # --- after a start ---

    def check(self, server: Server, cut: int, *, kill: bool) -> None:
        """Raises Violation. `kill`: what was handed to the kernel is there."""
        if server.storage.unrecovered:
            raise Violation(f"{server.storage.unrecovered} cannot be recovered")
        names = {life.name for life in self.lives}
        unknown = server.engine.streams.keys() - names
        if unknown:
            raise Violation(f"nobody ever asked for {unknown}")
        for name in sorted(names):
            life = self.life_found(server, name, cut)
            if life is not None:
                self._check_life(server, life, cut, kill)

    def life_found(self, server: Server, name: str, cut: int) -> Life | None:
        lives = [life for life in self.of(name) if life.sent <= cut]
        created = [life for life in lives if life.created <= cut and not life.unsure]
        stream: Any = server.engine.streams.get(name)
        if stream is None:
            if created and created[-1] is lives[-1] and created[-1].deletion_sent > cut:
                raise Violation(f"{name}: its creation was answered, and it is not there")
            return None
        number = int(stream.config.description)
        found = [life for life in lives if life.number == number]
        if not found:
            raise Violation(f"{name} is of its life {number}, which was not asked for")
        if found[0].deleted <= cut:
            raise Violation(f"{name} was deleted, that was answered, and it is there")
        if created and created[-1].number > number:
            raise Violation(f"{name} is of its life {number}, and a later one was answered")
        return found[0]

    def _check_life(self, server: Server, life: Life, cut: int, kill: bool) -> None:
        stream: Any = server.engine.streams[life.name]
        store = stream.store
        if store.lost or store.damage:
            raise Violation(f"{life.name}: a crash is no damage: {store.damage}, {store.lost} lost")
        found = found_in(server, life.name)
        try:
            life.history.check(found, cut)
        except Violation as violation:
            raise Violation(f"{life.name}: {violation}") from None
        if kill:
            self._check_first_part(life, found, cut)
        for name in {reader.name for reader in life.readers}:
            self._check_reader(life, name, stream, cut)

    def _check_first_part(self, life: Life, found: Found, cut: int) -> None:
        """A kill leaves what some first part of the operations makes, the last one perhaps in part."""
        history = life.history
        certain, sent = history.answered(cut, True), history.sent_by(cut)
        there = found.messages.keys()
        for i in range(certain, sent + 1):
            after = history.states[min(i + 1, sent)].messages.keys()
            before = history.states[i].messages.keys()
            if before & after <= there <= before | after:
                return
        possible = [sorted(state.messages) for state in history.states[certain : sent + 1]]
        raise Violation(f"{life.name} has {sorted(there)}, which no first part of what was asked makes: {possible}")

    # --- consumers ---

    def reader_found(self, life: Life, name: str, stream: Any, cut: int) -> Reader | None:
        """Where only one can be meant."""
        readers = [one for one in life.readers if one.name == name and one.sent <= cut]
        created = [one for one in readers if one.created <= cut]
        if name not in stream.consumers:
            if created and created[-1] is readers[-1] and created[-1].deletion_sent > cut:
                raise Violation(f"{life.name}: the creation of {name} was answered, and it is not there")
            return None
        if not readers or readers[-1].deleted <= cut:
            raise Violation(f"{life.name}: {name} is there, and was deleted, or never created")
        there = [one for one in created if one.deletion_sent > cut]
        return there[-1] if there and there[-1] is readers[-1] else None

    def _check_reader(self, life: Life, name: str, stream: Any, cut: int) -> None:
        reader = self.reader_found(life, name, stream, cut)
        if reader is None:
            return
        consumer = stream.consumers[name]
        info = consumer.state.info()
        floor, delivered = info["ack_floor"]["stream_seq"], info["delivered"]["stream_seq"]
        if delivered > stream.state()["last_seq"] and reader.reset_sent > cut:
            raise Violation(f"{life.name}: {name} has delivered up to {delivered}, the stream ends before")
        pending = {row[0] for row in consumer.state.pending()}
        for one in reader.confirmations if reader.reset_sent > cut else ():
            if one.at <= cut and (one.seq in pending or delivered < one.seq):
                raise Violation(f"{life.name}: {one.seq} would come to {name} again, though that it was acknowledged "
                                "is confirmed")  # fmt: skip
            if one.at <= cut and (floor < one.floor or delivered < one.delivered):
                raise Violation(f"{life.name}: floor {floor} and position {delivered} of {name} were {one.floor} and "
                                f"{one.delivered}, which was confirmed")  # fmt: skip
        self._check_pause(life, reader, consumer, cut)

    def _check_pause(self, life: Life, reader: Reader, consumer: Any, cut: int) -> None:
        answered = [i for i, (_, at, _) in enumerate(reader.pauses) if at <= cut]
        if not answered:
            return
        possible = {until for sent, _, until in reader.pauses[answered[-1] :] if sent <= cut}
        found = max(0, consumer.config.pause_until_ns)
        if found not in possible:
            raise Violation(f"{life.name}: {reader.name} is paused until {found}, and should be until {possible}")

    def check_delivery(self, server: Server, cut: int) -> None:
        """Everything that is not settled comes, and nothing that is for certain."""
        server.advance((ACK_WAIT_S + 1) * SECOND_NS)
        for name, stream in list(server.engine.streams.items()):
            life = self.life_found(server, name, cut)
            if life is None or stream.failure or stream.store.failure:
                continue                           # what it failed with is not delivered before the next start
            there = found_in(server, name).messages.keys()
            for consumer in list(stream.consumers):
                reader = self.reader_found(life, consumer, stream, cut)
                if reader is not None:
                    self._check_one(server, life, reader, set(there), cut)

    def _check_one(self, server: Server, life: Life, reader: Reader, there: set[int], cut: int) -> None:
        if any(until > server.clock.wall_ns for _, _, until in reader.pauses):
            return
        number = server.pull(life.name, reader.name, 1000)
        server.settle()
        got = {int(one.reply.split(b".")[5]) for one in server.taken.pop(number, ()) if one.reply}
        settled = {seq for seq, at in reader.settled.items() if at <= cut}
        missing = there - got - settled
        if missing:
            raise Violation(f"{life.name}: {sorted(missing)} do not come to {reader.name}, it is stuck: {sorted(got)}")
        again = {one.seq for one in reader.confirmations if one.at <= cut} & got
        if again and reader.reset_sent > cut:
            raise Violation(f"{life.name}: {sorted(again)} come to {reader.name} again, though that is confirmed")

    # --- going on ---

    def go_on(self, server: Server, failed_sync: bool) -> Books:
        """What is there now is certain: the books from here on. What is not there and was not deleted for certain may
        come back: its creation, or its deletion, failed with the disk."""
        cut, again = server.now, Books(server.now)
        for name, stream in server.engine.streams.items():
            life = self.life_found(server, name, cut)
            assert life is not None
            found = found_in(server, name)
            history = life.history.goes_on(found, server.clock.wall_ns)
            new = Life(name, life.number, history, 0, 0, slot=life.slot)
            new.unsure = failed_sync and (life.created == LATE or life.unsure)
            for consumer in stream.consumers:
                reader = self.reader_found(life, consumer, stream, cut)
                new.readers.append(reader.goes_on(cut) if reader is not None else Reader(consumer, 0, 0, reset_sent=0))
            again.lives.append(new)
        again.lives += [Life(one.name, one.number, one.history, 0, slot=one.slot) for one in self.lives
                        if one.name not in server.engine.streams and one.deleted == LATE]  # fmt: skip
        return again


def error_of(body: bytes) -> int:
    """The code of an answer that is an error; 0: it is none."""
    if not body:
        return 0
    answer = json.loads(body)
    return int(answer["error"]["err_code"]) if "error" in answer else 0

