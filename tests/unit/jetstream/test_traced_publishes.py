"""Messages whose way is told, in a stream that lets them wait, refuses them, or fails under them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from millpond.testing.model_store import finish
from millpond.testing.publishes import publish_traced
from stream_rig import Rig, block

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.broker.message_trace import Asked, Event, MessageTrace
from millpond.jetstream.trace_errors import words


class Traced:
    """Publishes into a rig's stream, and knows what was told of it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.told: list[MessageTrace] = []

    def publish(self, subject: bytes, body: bytes = b"", *, only: bool = False, **headers: str) -> None:
        fields = {"Nats-Trace-Dest": "t", **{key.replace("_", "-"): value for key, value in headers.items()}}
        head = block(fields)
        asked = Asked(b"t", only, {}, len(head) + len(body))
        trace = MessageTrace(asked, Event("in", {"acc": "A", "subj": subject}), self.told.append)
        publish_traced(self.rig.router, subject, body, b"re.1", head, trace)

    def events(self) -> list[dict[str, Any]]:
        """What the stream did, of each message that was told, without what is empty."""
        rows = [trace.events[-1] for trace in self.told]
        assert all(row.type == "js" for row in rows)
        return [{name: value for name, value in row.fields.items() if value} for row in rows]


def counter() -> Traced:
    """Its next increment waits for a cold read."""
    rig = Rig(allow_msg_counter=True)
    rig.publish(b"s.a", Nats_Incr="1")
    rig.store.cold = {1}
    rig.replies.clear()
    return Traced(rig)


def test_a_message_that_waits_is_told_when_it_is_judged() -> None:
    traced = counter()
    traced.publish(b"s.a", Nats_Incr="1")
    traced.publish(b"s.b", Nats_Incr="x")
    traced.publish(b"s.a", Nats_Incr="1", only=True)
    assert traced.told == []
    traced.rig.store.warm_up()
    traced.rig.commit_all()
    assert traced.events() == [
        {"stream": "S", "subject": b"s.a"},
        {"stream": "S", "error": "message counter increment is invalid (10171)"},
        {"stream": "S", "subject": b"s.a"},
    ]
    assert [row[0] for row in traced.rig.store.rows] == [1, 2]
    assert len(traced.rig.replies) == 2, "who asks for a trace only is answered when that is refused"


def test_what_only_asks_waits_as_well() -> None:
    traced = counter()
    traced.publish(b"s.a", Nats_Incr="1", only=True)
    assert traced.told == []
    traced.rig.store.warm_up()
    finish(traced.rig.turn)
    assert traced.events() == [{"stream": "S", "subject": b"s.a"}]
    assert len(traced.rig.store.rows) == 1 and traced.rig.replies == []


def test_what_only_asks_is_turned_away_when_too_much_waits() -> None:
    traced = counter()
    for number in range(limits.INFLIGHT_MESSAGES_PER_STREAM_MAX + 1):
        traced.publish(b"s.a", Nats_Incr="1", only=number > 0)
    assert [event["error"] for event in traced.events()] == ["too many requests (10167)"]


def test_the_store_fails_under_those_who_wait() -> None:
    traced = counter()
    for only in (False, True):
        traced.publish(b"s.a", Nats_Incr="1", only=only)
    traced.rig.store.fail("gone")
    finish(traced.rig.turn)
    error = "insufficient storage resources available (10047)"
    assert [event["error"] for event in traced.events()] == [error, error]


def test_the_store_does_not_take_the_message() -> None:
    rig = Rig()
    traced = Traced(rig)
    for attribute in ("full", "fail_next"):
        setattr(rig.store, attribute, True)
        traced.publish(b"s.a")
    traced.publish(b"s.a")
    finish(rig.turn)
    error = "insufficient storage resources available (10047)"
    assert traced.events() == [{"stream": "S", "subject": b"s.a", "error": error}] * 3


def test_what_is_stored_asks_for_nothing_any_more() -> None:
    rig = Rig()
    traced = Traced(rig)
    traced.publish(b"s.a", A="b")
    ((_, _, head, *_),) = rig.store.rows
    assert head == b"NATS/1.0\r\nNats-Trace-Dest: trace disabled\r\nA: b\r\n\r\n"


