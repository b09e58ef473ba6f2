"""Direct gets, against what nats-server 2.15.1 was seen to answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from millpond.testing.model_store import ModelStore, finish
from stream_rig import Rig

from millpond.jetstream.go_time import format_time

EMPTY, BAD = b"NATS/1.0 408 Empty Request\r\n\r\n", b"NATS/1.0 408 Bad Request\r\n\r\n"
MISSING = b"NATS/1.0 404 Message Not Found\r\n\r\n"


@pytest.fixture
def rig() -> Rig:
    made = Rig(allow_direct=True)
    for number in range(8):
        headers = {"N": str(number)} if number % 2 else {}
        made.publish(b"s.%d" % (number % 3), b"%d" % number, **headers)
    return made


STATUSES: list[tuple[Any, bytes]] = [
    (b"", EMPTY),
    (b"{", b"NATS/1.0 408 Malformed Request\r\n\r\n"),
    ({}, EMPTY),
    ({"unknown": 1}, EMPTY),
    ({"seq": -1}, b"NATS/1.0 408 Malformed Request\r\n\r\n"),
    ({"seq": 99}, MISSING),
    ({"last_by_subj": "s.9"}, MISSING),
    ({"batch": 2, "seq": 99}, MISSING),
    ({"seq": 1, "last_by_subj": "s.1"}, BAD),
    ({"last_by_subj": "s.1", "batch": 2}, BAD),
    ({"seq": 1, "start_time": "2020-01-01T00:00:00Z"}, BAD),
    ({"multi_last": ["x"]}, b"NATS/1.0 404 No Results\r\n\r\n"),
]


@pytest.mark.parametrize(("request_", "status"), STATUSES)
def test_statuses(rig: Rig, request_: Any, status: bytes) -> None:
    assert rig.direct(request_) == [(status, b"")]


ONE: list[tuple[Any, bytes, int]] = [
    ({"seq": 3}, b"", 3),
    ({"last_by_subj": "s.1"}, b"", 8),
    ({"next_by_subj": "s.1"}, b"", 2),
    ({"seq": 4, "next_by_subj": "s.1"}, b"", 5),
    ({"seq": 4, "next_by_subj": "s.*"}, b"", 4),
    ({"start_time": "2020-01-01T00:00:00Z"}, b"", 1),
    (b"", b"s.1", 8),
]


@pytest.mark.parametrize(("request_", "subject", "stream_seq"), ONE)
def test_one_message(rig: Rig, request_: Any, subject: bytes, stream_seq: int) -> None:
    number = stream_seq - 1
    own = b"N: %d\r\n" % number if number % 2 else b""
    stamp = b"2023-11-14T22:13:20Z"
    assert rig.direct(request_, subject) == [
        (
            b"NATS/1.0\r\n%bNats-Stream: S\r\nNats-Subject: s.%d\r\nNats-Sequence: %d\r\nNats-Time-Stamp: %b\r\n\r\n"
            % (own, number % 3, stream_seq, stamp),
            b"%d" % number,
        )
    ]


def test_no_hdr(rig: Rig) -> None:
    assert rig.direct({"seq": 3, "no_hdr": True}) == [(b"", b"2")]


def field(hdr: bytes, key: bytes) -> int:
    return int(hdr.split(key + b": ")[1].split(b"\r\n")[0])


BATCHES: list[tuple[Any, list[tuple[int, int, int]], bytes]] = [
    ({"batch": 3, "seq": 1}, [(1, 7, 0), (2, 6, 1), (3, 5, 2)],
     b"Nats-Num-Pending: 5\r\nNats-Last-Sequence: 3\r\n\r\n"),
    ({"batch": 10, "next_by_subj": "s.1", "seq": 1}, [(2, 2, 0), (5, 1, 2), (8, 0, 5)],
     b"Nats-Num-Pending: 0\r\nNats-Last-Sequence: 8\r\n\r\n"),
    ({"batch": 10, "max_bytes": 4, "seq": 1}, [(1, 7, 0)], b"Nats-Num-Pending: 7\r\nNats-Last-Sequence: 1\r\n\r\n"),
    ({"multi_last": ["s.*"]}, [(6, 2, 0), (7, 1, 6), (8, 0, 7)],
     b"Nats-Num-Pending: 0\r\nNats-Last-Sequence: 8\r\nNats-UpTo-Sequence: 8\r\n\r\n"),
    ({"multi_last": ["s.1", "s.2"], "batch": 1}, [(6, 1, 0)],
     b"Nats-Num-Pending: 1\r\nNats-Last-Sequence: 6\r\nNats-UpTo-Sequence: 8\r\n\r\n"),
    ({"multi_last": ["s.*"], "up_to_seq": 4}, [(2, 2, 0), (3, 1, 2), (4, 0, 3)],
     b"Nats-Num-Pending: 0\r\nNats-Last-Sequence: 4\r\nNats-UpTo-Sequence: 4\r\n\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "messages", "end"), BATCHES)
def test_batches(rig: Rig, request_: Any, messages: list[tuple[int, int, int]], end: bytes) -> None:
    *answers, (last, empty) = rig.direct(request_)
    keys = (b"Nats-Sequence", b"Nats-Num-Pending", b"Nats-Last-Sequence")
    assert [tuple(field(hdr, key) for key in keys) for hdr, _ in answers] == messages
    assert (last, empty) == (b"NATS/1.0 204 EOB\r\n" + end, b"")


def test_a_cold_read_parks_the_request(rig: Rig) -> None:
    rig.store.cold = {2}
    assert [body for _, body in rig.direct({"batch": 3, "seq": 1})] == [b"0"]
    rig.store.warm_up()
    assert [body for _, _, body in rig.replies] == [b"0", b"1", b"2", b""]


def test_a_key_that_is_not_warm_is_answered_when_it_is(rig: Rig) -> None:
    rig.store.cold = {8}
    assert rig.direct(b"", b"s.1") == []
    rig.store.warm_up()
    assert [body for _, _, body in rig.replies] == [b"7"]


@pytest.mark.parametrize("subject", [b"s.9", b"s.9.x", b"t", b">x", b"*"])
def test_a_key_that_is_not_there(rig: Rig, subject: bytes) -> None:
    assert rig.direct(b"", subject) == [(MISSING, b"")]


def test_a_key_by_a_wildcard_is_the_last_one_under_it(rig: Rig) -> None:
    assert rig.direct(b"", b"s.*") == rig.direct({"seq": 8})


def test_an_answer_may_go_into_the_stream_that_it_is_from(rig: Rig) -> None:
    for number in range(3):
        rig.router.publish(b"$JS.API.DIRECT.GET.S.s.1", b"", b"s.1")
        rig.commit_all()
        ((hdr, body),) = rig.direct(b"", b"s.1")
        assert body == b"7"
        assert hdr.count(b"Nats-Sequence") == number + 2


@given(st.integers(-(2**63) + 10**9, 2**63 - 1), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_the_stamp_is_the_time_in_rfc_3339(time_ns: int, unit: int) -> None:
    time_ns = time_ns // unit * unit or 1
    rig = Rig(ModelStore(), allow_direct=True)
    rig.clock.wall_ns = time_ns
    rig.send(b"s.a")
    ((hdr, _),) = rig.direct(b"", b"s.a")
    assert f"Nats-Time-Stamp: {format_time(time_ns)}\r\n".encode() in hdr


def test_a_long_batch_takes_several_turns() -> None:
    rig = Rig(allow_direct=True)
    for _ in range(600):
        rig.send(b"s.a")
    rig.commit_all()
    assert len(rig.direct({"batch": 600, "seq": 1})) == 256
    while finish(rig.turn):
        pass
    assert len(rig.replies) == 601


def test_too_many_subjects() -> None:
    rig = Rig(allow_direct=True)
    for number in range(1025):
        rig.send(b"s.%d" % number, reply=b"")
    assert rig.direct({"multi_last": ["s.*"]}) == [(b"NATS/1.0 413 Too Many Results\r\n\r\n", b"")]


def test_without_allow_direct_nobody_listens() -> None:
    assert Rig().direct({"seq": 1}) == []
