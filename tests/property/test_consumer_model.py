"""A consumer beside the obvious one: requests that wait, filters, acks, limits, deletions under it, restarts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from consumer_rig import Ended, Got, Rig
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from millpond.store.api import Filters

WAIT_S = 2.0
SUBJECTS = [b"s.a", b"s.b", b"s.c.d"]
FILTERS: list[list[str]] = [[], ["s.a"], ["s.*"], ["s.a", "s.c.>"], ["s.z"]]
CHOICE = st.integers(0, 1000)


@dataclass
class Request:
    """A pull request that waits. `expires`: when it ends; 0 = never."""

    number: int
    batch: int
    no_wait: bool
    expires: float
    delivered: int = 0


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
        self.requests = 0
        self.waiting: list[Request] = []
        self.said: list[Got | Ended] = []
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

    def pull(self, batch: int, no_wait: bool, expires: float) -> None:
        self.requests += 1
        ready = len(self.to_come()) + len(self.queue)
        if no_wait and ready == 0 and not expires:
            self.said.append(Ended(self.requests, "404 No Messages"))
        elif no_wait and 0 < ready < sum(request.batch for request in self.waiting):
            self.said.append(Ended(self.requests, "408 Requests Pending"))
        else:
            end = self.now + expires if expires else 0
            self.waiting.append(Request(self.requests, batch, no_wait, end))

    def serve(self) -> None:
        """Everything that can be delivered, each to the first in the row; then those that do not wait end. They do
        wait while max_ack_pending holds messages back."""
        while self.waiting and (seq := self.next_message()):
            request = self.waiting.pop(0)
            self.consumer_seq += 1
            request.delivered += 1
            request.batch -= 1
            deliveries = int(self.pending[seq][0])
            self.said.append(Got(request.number, seq, deliveries, self.consumer_seq, len(self.to_come())))
            if request.batch > 0:
                self.waiting.append(request)
        if not self.held():
            self.end("404 No Messages", self.is_answered)

    @staticmethod
    def is_answered(request: Request) -> bool:
        """Does it end with the stream?"""
        return request.no_wait and (request.delivered > 0 or not request.expires)

    def next_message(self) -> int:
        """The message that is delivered now; 0 = none can be."""
        while self.queue:
            seq = self.queue.pop(0)
            row = self.pending[seq]
            if not self.max_deliver or row[0] < self.max_deliver:
                row[0] += 1
                row[1] = self.now + WAIT_S
                return seq
            self.exhaust(seq)
        following = self.to_come()
        if self.held() or not following:
            return 0
        self.position = following[0]
        self.pending[self.position] = [1, self.now + WAIT_S, self.consumer_seq + 1]
        return self.position

    def held(self) -> bool:
        return 0 < self.max_ack_pending <= len(self.pending)

    def end(self, status: str, which: Callable[[Request], object]) -> None:
        self.said += [Ended(request.number, status) for request in self.waiting if which(request)]
        self.waiting = [request for request in self.waiting if not which(request)]

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
        over = [request for request in self.waiting if request.expires and request.expires <= self.now]
        if over:                                       # then those that do not wait end, too, though they may be held
            self.said += [
                Ended(request.number, "408 Request Timeout" if request in over else "404 No Messages")
                for request in self.waiting if request in over or self.is_answered(request)
            ]  # fmt: skip
            self.waiting = [each for each in self.waiting if each not in over and not self.is_answered(each)]

    def restart(self) -> float:
        """Nobody waits any more. What was queued is due at once, or when it was due before: returns how long until
        both have come, which the clock goes on."""
        self.waiting.clear()
        seconds = max([WAIT_S, *(self.pending[seq][1] - self.now for seq in self.queue)])
        self.queue.clear()
        self.advance(seconds)
        return seconds

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

    @rule(batch=st.integers(1, 6), no_wait=st.booleans(), expires=st.sampled_from([0, 1, 3]))
    def pull(self, batch: int, no_wait: bool, expires: int) -> None:
        self.rig.pull(batch=batch, no_wait=no_wait, expires=expires * 10**9)
        self.model.pull(batch, no_wait, expires)

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
        self.rig.advance(self.model.restart())
        self.model.position = self.rig.consumer.state.delivered_stream_seq

    # --- always ---

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "rig"):
            return
        consumer, model = self.rig.consumer, self.model
        model.serve()
        assert self.rig.taken() == model.said
        model.said.clear()
        assert consumer.info()["num_waiting"] == len(model.waiting)
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
TestConsumer = ConsumerMachine.TestCase


# --- found by the model; each is one life, told out ---


def life(folder: Path, **config: object) -> Rig:
    """Two messages, on s.b and s.a."""
    rig = Rig(folder, {}, {"ack_policy": "explicit", "ack_wait": int(WAIT_S * 1e9), **config})
    rig.publish(b"s.b")
    rig.publish(b"s.a")
    return rig


def test_a_purge_leaves_pending_what_is_still_there(tmp_path):
    rig = life(tmp_path)
    rig.pull(batch=2)
    rig.update(ack_policy="explicit", ack_wait=int(WAIT_S * 1e9), filter_subjects=["s.a"])
    assert rig.stream.purge(b"s.a", 0, 0) == 1
    rig.settle()
    assert [row[0] for row in rig.consumer.state.pending()] == [1]
    rig.close()


def test_a_purge_leaves_exhausted_what_is_still_there(tmp_path):
    rig = life(tmp_path, max_deliver=1)
    rig.pull(batch=2)
    rig.advance(WAIT_S)
    assert rig.consumer.state.exhausted() == [1, 2]
    rig.update(ack_policy="explicit", ack_wait=int(WAIT_S * 1e9), max_deliver=1, filter_subjects=["s.a"])
    rig.stream.purge(b"s.a", 0, 0)
    rig.settle()
    assert rig.consumer.state.exhausted() == [1]
    rig.close()


def test_the_end_of_one_request_ends_another_that_is_held(tmp_path):
    """As on nats-server, where any deadline of any request does."""
    rig = life(tmp_path, max_deliver=1, max_ack_pending=1)
    rig.pull(batch=2, no_wait=True)
    rig.pull(batch=1, expires=int(WAIT_S * 1e9) // 2)
    rig.taken()
    rig.advance(WAIT_S / 4)
    assert rig.taken() == []
    rig.advance(WAIT_S / 4)
    assert rig.taken() == [Ended(1, "404 No Messages"), Ended(2, "408 Request Timeout")]
    rig.close()
