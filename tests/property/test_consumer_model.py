"""A consumer beside the obvious one: filters, acks, waits, limits, deletions under it, restarts."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from consumer_rig import Got, Rig
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from millpond.store.api import Filters

WAIT_S = 2.0
SUBJECTS = [b"s.a", b"s.b", b"s.c.d"]
FILTERS: list[list[str]] = [[], ["s.a"], ["s.*"], ["s.a", "s.c.>"], ["s.z"]]
CHOICE = st.integers(0, 1000)


class Model:
    """Dictionaries and lists; nothing is clever here."""

    def __init__(self, filters: list[str], ack_all: bool, max_deliver: int, max_ack_pending: int) -> None:
        self.live: dict[int, bytes] = {}
        self.last_seq = 0
        self.position = 0
        self.consumer_seq = 0
        self.now = 0.0
        self.pending: dict[int, list[float]] = {}
        """stream sequence -> deliveries, due, first consumer sequence"""
        self.queue: list[int] = []
        self.exhausted: set[int] = set()
        self.ack_all, self.max_deliver, self.max_ack_pending = ack_all, max_deliver, max_ack_pending
        self.set_filters(filters)

    def set_filters(self, filters: list[str]) -> None:
        self.filters = Filters([subject.encode() for subject in filters])

    def to_come(self) -> list[int]:
        return [seq for seq in sorted(self.live) if seq > self.position and self.filters.accepts(self.live[seq])]

    def gone(self, seqs: list[int]) -> None:
        """These have left the stream."""
        for seq in seqs:
            del self.live[seq]
            self.pending.pop(seq, None)
            self.exhausted.discard(seq)
        self.queue = [seq for seq in self.queue if seq in self.pending]

    def pull(self, batch: int) -> list[Got]:
        got: list[Got] = []
        while len(got) < batch:
            if self.queue:
                seq = self.queue.pop(0)
                row = self.pending[seq]
                if self.max_deliver and row[0] >= self.max_deliver:
                    self.exhaust(seq)
                    continue
                row[0] += 1
                row[1] = self.now + WAIT_S
            elif self.max_ack_pending and len(self.pending) >= self.max_ack_pending:
                break
            else:
                following = self.to_come()
                if not following:
                    break
                seq = self.position = following[0]
                self.pending[seq] = row = [1, self.now + WAIT_S, self.consumer_seq + 1]
            self.consumer_seq += 1
            got.append(Got(seq, int(row[0]), self.consumer_seq, len(self.to_come())))
        return got

    def exhaust(self, seq: int) -> None:
        del self.pending[seq]
        self.exhausted.add(seq)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = sorted(seq for seq, row in self.pending.items() if row[1] <= self.now and seq not in self.queue)
        for seq in due:
            if self.max_deliver and self.pending[seq][0] >= self.max_deliver:
                self.exhaust(seq)
            else:
                self.queue.append(seq)

    def restart(self) -> None:
        """What was queued is due, or will be when it was due before: the clock goes on far enough for both."""
        self.queue.clear()
        self.advance(WAIT_S)

    def ack(self, seq: int) -> None:
        for other in [other for other in self.pending if other == seq or (self.ack_all and other <= seq)]:
            del self.pending[other]
        self.exhausted -= {other for other in self.exhausted if other == seq or (self.ack_all and other <= seq)}
        self.queue = [other for other in self.queue if other in self.pending]

    def nak(self, seq: int) -> None:
        if seq not in self.queue:
            self.queue.append(seq)

    def put_off(self, seq: int, seconds: float) -> None:
        self.queue = [other for other in self.queue if other != seq]
        self.pending[seq][1] = self.now + seconds

    def in_progress(self, seq: int) -> None:
        if seq not in self.queue:
            self.pending[seq][1] = self.now + WAIT_S


class ConsumerMachine(RuleBasedStateMachine):
    """One consumer's life; after every step the counts and the pending messages agree."""

    @initialize(
        filters=st.sampled_from(FILTERS), ack_all=st.booleans(), max_deliver=st.sampled_from([0, 1, 3]),
        max_ack_pending=st.sampled_from([-1, 2, 5]), per_subject=st.sampled_from([-1, 1, 2]),
        messages_max=st.sampled_from([-1, 4]),
    )  # fmt: skip
    def begin(
        self, *, filters: list[str], ack_all: bool, max_deliver: int, max_ack_pending: int, per_subject: int,
        messages_max: int,
    ) -> None:  # fmt: skip
        self.folder = Path(tempfile.mkdtemp(prefix="consumer-"))
        self.per_subject, self.messages_max = per_subject, messages_max
        self.fixed = {
            "ack_policy": "all" if ack_all else "explicit", "ack_wait": int(WAIT_S * 1e9), "max_deliver": max_deliver,
            "max_ack_pending": max_ack_pending,
        }  # fmt: skip
        self.rig = Rig(
            self.folder, {"max_msgs_per_subject": per_subject, "max_msgs": messages_max},
            {**self.fixed, "filter_subjects": filters},
        )  # fmt: skip
        self.model = Model(filters, ack_all, max_deliver, max(max_ack_pending, 0))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            assert self.rig.store.check() == []
            self.rig.close()
            shutil.rmtree(self.folder)

    # --- the stream ---

    @rule(subject=st.sampled_from(SUBJECTS))
    def publish(self, subject: bytes) -> None:
        self.rig.publish(subject)
        model = self.model
        model.last_seq += 1
        model.live[model.last_seq] = subject
        same = [seq for seq in sorted(model.live) if model.live[seq] == subject]
        if self.per_subject > 0:
            model.gone(same[: max(0, len(same) - self.per_subject)])
        if self.messages_max > 0:
            model.gone(sorted(model.live)[: max(0, len(model.live) - self.messages_max)])

    @precondition(lambda self: self.model.live)
    @rule(choice=CHOICE)
    def delete(self, choice: int) -> None:
        seq = sorted(self.model.live)[choice % len(self.model.live)]
        assert self.rig.stream.delete_message(seq, False)
        self.rig.settle()
        self.model.gone([seq])

    @rule(subject=st.sampled_from([b"", b"s.a", b"s.*"]), keep=st.integers(0, 2))
    def purge(self, subject: bytes, keep: int) -> None:
        chosen = Filters([subject] if subject else [])
        hit = [seq for seq in sorted(self.model.live) if chosen.accepts(self.model.live[seq])]
        hit = hit[: max(0, len(hit) - keep)]
        assert self.rig.stream.purge(subject, 0, keep) == len(hit)
        self.rig.settle()
        self.model.gone(hit)

    # --- the client ---

    @rule(batch=st.integers(1, 6))
    def pull(self, batch: int) -> None:
        assert self.rig.pull(batch) == self.model.pull(batch)

    def _say(self, choice: int, body: bytes) -> int:
        seq = sorted(self.model.pending)[choice % len(self.model.pending)]
        self.rig.say(seq, int(self.model.pending[seq][2]), body)
        return seq

    @precondition(lambda self: self.model.pending)
    @rule(choice=CHOICE, body=st.sampled_from([b"", b"+ACK", b"+TERM"]))
    def ack(self, choice: int, body: bytes) -> None:
        self.model.ack(self._say(choice, body))

    @precondition(lambda self: self.model.exhausted and not self.model.ack_all)
    @rule(choice=CHOICE)
    def ack_exhausted(self, choice: int) -> None:
        seq = sorted(self.model.exhausted)[choice % len(self.model.exhausted)]
        self.rig.say(seq, 1, b"+ACK")
        self.model.ack(seq)

    @precondition(lambda self: self.model.pending)
    @rule(choice=CHOICE)
    def nak(self, choice: int) -> None:
        self.model.nak(self._say(choice, b"-NAK"))

    @precondition(lambda self: self.model.pending)
    @rule(choice=CHOICE, seconds=st.sampled_from([1, 3, 7]))
    def nak_later(self, choice: int, seconds: int) -> None:
        self.model.put_off(self._say(choice, b"-NAK %ds" % seconds), seconds)

    @precondition(lambda self: self.model.pending)
    @rule(choice=CHOICE)
    def progress(self, choice: int) -> None:
        self.model.in_progress(self._say(choice, b"+WPI"))

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5]))
    def advance(self, seconds: float) -> None:
        self.rig.advance(seconds)
        self.model.advance(seconds)

    # --- the operator ---

    @rule(filters=st.sampled_from(FILTERS))
    def change_filters(self, filters: list[str]) -> None:
        self.rig.update(**self.fixed, filter_subjects=filters)
        self.model.position = self.rig.consumer.cursor.position
        self.model.set_filters(filters)

    @rule()
    def restart(self) -> None:
        self.rig.restart()
        self.rig.advance(WAIT_S)
        self.model.restart()
        self.model.position = self.rig.consumer.state.delivered_stream_seq

    # --- always ---

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "rig"):
            return
        consumer, model = self.rig.consumer, self.model
        assert consumer.state.check() == []
        assert [(seq, deliveries) for seq, _, _, deliveries in consumer.state.pending()] == [
            (seq, int(model.pending[seq][0])) for seq in sorted(model.pending)
        ]
        assert consumer.state.exhausted() == sorted(model.exhausted)
        assert consumer.num_pending == len(model.to_come())
        assert consumer.state.num_queued == len(model.queue)
        assert consumer.state.delivered_consumer_seq == model.consumer_seq


ConsumerMachine.TestCase.settings = settings(
    deadline=None, max_examples=int(os.environ.get("MILLPOND_MODEL_EXAMPLES", "40")), stateful_step_count=50
)
TestConsumer = pytest.mark.slow(ConsumerMachine.TestCase)
"""Slow: a pull that max_ack_pending holds back is not yet modelled as the rig waits for it (`make model`)."""
