"""What a stream follows: requests, refusals, silence, and where sources go on. The test is the origin's API."""

from __future__ import annotations

import json
from typing import Any

from millpond.broker.sink import CallableSink
from stream_rig import Rig, block

from millpond.base import limits
from millpond.jetstream.source_names import Position
from millpond.jetstream.source_puller import Site
from millpond.jetstream.source_set import SourceSet
from millpond.jetstream.stream_config import StreamSource, SubjectTransform

HEARTBEAT = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n\r\n"


class Followed:
    """One stream that follows streams of the test's making."""

    def __init__(self, rig: Rig | None = None, positions: dict[str, Position] | None = None, **config: Any) -> None:
        self.rig = rig or Rig(**{"subjects": [], "duplicate_window": 0, "storage": "file", **config})
        self.asked: list[tuple[bytes, dict[str, Any], bytes, bytes]] = []
        self.kept: list[dict[str, Position]] = []
        self.sub = self.rig.router.subscribe(b"$JS.API.CONSUMER.>", CallableSink(self._ask))
        site = Site(self.rig.router, self.rig.turn.timers, self.rig.clock, "$G", "", {"kind": "JetStream"})
        self.set = SourceSet(site, self.rig.stream, positions or {}, lambda stream, kept: self.kept.append(kept))
        self.set.begin()

    def _ask(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.asked.append((subject, json.loads(body) if body else {}, hdr, reply))

    def pass_time(self, seconds: float) -> int:
        """How many requests came in that time."""
        before = len(self.asked)
        for _ in range(int(seconds * 10)):
            self.rig.clock.advance(0.1)
            self.rig.turn.timers.run_due(self.rig.clock.mono_ns)
        return len(self.asked) - before

    def answer(self, delivered: int = 0, identity: str = "", at: int = -1) -> str:
        """The consumer is made; where its messages go."""
        _, body, _, reply = self.asked[at]
        deliver = body["config"]["deliver_subject"]
        info = {"name": "C", "config": {"deliver_subject": deliver}, "delivered": {"stream_seq": delivered}}
        self.rig.router.publish(reply, json.dumps(info).encode(), b"", block({"Nats-Stream-Identity": identity}))
        return deliver

    def refuse(self, err_code: int) -> None:
        error = {"code": 404, "err_code": err_code, "description": "no"}
        self.rig.router.publish(self.asked[-1][3], json.dumps({"error": error}).encode())

    def deliver(self, subject: str, stream_seq: int, consumer_seq: int) -> None:
        reply = f"$JS.ACK.O.C.1.{stream_seq}.{consumer_seq}.{self.rig.clock.wall_ns}.0".encode()
        self.rig.router.publish(subject.encode(), b"x", reply)

    def start(self, at: int = -1) -> tuple[str, int]:
        config = self.asked[at][1]["config"]
        return config["deliver_policy"], config.get("opt_start_seq", 0)


def mirror(**source: Any) -> dict[str, Any]:
    return {"mirror": StreamSource("O", **source)}


def test_a_mirror_asks_for_a_consumer() -> None:
    at = Followed(**mirror(filter_subject="a.*"))
    assert at.pass_time(1) == 1
    subject, body, hdr, _ = at.asked[0]
    name = body["config"]["name"]
    assert subject == f"$JS.API.CONSUMER.CREATE.O.{name}.a.*".encode()
    assert hdr == b"NATS/1.0\r\nNats-Required-Api-Level: 4\r\n\r\n"
    assert at.set.info() == {"mirror": {"name": "O", "lag": 0, "active": -1, "filter_subject": "a.*"}}
    deliver = at.answer(delivered=4)
    at.deliver(deliver, 7, 1)
    assert [row[0] for row in at.rig.store.rows] == [7]
    assert at.set.info()["mirror"]["active"] == 0


def test_older_servers_are_asked_in_simpler_words() -> None:
    at = Followed(sources=[StreamSource("O")])
    at.pass_time(1)
    assert b"Level: 5\r\nNats-Stream-Identity: \r\n" in at.asked[0][2]
    at.refuse(10185)
    assert at.asked[1][2] == b"NATS/1.0\r\nNats-Required-Api-Level: 4\r\n\r\n"
    at.refuse(10025)
    assert at.asked[2][2] == b""
    assert "sourcing" not in at.asked[2][1]["config"]
    at.refuse(10025)
    assert len(at.asked) == 3
    assert at.set.info()["sources"][0]["error"]["err_code"] == 10025


def test_refusals_are_tried_again_later_and_later() -> None:
    at = Followed(**mirror())
    at.pass_time(1)
    for _ in range(3):
        at.refuse(10059)
        assert at.pass_time(9.8) == 0
        assert at.pass_time(35) == 1
    assert at.set.info()["mirror"].get("error") is None, "asked again: not known"
    at.refuse(10059)
    at.set.appeared("O")
    assert at.pass_time(1) == 1, "a stream of that name is there"


def test_no_answer_and_nobody_who_could_answer() -> None:
    at = Followed(**mirror())
    at.pass_time(1)
    assert at.pass_time(29) == 0
    assert at.pass_time(15) == 1
    at.rig.router.unsubscribe(at.sub)
    assert at.pass_time(100) == 0
    at.sub = at.rig.router.subscribe(b"$JS.API.CONSUMER.>", CallableSink(at._ask))
    assert at.pass_time(2.5) == 1, "the way is there again"


def test_silence_is_noticed() -> None:
    at = Followed(**mirror())
    at.pass_time(1)
    deliver = at.answer()
    at.deliver(deliver, 1, 1)
    for _ in range(4):
        assert at.pass_time(8) == 0
        at.rig.router.publish(deliver.encode(), b"", b"", HEARTBEAT)
    assert at.pass_time(25) == 1
    assert at.start() == ("by_start_sequence", 2)


def test_a_missing_message_is_asked_for_with_a_distance() -> None:
    at = Followed(sources=[StreamSource("O")])
    at.pass_time(0.2)
    deliver = at.answer(identity="one")
    at.deliver(deliver, 3, 1)
    at.deliver(deliver, 6, 3)
    assert at.pass_time(1.5) == 0
    assert at.pass_time(1) == 1
    assert at.start() == ("by_start_sequence", 4)
    assert b"Nats-Stream-Identity: one\r\n" in at.asked[-1][2]


def test_a_source_made_anew_begins_again() -> None:
    at = Followed(sources=[StreamSource("O")])
    at.pass_time(1)
    at.deliver(at.answer(identity="one"), 3, 1)
    at.pass_time(25)
    at.refuse(10225)
    assert at.pass_time(3) == 1
    assert at.start() == ("all", 0)
    at.deliver(at.answer(identity="two"), 1, 1)
    assert [row[2].split()[-1] for row in at.rig.store.rows] == [b"one", b"two"]


def filled(*rows: tuple[str, str]) -> Rig:
    """A stream with sourced messages: (subject, header)."""
    rig = Rig(subjects=["s.>", "t.>"], duplicate_window=0, storage="file")
    for subject, header in rows:
        rig.store.append_message(subject.encode(), b"", block({"Nats-Stream-Source": header} if header else {}), 5)
    return rig


SOURCES = [
    StreamSource("A", filter_subject="s.a"), StreamSource("A", filter_subject="s.b"),
    StreamSource("B", subject_transforms=[SubjectTransform("*", "t.$1.{{left(1,1)}}")]),
]


def following(rig: Rig, sources: list[StreamSource], **more: Any) -> Followed:
    rig.stream.update(rig.config(subjects=["s.>", "t.>"], sources=sources, storage="file", **more))
    return Followed(rig)


def starts(at: Followed) -> dict[str, tuple[str, int]]:
    asked = enumerate(body["config"] for _, body, _, _ in at.asked)
    return {config.get("filter_subject", ""): at.start(number) for number, config in asked}


def test_sources_go_on_behind_their_newest_message() -> None:
    rig = filled(("s.a", "A 3 s.a > s.a"), ("s.b", "A 4 s.b > s.b x"), ("s.a", "A 9 s.a > s.a"), ("s.own", ""),
                 ("t.q.q", "B 6 * t.$1.{{left(1,1)}} q"), ("s.c", "A 50 s.c > s.c"))
    at = following(rig, SOURCES)
    at.pass_time(1)
    by_sequence = "by_start_sequence"
    assert starts(at) == {"s.a": (by_sequence, 10), "s.b": (by_sequence, 5), "*": (by_sequence, 7)}


def test_a_long_look_back_goes_in_steps_and_waits_for_the_disk() -> None:
    rig = filled(("s.a", "A 3 s.a > s.a"), *[("s.a", "")] * (limits.SOURCE_SCAN_MESSAGES + 10))
    rig.store.cold = {5}
    at = following(rig, SOURCES[:1])
    assert at.pass_time(2) == 0
    rig.store.warm_up()
    assert at.pass_time(2) == 1
    assert at.start() == ("by_start_sequence", 4)


def test_a_kept_position_counts_when_the_messages_have_left() -> None:
    rig = filled(("s.a", "A 3 s.a > s.a"))
    rig.stream.update(rig.config(subjects=["s.>"], sources=SOURCES[:2], storage="file"))
    at = Followed(rig, {"A s.a >": Position(7, "x", 5), "A s.b >": Position(8, "y", 1)})
    at.pass_time(1)
    assert starts(at) == {"s.a": ("by_start_sequence", 8), "s.b": ("by_start_sequence", 9)}


def test_the_newest_of_message_and_kept_position() -> None:
    rig = filled(("s.a", "A 3 s.a > s.a"))
    rig.stream.update(rig.config(subjects=["s.>"], sources=SOURCES[:1], storage="file"))
    at = Followed(rig, {"A s.a >": Position(2, "x", 0)})
    at.pass_time(1)
    assert at.start() == ("by_start_sequence", 4)


def test_positions_are_kept_when_messages_leave_and_only_what_is_committed() -> None:
    at = Followed(sources=[StreamSource("O")])
    at.pass_time(1)
    deliver = at.answer(identity="one")
    at.deliver(deliver, 3, 1)
    at.rig.commit_all()
    at.rig.router.publish(deliver.encode(), b"", b"", HEARTBEAT)
    at.pass_time(11)
    assert at.kept == [], "the message says it"
    at.rig.stream.purge(b"", 0, 0)
    at.pass_time(11)
    assert at.kept == [], "not committed"
    at.rig.commit_all()
    assert at.kept == [{"O > >": Position(3, "one", 1)}]
    at.pass_time(30)
    at.rig.commit_all()
    assert len(at.kept) == 1, "nothing new"


def test_an_update_touches_only_what_came_and_went() -> None:
    at = following(filled(), SOURCES[:1])
    at.pass_time(1)
    deliver = at.answer()
    config = at.rig.config(subjects=["s.>"], sources=[SOURCES[1], SOURCES[0]], storage="file")
    at.rig.stream.update(config)
    at.set.update(config)
    assert at.pass_time(1) == 0, "not before that was answered"
    at.set.begin()
    assert at.pass_time(1) == 1
    at.deliver(deliver, 1, 1)
    assert len(at.rig.store.rows) == 1
    config = at.rig.config(subjects=["s.>"], sources=[SOURCES[1]], storage="file")
    at.rig.stream.update(config)
    at.set.update(config)
    assert at.asked[-1][0].startswith(b"$JS.API.CONSUMER.DELETE.A.JS_SRC_")
    at.deliver(deliver, 2, 2)
    assert len(at.rig.store.rows) == 1


def test_the_end() -> None:
    at = Followed(**mirror())
    at.pass_time(1)
    deliver = at.answer()
    at.set.end(False)
    at.deliver(deliver, 1, 1)
    assert (at.rig.store.rows, at.pass_time(100), at.set.info()) == ([], 0, {})
    at.set.begin()
    assert at.pass_time(10) == 0


def test_who_has_begun_does_not_jump_to_now() -> None:
    """Before the first message its place is kept as well: a drained stream does not begin at its last one's time."""
    rig = filled(("s.own", ""))
    rig.stream.purge(b"", 0, 0)
    rig.stream.update(rig.config(subjects=["s.>"], sources=SOURCES[:1], storage="file"))
    at = Followed(rig)
    at.pass_time(1)
    assert at.start()[0] == "by_start_time", "a source that is new here"
    at.answer(identity="one")
    at.pass_time(11)
    rig.commit_all()
    assert at.kept == [{"A s.a >": Position(0, "one", 0)}]
    at.set.end(False)
    again = Followed(rig, at.kept[0])
    again.pass_time(1)
    assert again.start() == ("all", 0)


def test_the_place_in_a_new_origin_counts_more_than_the_old_ones_message() -> None:
    rig = filled(("s.a", "A 30 s.a > s.a old"))
    rig.stream.update(rig.config(subjects=["s.>"], sources=SOURCES[:1], storage="file"))
    at = Followed(rig, {"A s.a >": Position(0, "new", 1)})
    at.pass_time(1)
    assert at.start() == ("all", 0)
    assert b"Nats-Stream-Identity: new\r\n" in at.asked[0][2]
