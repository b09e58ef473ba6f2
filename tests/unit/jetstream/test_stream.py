"""Order and moment of answers, rollups, age, failure, life."""

from __future__ import annotations

import json

import pytest
from millpond.jetstream.stream import Cold
from millpond.testing.model_store import finish
from stream_rig import Rig

from millpond.base.errors import StoreError


def bodies(rig: Rig) -> list[bytes]:
    return [body for _, _, body in rig.replies]


def test_nothing_is_answered_before_the_commit_and_then_all_in_order() -> None:
    rig = Rig()
    rig.send(b"s.a", reply=b"re.1", Nats_Msg_Id="x")
    rig.send(b"s.a", reply=b"re.2", Nats_Expected_Stream="T")
    rig.send(b"s.a", reply=b"re.3", Nats_Msg_Id="x")
    rig.send(b"s.b", reply=b"re.4")
    rig.send(b"s.b", reply=b"")
    finish(rig.turn)
    assert rig.replies == []
    rig.store.commit_now()
    assert [subject for subject, _, _ in rig.replies] == [b"re.1", b"re.2", b"re.3", b"re.4"]
    assert bodies(rig)[0] == b'{"stream":"S","seq":1}'
    assert json.loads(bodies(rig)[1])["error"]["err_code"] == 10060
    assert bodies(rig)[2] == b'{"stream":"S","seq":1,"duplicate": true}'
    assert bodies(rig)[3] == b'{"stream":"S","seq":2}'
    assert rig.stream.state()["messages"] == 3


def test_many_answers_outgrow_the_ring() -> None:
    rig = Rig()
    for _ in range(40):
        rig.send(b"s.a")
    rig.commit_all()
    for _ in range(200):
        rig.send(b"s.a")
    rig.commit_all()
    assert [json.loads(body)["seq"] for body in bodies(rig)] == list(range(1, 241))


def test_domain_stands_between_stream_and_sequence() -> None:
    assert Rig(domain="hub").publish(b"s.a") == b'{"stream":"S","domain":"hub","seq":1}'


def test_no_ack_answers_nothing_not_even_errors() -> None:
    rig = Rig(no_ack=True)
    rig.send(b"s.a")
    rig.send(b"s.a", Nats_Expected_Stream="T")
    rig.commit_all()
    assert rig.replies == []
    assert len(rig.store.rows) == 1


def test_rollups() -> None:
    rig = Rig(allow_rollup_hdrs=True)
    for subject in (b"s.a", b"s.b", b"s.a"):
        rig.publish(subject)
    rig.publish(b"s.a", Nats_Rollup="sub")
    assert [row[0] for row in rig.store.rows] == [2, 4]
    rig.publish(b"s.c", Nats_Rollup="all")
    assert [row[0] for row in rig.store.rows] == [5]


def test_request_info_is_not_stored() -> None:
    rig = Rig()
    rig.publish(b"s.a", Nats_Request_Info="{}", A="b")
    rig.publish(b"s.a", Nats_Request_Info="{}")
    assert [row[2] for row in rig.store.rows] == [b"NATS/1.0\r\nA: b\r\n\r\n", b""]


def test_age() -> None:
    rig = Rig(max_age=1_000_000_000)
    rig.publish(b"s.a")
    rig.clock.advance(0.6)
    rig.publish(b"s.a")
    rig.clock.advance(0.6)
    finish(rig.turn)
    assert [row[0] for row in rig.store.rows] == [2]
    rig.clock.advance(0.6)
    finish(rig.turn)
    assert rig.store.rows == []


def test_duplicates_are_known_after_a_restart() -> None:
    rig = Rig()
    rig.publish(b"s.a", Nats_Msg_Id="x")
    rig.publish(b"s.a", Nats_Msg_Id="y")
    again = Rig(store=rig.store)
    assert again.publish(b"s.a", Nats_Msg_Id="x") == b'{"stream":"S","seq":1,"duplicate": true}'
    assert again.publish(b"s.a", Nats_Expected_Last_Msg_Id="y") == b'{"stream":"S","seq":3}'


