"""Work queues and interest beside the obvious rules: several consumers, acks, deletions, purges, resets, reopenings."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from millpond.store.api import Filters
from retention_rig import ACK_WAIT_S, Rig

SUBJECTS = [b"q.a", b"q.b", b"q.c.d", b"q.none"]
NAMES = ["A", "B", "C"]
PARTS = {"A": ["q.a"], "B": ["q.b"], "C": ["q.c.>"]}
"""Consumers of a work queue share nothing."""
FILTERS: list[list[str]] = [[], ["q.a"], ["q.*"], ["q.b", "q.c.>"]]
CHOICE = st.integers(0, 1000)


@dataclass
class Reader:
    """`pending`: sequence -> (deliveries, ack subject of the last); `queue`: what comes again, in order."""

    filters: list[str]
    ack_all: bool
    position: int = 0
    began: int = 0
    pending: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    queue: list[int] = field(default_factory=list)

    def wants(self, subject: bytes) -> bool:
        return Filters([text.encode() for text in self.filters]).accepts(subject)

    def forget(self, seq: int) -> None:
        self.pending.pop(seq, None)
        self.queue = [other for other in self.queue if other != seq]


class RetentionMachine(RuleBasedStateMachine):
    """One stream's life; after every step its messages are those that somebody needs."""

    @initialize(interest=st.booleans(), per_subject=st.sampled_from([-1, -1, 3]))
    def begin(self, *, interest: bool, per_subject: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="retention-"))
        self.interest, self.per_subject = interest, per_subject
        retention = "interest" if interest else "workqueue"
        self.rig = Rig(self.folder, retention=retention, max_msgs_per_subject=per_subject)
        self.live: dict[int, bytes] = {}
        self.last_seq = 0
        self.readers: dict[str, Reader] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.rig.close()
            shutil.rmtree(self.folder)

    # --- the rules ---

    def wanted(self, seq: int) -> bool:
        return any(reader.wants(self.live[seq]) for reader in self.readers.values())

    def needed(self, seq: int) -> bool:
        return any(
            reader.wants(self.live[seq]) and self.needs(name, seq) for name, reader in self.readers.items()
        )

    def needs(self, name: str, seq: int) -> bool:
        reader = self.readers[name]
        if not self.interest and seq <= reader.began:
            return True
        if reader.ack_all:
            return seq > self.rig.consumer(name).state.floor_stream_seq
        return seq > reader.position or seq in reader.pending

    def gone(self, seqs: list[int]) -> None:
        for seq in seqs:
            del self.live[seq]
            for reader in self.readers.values():
                reader.forget(seq)

    def settle(self, seqs: list[int]) -> None:
        self.gone([seq for seq in seqs if seq in self.live and not self.needed(seq)])

    def moved(self, name: str) -> None:
        """The position may pass over what nobody will get; it never passes over what somebody would."""
        reader, at = self.readers[name], self.rig.consumer(name).cursor.position
        skipped = [seq for seq in self.live if reader.position < seq <= at and reader.wants(self.live[seq])]
        assert not skipped, f"{name} passes over {skipped}"
        reader.position = max(reader.position, at)

    # --- the stream ---

    @rule(subject=st.sampled_from(SUBJECTS), times=st.integers(1, 4))
    def publish(self, subject: bytes, times: int) -> None:
        for _ in range(times):
            self.rig.publish(subject)
            self.last_seq += 1
            if self.interest and not any(reader.wants(subject) for reader in self.readers.values()):
                continue
            self.live[self.last_seq] = subject
            same = [seq for seq in sorted(self.live) if self.live[seq] == subject]
            if self.per_subject > 0:
                self.gone(same[: max(0, len(same) - self.per_subject)])

    @precondition(lambda self: self.live)
    @rule(choice=CHOICE)
    def delete(self, choice: int) -> None:
        seq = sorted(self.live)[choice % len(self.live)]
        assert self.rig.stream.delete_message(seq, False)
        self.rig.turns()
        self.gone([seq])

    @rule(subject=st.sampled_from([b"", b"q.a", b"q.*"]), keep=st.integers(0, 2), below=CHOICE)
    def purge(self, subject: bytes, keep: int, below: int) -> None:
        below = below % (self.last_seq + 3) if not keep else 0
        chosen = Filters([subject] if subject else [])
        hit = [seq for seq in sorted(self.live) if chosen.accepts(self.live[seq]) and not 0 < below <= seq]
        hit = hit[: max(0, len(hit) - keep)]
        told: list[int] = []
        self.rig.stream.start_purge(subject, below, keep, told.append)
        self.rig.turns()
        assert told == [len(hit)]
        self.gone(hit)
        self.last_seq = self.rig.stream.state()["last_seq"]
        for name in self.readers:
            self.moved(name)

    # --- consumers ---

    @rule(name=st.sampled_from(NAMES), filters=st.sampled_from(FILTERS), ack_all=st.booleans())
    def add(self, name: str, filters: list[str], ack_all: bool) -> None:
        if name in self.readers:
            return
        reader = Reader(filters if self.interest else PARTS[name], ack_all and self.interest)
        self.rig.add(name, reader.filters, reader.ack_all)
        self.readers[name] = reader
        self.moved(name)

    @precondition(lambda self: self.interest and self.readers)
    @rule(choice=CHOICE, filters=st.sampled_from(FILTERS))
    def change(self, choice: int, filters: list[str]) -> None:
        name = sorted(self.readers)[choice % len(self.readers)]
        reader = self.readers[name]
        before, reader.filters = reader.filters, filters
        floor = self.rig.consumer(name).state.floor_stream_seq
        self.rig.change(name, filters, reader.ack_all)
        if before != filters:
            self.settle([seq for seq in sorted(self.live) if seq > floor])
        self.moved(name)

    @precondition(lambda self: self.readers)
    @rule(choice=CHOICE)
    def drop(self, choice: int) -> None:
        name = sorted(self.readers)[choice % len(self.readers)]
        self.rig.drop(name)
        del self.readers[name]
        if self.interest:
            self.settle(sorted(self.live))

    @precondition(lambda self: self.readers)
    @rule(choice=CHOICE, batch=st.integers(1, 6))
    def pull(self, choice: int, batch: int) -> None:
        name = sorted(self.readers)[choice % len(self.readers)]
        reader = self.readers[name]
        fresh = [seq for seq in sorted(self.live) if seq > reader.position and reader.wants(self.live[seq])]
        again = reader.queue[:batch]
        expected = [*again, *fresh[: batch - len(again)]]
        got = self.rig.pull(name, batch)
        assert [one.seq for one in got] == expected
        reader.queue = reader.queue[len(again) :]
        for one in got:
            assert one.deliveries == reader.pending.get(one.seq, (0, b""))[0] + 1
            reader.pending[one.seq] = (one.deliveries, one.ack)
            reader.position = max(reader.position, one.seq)
        self.moved(name)

    @precondition(lambda self: any(reader.pending for reader in self.readers.values()))
    @rule(choice=CHOICE, body=st.sampled_from([b"", b"+ACK", b"+TERM", b"-NAK", b"+WPI"]))
    def say(self, choice: int, body: bytes) -> None:
        name = sorted(name for name, reader in self.readers.items() if reader.pending)[0]
        reader = self.readers[name]
        seq = sorted(reader.pending)[choice % len(reader.pending)]
        self.rig.say(reader.pending[seq][1], body)
        if body == b"+WPI":
            return
        if body == b"-NAK":
            reader.queue += [seq] if seq not in reader.queue else []
            return
        done = [other for other in sorted(reader.pending) if other == seq or (reader.ack_all and other < seq)]
        for other in done:
            reader.forget(other)
        if reader.ack_all:
            done = [other for other in sorted(self.live) if other <= seq and reader.wants(self.live[other])]
        self.settle(done)

    @precondition(lambda self: self.readers)
    @rule(choice=CHOICE, seq=CHOICE)
    def reset(self, choice: int, seq: int) -> None:
        name = sorted(self.readers)[choice % len(self.readers)]
        reader = self.readers[name]
        seq = 1 + seq % (self.last_seq + 1)
        self.rig.reset(name, seq)
        reader.position = reader.began = seq - 1
        reader.pending.clear()
        reader.queue.clear()
        if self.interest:
            self.settle([other for other in sorted(self.live) if other < seq and self.wanted(other)])

    @rule()
    def wait(self) -> None:
        """Everything pending comes again."""
        self.rig.advance(ACK_WAIT_S + 1)
        for reader in self.readers.values():
            reader.queue += [seq for seq in sorted(reader.pending) if seq not in reader.queue]

    @rule()
    def reopen(self) -> None:
        self.rig.reopen()
        for name, reader in self.readers.items():
            reader.position, reader.queue = self.rig.consumer(name).state.delivered_stream_seq, []
        self.settle([seq for seq in sorted(self.live) if self.wanted(seq)])
        self.wait()

    # --- always ---

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "rig"):
            return
        assert self.rig.live() == sorted(self.live)
        assert self.rig.stream.state()["last_seq"] == self.last_seq
        for name, reader in self.readers.items():
            consumer = self.rig.consumer(name)
            assert consumer.state.check() == []
            assert [row[0] for row in consumer.state.pending()] == sorted(reader.pending)
            fresh = [seq for seq in self.live if seq > reader.position and reader.wants(self.live[seq])]
            assert consumer.num_pending == len(fresh)


RetentionMachine.TestCase.settings = settings(
    deadline=None, max_examples=int(os.environ.get("MILLPOND_MODEL_EXAMPLES", "40")), stateful_step_count=40
)
TestRetention = RetentionMachine.TestCase
