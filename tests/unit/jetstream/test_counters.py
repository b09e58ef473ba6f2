"""Counters over a store that must read its disk first."""

from __future__ import annotations

import json

from stream_rig import Rig


def answers(rig: Rig) -> list[dict]:
    return [json.loads(body) for _, _, body in rig.replies]


def counted() -> Rig:
    rig = Rig(allow_msg_counter=True)
    assert rig.publish(b"s.a", Nats_Incr="5") == b'{"stream":"S","seq":1,"val":"5"}'
    rig.replies.clear()
    return rig


def test_who_comes_behind_a_cold_read_waits_too() -> None:
    rig = counted()
    rig.store.cold = {1}
    rig.send(b"s.a", Nats_Incr="2")
    rig.send(b"s.b", Nats_Incr="1")
    rig.send(b"s.b")
    rig.send(b"s.a", Nats_Incr="-10")
    rig.commit_all()
    assert rig.replies == [] and len(rig.store.rows) == 1
    rig.store.warm_up()
    rig.commit_all()
    assert [(answer["seq"], answer.get("val")) for answer in answers(rig)] == [(2, "7"), (3, "1"), (0, None), (4, "-3")]
    assert [row[3] for row in rig.store.rows] == [b'{"val":"5"}', b'{"val":"7"}', b'{"val":"1"}', b'{"val":"-3"}']


def test_the_second_cold_read_makes_them_wait_again() -> None:
    rig = counted()
    rig.publish(b"s.b", Nats_Incr="1")
    rig.replies.clear()
    rig.store.cold = {1, 2}
    rig.send(b"s.a", Nats_Incr="1")
    rig.send(b"s.b", Nats_Incr="1")
    rig.store.warm_up(left=[2])
    rig.commit_all()
    assert [answer["val"] for answer in answers(rig)] == ["6"]
    rig.store.warm_up()
    rig.commit_all()
    assert [answer["val"] for answer in answers(rig)] == ["6", "2"]


def test_a_store_that_fails_refuses_who_waits() -> None:
    rig = counted()
    rig.store.cold = {1}
    rig.send(b"s.a", Nats_Incr="1")
    rig.send(b"s.a", Nats_Incr="1")
    rig.store.fail("the disk is gone")
    rig.commit_all()
    assert [answer["error"]["err_code"] for answer in answers(rig)] == [10047, 10047]


def test_a_message_that_is_no_counter_stops_the_counting() -> None:
    rig = Rig(allow_msg_counter=True)
    for number, body in enumerate((b"plain", b"[]", b'{"val":5}', b'{"val":"1' + b"0" * 5000 + b'"}', b'{"val":"x"}')):
        subject = b"s.%d" % number
        rig.store.append_message(subject, body)
        rig.replies.clear()
        rig.send(subject, Nats_Incr="1")
        rig.commit_all()
    assert answers(rig)[0]["val"] == "1"                      # a value that is no number counts as nothing
    for number in range(4):
        answer = json.loads(rig.publish(b"s.%d" % number, Nats_Incr="1"))
        assert answer["error"]["err_code"] == 10172


def test_no_total_grows_without_bound() -> None:
    rig = Rig(allow_msg_counter=True)
    rig.publish(b"s.a", Nats_Incr="9" * 4300)
    assert json.loads(rig.publish(b"s.a", Nats_Incr="1"))["error"]["err_code"] == 10171
    assert json.loads(rig.publish(b"s.a", Nats_Incr="-" + "9" * 4299))["seq"] == 2
