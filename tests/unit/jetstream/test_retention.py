"""Work queues and interest beside their rules in plain words: what is in the stream after any steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.broker.sink import CallableSink
from millpond.store.api import Filters
from millpond.store.consumer_state import ConsumerState
from queue_rig import SECOND, WINDOW, Queue

from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.stream_config import StreamConfig


@dataclass
class Follower:
    filters: list[str]
    ack_all: bool
    position: int = 0
    pending: set[int] = field(default_factory=set)
    acks: dict[int, bytes] = field(default_factory=dict)

    def wants(self, subject: bytes) -> bool:
        return Filters([text.encode() for text in self.filters]).accepts(subject)

    def needs(self, seq: int) -> bool:
        return seq > self.position or seq in self.pending


@dataclass
class Rules:
    queue: Queue
    interest: bool
    live: dict[int, bytes] = field(default_factory=dict)
    last_seq: int = 0
    followers: dict[str, Follower] = field(default_factory=dict)

    def needed(self, seq: int) -> bool:
        return any(one.wants(self.live[seq]) and one.needs(seq) for one in self.followers.values())

    def publish(self, subject: bytes) -> None:
        self.queue.publish(subject)
        self.last_seq += 1
        if not self.interest or any(one.wants(subject) for one in self.followers.values()):
            self.live[self.last_seq] = subject

    def add(self, name: str, filters: list[str], ack_all: bool) -> None:
        if name not in self.followers:
            self.queue.add(name, *filters, ack_policy="all" if ack_all else "explicit")
            self.followers[name] = Follower(filters, ack_all)

    def delete(self, name: str) -> None:
        if self.followers.pop(name, None) is None:
            return
        self.queue.delete(name)
        if self.interest:
            self.live = {seq: subject for seq, subject in self.live.items() if self.needed(seq)}

    def pull(self, name: str, most: int) -> None:
        one = self.followers.get(name)
        if one is None:
            return
        got = {int(reply.split(b".")[5]): reply for reply in self.queue.pull(name, most)}
        expected = [seq for seq in sorted(self.live) if seq > one.position and one.wants(self.live[seq])][:most]
        assert sorted(got) == expected
        one.acks.update(got)
        one.pending |= set(got)
        one.position = max([one.position, *got])

    def settle(self, name: str, n: int, kind: bytes) -> None:
        one = self.followers.get(name)
        if one is None or not one.pending:
            return
        seq = sorted(one.pending)[n % len(one.pending)]
        self.queue.ack(one.acks[seq], kind)
        done = {other for other in one.pending if other <= seq} if one.ack_all else {seq}
        one.pending -= done
        for other in done:
            if other in self.live and not self.needed(other):
                del self.live[other]


SUBJECTS = [b"q.a", b"q.b", b"q.c.d", b"q.none"]
names = st.sampled_from(["A", "B", "C"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(SUBJECTS), st.integers(1, 5)),
        st.tuples(st.just("add"), names, st.sampled_from([[], ["q.a"], ["q.*"], ["q.b", "q.c.>"]]), st.booleans()),
        st.tuples(st.just("delete"), names),
        st.tuples(st.just("pull"), names, st.integers(1, 6)),
        st.tuples(st.just("settle"), names, st.integers(0, 9), st.sampled_from([b"+ACK", b"", b"+TERM", b"+OK"])),
    ),
    max_size=40,
)
PARTS = {"A": ["q.a"], "B": ["q.b"], "C": ["q.c.>"]}


@pytest.mark.parametrize("interest", [True, False])
@given(steps)
@settings(deadline=None, max_examples=60)
def test_agrees_with_the_rules(interest: bool, steps: list[tuple]) -> None:
    rules = Rules(Queue("interest" if interest else "workqueue"), interest)
    for step in steps:
        match step:
            case ("publish", subject, times):
                for _ in range(times):
                    rules.publish(subject)
            case ("add", name, filters, ack_all):
                rules.add(name, filters if interest else PARTS[name], ack_all and interest)
            case ("delete", name):
                rules.delete(name)
            case ("pull", name, most):
                rules.pull(name, most)
            case ("settle", name, n, kind):
                rules.settle(name, n, kind)
        assert rules.queue.live() == sorted(rules.live)
        assert rules.queue.store.state_dict()["last_seq"] == rules.last_seq


def test_a_work_queue_keeps_what_nobody_takes() -> None:
    queue = Queue("workqueue")
    for subject in (b"q.a", b"q.b"):
        queue.publish(subject)
    queue.add("A", "q.a")
    (ack,) = queue.pull("A", 5)
    queue.ack(ack)
    queue.delete("A")
    assert queue.live() == [2]


def test_what_reached_max_deliver_stays_until_it_is_acknowledged() -> None:
    queue = Queue("workqueue")
    queue.publish(b"q.a")
    consumer = queue.add("A")
    consumer.update(ConsumerConfig(name="A", durable_name="A", ack_policy="explicit", ack_wait=SECOND, max_deliver=1))
    (ack,) = queue.pull("A", 1)
    queue.clock.advance(2)
    queue.turn.timers.run_due(queue.clock.mono_ns)
    queue.turns()
    assert queue.pull("A", 1) == []
    assert queue.live() == [1]
    queue.ack(ack)
    assert queue.live() == []


def test_delivering_is_enough_where_nothing_is_acknowledged() -> None:
    queue = Queue("interest")
    queue.router.subscribe(b"push", CallableSink(lambda *message: queue.taken.append(message[:2])))
    queue.add("P", ack_policy="none", deliver_subject="push")
    queue.add("S", "q.slow")
    for subject in (b"q.a", b"q.slow", b"q.b"):
        queue.publish(subject)
    assert [subject for subject, _ in queue.taken] == [b"q.a", b"q.slow", b"q.b"]
    assert queue.live() == [2]


def test_recovery_removes_what_was_settled_and_nothing_else() -> None:
    queue = Queue("limits")
    for _ in range(5):
        queue.publish(b"q.a")
    queue.publish(b"q.unwanted")
    state = ConsumerState()
    consumer = queue.add("A", "q.a", state=state)
    acks = queue.pull("A", 3)
    queue.ack(acks[0])
    queue.ack(acks[2])
    assert len(queue.live()) == 6
    queue.stream.update(StreamConfig(name="Q", subjects=["q.>"], retention="interest", **WINDOW))
    assert queue.live() == [2, 4, 5, 6], "what no consumer ever wanted stays"
    assert consumer.info()["num_ack_pending"] == 1


def test_a_long_review_is_done_in_pieces() -> None:
    queue = Queue("interest")
    queue.add("A", ack_policy="all")
    for _ in range(5000):
        queue.router.publish(b"q.a", b"x")
    queue.turns()
    acks = queue.pull("A", 5000)
    assert len(acks) == 5000
    queue.router.publish(acks[-1], b"")
    assert 0 < queue.store.state_dict()["messages"] < 5000
    queue.turns()
    assert queue.live() == []
    queue.publish(b"q.a")
    assert queue.live() == [5001]


def test_a_sequence_without_a_message_counts() -> None:
    queue = Queue("interest")
    replies: list[bytes] = []
    queue.router.subscribe(b"re", CallableSink(lambda subject, reply, hdr, body, source: replies.append(body)))
    for number in (1, 2):
        queue.router.publish(b"q.a", b"x", b"re", b"NATS/1.0\r\nNats-Msg-Id: %d\r\n\r\n" % number)
    queue.router.publish(b"q.a", b"x", b"re", b"NATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n")
    queue.turns()
    assert replies[:2] == [b'{"stream":"Q","seq":1}', b'{"stream":"Q","seq":2}']
    assert replies[2:] == [b'{"stream":"Q","seq":1,"duplicate": true}']
    state = queue.store.state_dict()
    assert (state["messages"], state["first_seq"], state["last_seq"]) == (0, 3, 2)


@pytest.mark.parametrize(("retention", "left"), [("interest", [4, 5]), ("workqueue", [1, 2, 3, 4, 5])])
def test_a_reset_forward_settles_what_lies_below_but_in_a_work_queue(retention: str, left: list[int]) -> None:
    queue = Queue(retention)
    consumer = queue.add("A")
    for _ in range(5):
        queue.publish(b"q.a")
    queue.pull("A", 2)
    consumer.reset(4)
    queue.turns()
    assert queue.live() == left


def test_a_reset_beyond_the_end_does_not_count_what_comes_below() -> None:
    queue = Queue("limits")
    consumer = queue.add("A")
    queue.publish(b"q.a")
    consumer.reset(4)
    for expected in (0, 0, 1):
        queue.publish(b"q.a")
        assert consumer.num_pending == expected
