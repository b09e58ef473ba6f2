"""Fast batches: idleness, cold reads, failures, bounds of the whole server."""

from __future__ import annotations

import json

import pytest
from millpond.jetstream.batch_totals import BatchTotals
from stream_rig import Rig

BEGIN, APPEND, COMMIT, COMMIT_WITHOUT, PING = range(5)


class Fast(Rig):
    def __init__(self, **config: object) -> None:
        super().__init__(**{"allow_batched": True} | config)

    def add(
        self, name: str, number: int, op: int, body: bytes = b"m", *, gap: str = "fail", flow: int = 10, **headers: str
    ) -> None:
        self.send(b"s.a", body, f"re.{name}.{flow}.{gap}.{number}.{op}.$FI".encode(), **headers)

    def answers(self) -> list[dict]:
        self.commit_all()
        found = [json.loads(body) for _, _, body in self.replies]
        self.replies.clear()
        return found


def test_answers_wait_for_the_commit_in_their_order() -> None:
    rig = Fast()
    rig.add("b", 1, BEGIN, flow=1)
    rig.add("b", 3, APPEND, flow=1, gap="ok")
    assert rig.replies == []
    assert rig.answers() == [
        {"type": "ack", "seq": 0, "msgs": 1}, {"type": "ack", "seq": 1, "msgs": 1},
        {"type": "gap", "last_seq": 2, "seq": 3}, {"stream": "S", "seq": 1, "batch": "b", "count": 1},
    ]


def test_the_stream_judges_the_expected_message_id_and_the_batch_waits_for_a_message_that_is_stored() -> None:
    rig = Fast()
    wrong = {"Nats_Expected_Last_Msg_Id": "other"}
    rig.add("b", 1, BEGIN, gap="ok")
    rig.add("b", 2, APPEND, gap="ok", **wrong)
    rig.add("b", 3, COMMIT_WITHOUT, gap="ok")
    begun, refused = rig.answers()
    assert (begun["type"], refused["error"]["err_code"]) == ("ack", 10070)
    rig.add("c", 1, BEGIN, gap="ok")
    rig.add("c", 2, APPEND, gap="ok", **wrong)
    rig.add("c", 3, APPEND, gap="ok")
    rig.add("c", 4, COMMIT_WITHOUT, gap="ok")
    assert rig.answers()[-1] == {"stream": "S", "seq": 3, "batch": "c", "count": 3}


def test_idle_batches_are_forgotten() -> None:
    rig = Fast()
    rig.add("one", 1, BEGIN)
    rig.clock.advance(6)
    rig.add("two", 1, BEGIN)
    rig.clock.advance(5)
    rig.turn.timers.run_due(rig.clock.mono_ns)
    rig.add("two", 2, APPEND)
    rig.add("one", 2, APPEND)
    assert [answer["error"]["err_code"] for answer in rig.answers() if "error" in answer] == [10208]
    rig.clock.advance(9)
    rig.turn.timers.run_due(rig.clock.mono_ns)
    rig.add("two", 3, PING)
    assert rig.answers()[0]["type"] == "gap"
    rig.clock.advance(11)
    rig.turn.timers.run_due(rig.clock.mono_ns)
    rig.add("two", 4, COMMIT)
    assert rig.answers()[0]["error"]["err_code"] == 10208


def test_a_message_that_waits_for_a_cold_read_keeps_its_place() -> None:
    rig = Fast(allow_msg_counter=True)
    rig.publish(b"s.a", Nats_Incr="1")
    rig.store.cold = {1}
    rig.replies.clear()
    rig.add("b", 1, BEGIN, b"", Nats_Incr="2")
    rig.add("b", 2, COMMIT, b"", Nats_Incr="3")
    assert rig.answers() == [] and len(rig.store.rows) == 1
    rig.store.warm_up()
    assert rig.answers()[-1] == {"stream": "S", "seq": 3, "batch": "b", "count": 2}
    assert [row[3] for row in rig.store.rows][1:] == [b'{"val":"3"}', b'{"val":"6"}']


def test_a_store_that_fails_ends_the_batch() -> None:
    rig = Fast()
    rig.add("b", 1, BEGIN)
    rig.answers()
    rig.store.fail_next = True
    rig.add("b", 2, APPEND)
    (answer,) = rig.answers()
    assert answer["error"]["err_code"] == 10047


def test_batches_are_counted_in_the_whole_server() -> None:
    totals = BatchTotals()
    rig = Fast()
    rig.stream.use_batches(totals, None)
    for number in range(3):
        rig.add(f"b{number}", 1, BEGIN)
    assert totals.fast == 3
    rig.add("b1", 2, COMMIT)
    rig.add("b2", 5, APPEND)
    assert totals.fast == 1
    rig.clock.advance(11)
    rig.turn.timers.run_due(rig.clock.mono_ns)
    assert totals.fast == 0


@pytest.mark.parametrize("end", ["update", "stop"])
def test_batches_end_with_the_stream_or_the_feature(end: str) -> None:
    totals = BatchTotals()
    rig = Fast()
    rig.stream.use_batches(totals, None)
    rig.add("b", 1, BEGIN)
    if end == "stop":
        rig.stream.stop(False)
    else:
        rig.stream.update(rig.config(allow_batched=False))
    assert totals.fast == 0


def test_a_batch_ends_when_its_commit_is_refused() -> None:
    rig = Fast()
    rig.add("b", 1, BEGIN)
    rig.add("b", 2, COMMIT, Nats_Expected_Stream="X")
    answers = rig.answers()
    assert answers[-2]["type"] == "err" and answers[-2]["seq"] == 2
    assert answers[-1] == {"stream": "S", "seq": 1, "batch": "b", "count": 1}