def test_a_failed_append_and_all_that_follow_are_refused() -> None:
    rig = Rig()
    rig.send(b"s.a", reply=b"re.1")
    rig.store.fail_next = True
    rig.send(b"s.a", reply=b"re.2")
    rig.send(b"s.a", reply=b"re.3")
    finish(rig.turn)
    assert [subject for subject, _, _ in rig.replies] == [b"re.1", b"re.2", b"re.3"]
    assert {json.loads(body)["error"]["err_code"] for body in bodies(rig)} == {10047}
    assert rig.stream.failure == "input/output error"


def test_a_stream_that_has_failed_removes_nothing_that_it_says_it_could_not() -> None:
    """Its store could: only an append has failed."""
    rig = Rig()
    rig.publish(b"s.a")
    rig.publish(b"s.b")
    rig.store.fail_next = True
    rig.send(b"s.a")
    finish(rig.turn)
    with pytest.raises(StoreError, match="input/output error"):
        rig.stream.delete_message(1, False)
    with pytest.raises(StoreError, match="input/output error"):
        rig.stream.start_purge(b"", 0, 0, lambda count: None)
    assert [row[0] for row in rig.store.rows] == [1, 2]


def test_after_commit_waits_for_the_position() -> None:
    rig = Rig()
    called: list[str] = []
    rig.send(b"s.a")
    rig.stream.after_commit(called.append)
    finish(rig.turn)
    assert called == []
    rig.commit_all()
    assert called == [""]


def test_after_commit_tells_who_waits_that_the_store_has_failed() -> None:
    rig = Rig()
    called: list[str] = []
    rig.send(b"s.a")
    rig.stream.after_commit(called.append)
    rig.commit_all()
    rig.send(b"s.a")
    rig.stream.after_commit(called.append)
    rig.store.fail_next = True
    rig.send(b"s.a")
    rig.stream.after_commit(called.append)
    finish(rig.turn)
    assert called == ["", "input/output error", "input/output error"]
    rig.stream.after_commit(called.append)
    finish(rig.turn)
    assert called[3:] == ["input/output error"], "and whoever comes later"


def test_control_plane() -> None:
    rig = Rig()
    for subject in (b"s.a", b"s.b", b"s.a", b"s.c"):
        rig.publish(subject, b"x")
    stream = rig.stream
    assert stream.get_message(3)["subject"] == b"s.a"
    for stream_seq, last, following, found in ((0, b"s.*", b"", 4), (2, b"", b"s.a", 3), (9, b"", b"s.a", 0)):
        search = stream.search(stream_seq, last, following)
        assert search.is_short and not search.step() and search.found == found
    assert stream.get_message(9) is None
    assert stream.subject_count(b"s.a") == 2
    assert stream.delete_message(2, True)
    assert not stream.delete_message(2, True)
    assert stream.deleted_part(1, 10) == ([2], 0)
    assert stream.purge(b"s.a", 0, 1) == 1
    assert stream.purge(b"", 0, 0) == 2
    assert stream.state()["first_seq"] == 5


def test_cold_reads_are_asked_again() -> None:
    rig = Rig()
    rig.publish(b"s.a", b"x")
    rig.store.cold = {1}
    with pytest.raises(Cold):
        rig.stream.get_message(1)
    called: list[int] = []
    rig.stream.on_warm(lambda: called.append(1))
    rig.store.warm_up()
    assert called == [1]
    assert rig.stream.get_message(1)["body"] == b"x"


def test_a_stopped_stream_listens_no_more() -> None:
    rig = Rig()
    rig.send(b"s.a")
    rig.stream.stop(True)
    rig.send(b"s.a")
    finish(rig.turn)
    assert [reply for reply, _, _ in rig.replies] == [b"re.1"], "what came before is answered"
    assert rig.store.destroyed
    assert not rig.router.py_has_interest(b"s.a")
