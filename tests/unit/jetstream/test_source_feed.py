"""Feeds: what they take, what they pass over, when they ask for a new consumer. The test is the origin."""

from __future__ import annotations

import pytest
from millpond.base.clock import ManualClock
from millpond.broker.sink import CallableSink
from millpond.jetstream.mirror_feed import MirrorFeed
from millpond.jetstream.source_feed import Feed, SourceFeed
from stream_rig import Rig, block

from millpond.subjects.transform import Transform

NS = 1_700_000_000_000_000_000


class Link:
    """A stream that listens to the test on subject `in`."""

    def __init__(
        self, kind: type[Feed] = SourceFeed, transforms: list[Transform] | None = None, **config: object
    ) -> None:
        self.rig = Rig(**{"subjects": [], "duplicate_window": 0, **config})
        self.broken = 0
        self.told: list[tuple[bytes, bytes]] = []
        self.rig.router.subscribe(b"fc.>", CallableSink(self._tell))
        more = ("O > >",) if kind is SourceFeed else ()
        self.feed = kind(self.rig.stream, self.rig.clock, transforms or [], self._break, *more)
        self.feed.listen(b"in", b"C", 0)

    def _tell(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.told.append((subject, hdr))

    def _break(self) -> None:
        self.broken += 1

    def send(self, stream_seq: int, consumer_seq: int, body: bytes = b"", pending: int = 0, **headers: str) -> None:
        reply = f"$JS.ACK.O.C.1.{stream_seq}.{consumer_seq}.{NS + stream_seq}.{pending}".encode()
        hdr = block({key.replace("_", "-"): text for key, text in headers.items()})
        self.rig.router.publish(b"in", body, reply, hdr)

    def control(self, line: str, reply: bytes = b"", **headers: str) -> None:
        text = block({"X": "", **{key.replace("_", "-"): text for key, text in headers.items()}})
        self.rig.router.publish(b"in", b"", reply, text.replace(b"NATS/1.0", f"NATS/1.0 100 {line}".encode(), 1))

    def rows(self) -> list[tuple]:
        return [(row[0], row[1], row[2], row[3]) for row in self.rig.store.rows]


def test_a_source_appends_with_its_header() -> None:
    link = Link()
    link.feed.identity = "ident"
    link.send(5, 1, b"x")
    stripped = {"Nats_Expected_Stream": "O", "Nats_Batch_Id": "b", "Nats_Stream_Source": "A 1 > > a"}
    link.send(9, 2, b"y", Kept="1", **stripped, Nats_Kept="2")
    assert link.rows() == [
        (1, b"in", b"NATS/1.0\r\nNats-Stream-Source: O 5 > > in ident\r\n\r\n", b"x"),
        (2, b"in", b"NATS/1.0\r\nKept: 1\r\nNats-Kept: 2\r\nNats-Stream-Source: O 9 > > in ident\r\n\r\n", b"y"),
    ]
    assert (link.feed.stream_seq, link.feed.consumer_seq, link.feed.stored_seq, link.feed.stored_at) == (9, 2, 9, 2)


def test_a_mirror_keeps_sequences_and_times() -> None:
    link = Link(MirrorFeed)
    link.send(5, 1, b"x", pending=3)
    link.send(9, 2, b"y", Nats_Expected_Stream="O")
    assert link.rows() == [(5, b"in", b"", b"x"), (9, b"in", b"", b"y")]
    assert [link.rig.store.load_message(seq)["ts_ns"] for seq in (5, 9)] == [NS + 5, NS + 9]
    assert link.rig.stream.state()["first_seq"] == 5
    assert link.feed.lag == 0


def test_the_first_transform_that_fits() -> None:
    link = Link(MirrorFeed, [Transform("other", "x"), Transform("*", "t.$1")])
    link.send(1, 1)
    assert link.rows() == [(1, b"t.in", b"", b"")]


@pytest.mark.parametrize("kind", [SourceFeed, MirrorFeed])
def test_what_it_has_comes_no_second_time(kind: type[Feed]) -> None:
    link = Link(kind)
    link.feed.listen(b"in", b"C", 7)
    link.send(6, 1)
    link.send(7, 2)
    link.send(8, 3)
    assert [row[0] for row in link.rows()] == ([1] if kind is SourceFeed else [8])
    assert (link.broken, link.feed.consumer_seq) == (0, 3)


@pytest.mark.parametrize("kind", [SourceFeed, MirrorFeed])
def test_one_missing_breaks_it(kind: type[Feed]) -> None:
    link = Link(kind)
    link.send(1, 1)
    link.send(3, 3)
    link.send(2, 2)
    assert (link.broken, link.feed.consumer, link.feed.stream_seq) == (1, b"", 1)
    assert len(link.rows()) == 1


def test_of_another_consumer_or_sent_again() -> None:
    link = Link()
    for tail in ("D.1.1.1.1.0", "C.2.1.1.1.0", "C.1", "C.a.b.c.d.e", "C.1.1.1.1.0.more", "C"):
        link.rig.router.publish(b"in", b"x", f"$JS.ACK.O.{tail}".encode())
    for reply in (b"", b"x", b"_INBOX.O.C.1.1.1.1.0"):
        link.rig.router.publish(b"in", b"x", reply)
    assert (link.rows(), link.broken) == ([], 0)
    link.rig.router.publish(b"in", b"x", b"$JS.ACK.domain.hash.O.C.1.1.1.1.0")
    link.rig.router.publish(b"in", b"x", b"$JS.ACK.domain.hash.O.C.1.2.2.1.0.token")
    assert len(link.rows()) == 2


def test_flow_control_is_answered_when_it_is_on_disk() -> None:
    link = Link()
    link.send(4, 1)
    link.control("FlowControl Request", b"fc.1")
    link.control("Idle Heartbeat", Nats_Last_Consumer="1", Nats_Consumer_Stalled="fc.2")
    assert link.told == []
    link.rig.commit_all()
    assert link.told == [
        (b"fc.1", b"NATS/1.0\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 4\r\n\r\n"), (b"fc.2", b""),
    ]


@pytest.mark.parametrize(("last", "broken"), [("1", 0), ("2", 1), ("0", 0), ("x", 0), ("", 0)])
def test_heartbeats_say_what_was_sent(last: str, broken: int) -> None:
    link = Link()
    link.send(4, 1)
    link.control("Idle Heartbeat", Nats_Last_Consumer=last)
    assert link.broken == broken


def test_a_full_target_is_tried_again_from_there() -> None:
    link = Link(discard="new", max_msgs=1)
    link.send(1, 1)
    link.send(2, 2)
    assert (link.broken, link.feed.stream_seq, link.feed.refusal) == (1, 1, "maximum messages exceeded")
    link.rig.stream.purge(b"", 0, 0)
    link.feed.listen(b"in", b"C", 1)
    link.send(2, 1)
    assert link.feed.stream_seq == 2


def test_duplicates_are_passed_over() -> None:
    link = Link(duplicate_window=10**12)
    for number in (1, 2, 3):
        link.send(number, number, Nats_Msg_Id="same" if number < 3 else "other")
    assert (len(link.rows()), link.broken, link.feed.stream_seq, link.feed.stored_seq) == (2, 0, 3, 3)


def test_what_waits_for_a_cold_read_keeps_its_order() -> None:
    link = Link(allow_msg_counter=True)
    link.send(1, 1, b'{"val":"5"}', Nats_Incr="+5")
    link.rig.store.cold = {1}
    link.send(2, 2, b'{"val":"7"}', Nats_Incr="+2")
    link.control("FlowControl Request", b"fc.1")
    link.send(3, 3, b'{"val":"4"}', Nats_Incr="-3")
    assert len(link.rows()) == 1
    assert link.feed.held_bytes() > 0
    link.rig.store.warm_up()
    link.rig.commit_all()
    assert [row[3] for row in link.rows()] == [b'{"val":"5"}', b'{"val":"7"}', b'{"val":"4"}']
    assert b'Nats-Counter-Sources: {"O":{"in":"4"}}' in link.rows()[-1][2]
    assert b"Last-Stream: 2\r\n" in link.told[0][1]


def test_a_counter_that_cannot_be_read_breaks_it() -> None:
    link = Link(allow_msg_counter=True)
    link.send(1, 1, b"no number", Nats_Incr="+5")
    assert (link.broken, link.feed.refusal) == (1, "message counter is broken")


def test_a_mirror_that_went_on_by_itself_begins_anew() -> None:
    link = Link(MirrorFeed)
    link.send(1, 1)
    link.rig.stream.purge(b"", 0, 0)
    link.rig.stream.set_first_seq(10)
    link.send(2, 2)
    assert link.broken == 1


def test_a_mirror_that_has_caught_up_answers_gets_of_its_origin() -> None:
    link = Link(MirrorFeed)
    link.feed.share_gets("O")
    assert not link.rig.router.py_has_interest(b"$JS.API.DIRECT.GET.O")
    link.send(1, 1, pending=10)
    assert not link.rig.router.py_has_interest(b"$JS.API.DIRECT.GET.O")
    link.send(2, 2, pending=9)
    assert link.rig.router.py_has_interest(b"$JS.API.DIRECT.GET.O.in")
    link.feed.share_gets("")
    assert not link.rig.router.py_has_interest(b"$JS.API.DIRECT.GET.O")


def test_it_is_heard_of() -> None:
    link = Link()
    clock = link.rig.clock
    assert isinstance(clock, ManualClock)
    clock.advance(5)
    link.control("Idle Heartbeat")
    assert link.feed.heard_ns == clock.mono_ns