def test_a_message_of_a_batch_that_has_ended() -> None:
    rig = Rig(allow_batched=True)
    traced = Traced(rig)
    for number, operation in ((1, 0), (3, 1)):
        asked = Asked(b"t", False, {}, 0)
        trace = MessageTrace(asked, Event("in", {"acc": "A"}), traced.told.append)
        reply = b"re.x.10.fail.%d.%d.$FI" % (number, operation)
        publish_traced(rig.router, b"s.a", b"", reply, block({"Nats-Trace-Dest": "t"}), trace)
    assert [event.get("error") for event in traced.events()] == [None, "batch ended before this message"]


def test_an_answer_that_comes_back_to_the_stream_is_no_part_of_the_trace() -> None:
    """The reply subject is one of the stream's, which refuses the answer: it increments nothing."""
    rig = Rig(subjects=["s.*", "re.1"], allow_atomic=True, allow_msg_counter=True)
    traced = Traced(rig)
    traced.publish(b"s.a", Nats_Batch_Id="b", Nats_Batch_Sequence="1", Nats_Incr="1")
    rig.commit_all()
    assert [reply[0] for reply in rig.replies] == [b"re.1"]
    assert traced.events() == [{"stream": "S", "subject": b"s.a"}]


def test_a_server_without_memory_refuses_what_only_asks_as_well() -> None:
    rig = Rig()
    traced = Traced(rig)
    rig.pump.refusing = True
    for only in (False, True):
        traced.publish(b"s.a", only=only)
    assert [event["error"] for event in traced.events()] == ["insufficient resources (10023)"] * 2


def test_what_waits_is_told_when_the_stream_stops() -> None:
    traced = counter()
    for only in (False, True):
        traced.publish(b"s.a", Nats_Incr="1", only=only)
    traced.rig.stream.stop(True)
    assert traced.events() == [{"stream": "S", "error": "stream closed"}] * 2
    assert traced.rig.stream.waiting_bytes() == 0


LAST = "wrong last sequence: 3"


@pytest.mark.parametrize(
    ("error", "headers", "shown"),
    [
        (ApiError(400, 10071, LAST), {"Nats-Expected-Last-Sequence": "9"}, "last sequence mismatch: 9 vs 3"),
        (ApiError(400, 10071, LAST), {"Nats-Expected-Last-Subject-Sequence": "9", "Nats-Expected-Last-Sequence": "3"},
         "last sequence by subject mismatch: 9 vs 3"),
        (ApiError(400, 10071, LAST), {"Nats-Expected-Last-Subject-Sequence": "3", "Nats-Expected-Last-Sequence": "4"},
         "last sequence mismatch: 4 vs 3"),
        (ApiError(400, 10071, LAST), {"Nats-Expected-Last-Sequence": "-1"},
         "last sequence mismatch: 18446744073709551615 vs 3"),
        (ApiError(400, 10070, "wrong last msg ID: a: b"), {"Nats-Expected-Last-Msg-Id": "\"c"},
         'last msgid mismatch: "\\"c" vs "a: b"'),
        (ApiError(503, 10077, "maximum messages exceeded"), {}, "maximum messages exceeded"),
        (ApiError(500, 10052, "general failure"), {}, "general failure (10052)"),
    ],
)  # fmt: skip
def test_words(error: ApiError, headers: dict[str, str], shown: str) -> None:
    assert words(error, block(headers)) == shown


def test_two_streams_of_one_message_are_both_waited_for() -> None:
    told: list[MessageTrace] = []
    trace = MessageTrace(Asked(b"t", False, {}, 0), Event("in", {"acc": "A"}), told.append)
    first, second = trace.into_stream("ONE"), trace.into_stream("TWO")
    trace.finish()
    second.finish(b"x", False)
    assert told == []
    first.finish(b"x", True)
    assert told == [trace]
    assert [event.fields["stream"] for event in trace.events[1:]] == ["ONE", "TWO"]
    assert json.dumps([event.type for event in trace.events]) == '["in", "js", "js"]'
