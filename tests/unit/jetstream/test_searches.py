"""Messages that are asked for by wildcards, or for many subjects, in long streams.

They are found in turns, whatever happens between them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_rig import Rig

from millpond.base import limits

MANY = 3 * limits.SEARCH_STEP_ROWS
RARE = MANY // 2
SUBJECTS = [b"L.rare.%d" % number if number in (RARE, RARE + 1) else b"L.k.%d" % number for number in range(MANY)]
FIRST, LAST = RARE + 1, RARE + 2                 # sequences
NONE = b"NATS/1.0 404 Message Not Found\r\n\r\n"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.stream("L", SUBJECTS, allow_direct=True)
    made.answers.clear()
    yield made
    made.close()


def found(rig: Rig) -> list[int]:
    """The sequences that were answered; 0: there is none."""
    seqs = []
    for hdr, body in rig.answers:
        if hdr:
            seqs.append(int(hdr.split(b"Nats-Sequence: ")[1].split(b"\r\n")[0]) if hdr != NONE else 0)
        else:
            answer = json.loads(body)
            assert "message" in answer or answer["error"]["err_code"] == 10037
            seqs.append(answer["message"]["seq"] if "message" in answer else 0)
    return seqs


def remove(seq: int) -> Callable[[Rig], object]:
    return lambda rig: rig.engine.stream("L").delete_message(seq, False)


def purge(subject: bytes) -> Callable[[Rig], object]:
    return lambda rig: rig.engine.stream("L").purge(subject, 0, 0)


def publish(rig: Rig) -> None:
    rig.broker.router.publish(b"L.rare.new", b"x")


def nothing(rig: Rig) -> None:
    """Nothing happens."""


WAYS = ["STREAM.MSG.GET.L", "DIRECT.GET.L"]
NEXT, PREVIOUS, ABSENT = {"next_by_subj": "L.rare.*"}, {"last_by_subj": "L.rare.*"}, {"next_by_subj": "L.none.*"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("request_", "meanwhile", "expected"),
    [
        (NEXT, nothing, FIRST),
        (PREVIOUS, nothing, LAST),
        (ABSENT, nothing, 0),
        ({"last_by_subj": "L.none.*"}, nothing, 0),
        ({**NEXT, "seq": LAST + 1}, nothing, 0),
        (NEXT, remove(FIRST), LAST),
        (PREVIOUS, remove(LAST), FIRST),
        (PREVIOUS, publish, LAST),
        (NEXT, purge(b"L.rare.*"), 0),
        (PREVIOUS, purge(b""), 0),
    ],
)
def test_is_found_in_turns(
    rig: Rig, way: str, request_: dict[str, object], meanwhile: Callable[[Rig], object], expected: int
) -> None:
    rig.ask(way, **request_)
    assert rig.answers == [] and rig.one_turn() and rig.answers == []
    meanwhile(rig)
    rig.turns()
    assert found(rig) == [expected]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_near_is_answered_in_the_same_turn(rig: Rig, way: str) -> None:
    rig.ask(way, next_by_subj="L.k.*", seq=RARE)
    rig.one_turn()
    assert found(rig) == [RARE]
    rig.answers.clear()
    rig.ask(way, last_by_subj="L.k.77")
    assert found(rig) == [78]


@pytest.mark.parametrize("way", WAYS)
def test_in_a_stream_of_few_subjects_it_is_answered_at_once(rig: Rig, way: str) -> None:
    rig.stream("F", [b"F.rare.x", *(b"F.k.%d" % (number % 9) for number in range(MANY))], allow_direct=True)
    rig.answers.clear()
    rig.ask(way.replace(".L", ".F"), last_by_subj="F.rare.*")
    assert found(rig) == [1]


def test_what_waits_is_answered_behind_what_takes_long(rig: Rig) -> None:
    for body in (ABSENT, PREVIOUS):
        rig.ask("STREAM.MSG.GET.L", **body)
    rig.ask("STREAM.MSG.GET.L", seq=3)
    rig.turns()
    assert found(rig) == [3, 0, LAST]


def test_direct_gets_share_what_a_turn_may_look_at(rig: Rig) -> None:
    for _ in range(8):
        rig.ask("DIRECT.GET.L", **ABSENT)
    turns = 1
    while rig.one_turn():
        turns += 1
    assert found(rig) == [0] * 8
    assert turns >= 8 * MANY // limits.SEARCH_STEP_ROWS


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_is_deleted_meanwhile_has_nothing(rig: Rig, way: str) -> None:
    rig.ask(way, **NEXT)
    rig.one_turn()
    rig.engine.delete_stream(rig.engine.stream("L"), lambda _: None)
    rig.turns()
    assert found(rig) == ([0] if "MSG" in way else [])


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_stops_meanwhile_answers_nothing(rig: Rig, way: str) -> None:
    rig.ask(way, **NEXT)
    rig.one_turn()
    rig.api.close()
    rig.engine.stop()
    rig.turns()
    assert found(rig) in ([], [0])


def numbers(hdr: bytes) -> tuple[int, int]:
    fields = dict(line.split(b": ") for line in hdr.split(b"\r\n")[1:] if b": " in line)
    return int(fields.get(b"Nats-Sequence", 0)), int(fields[b"Nats-Num-Pending"])


def test_a_batch_is_counted_and_found_in_turns(rig: Rig) -> None:
    rig.ask("DIRECT.GET.L", next_by_subj="L.rare.*", batch=9)
    rig.one_turn()
    assert rig.answers == []
    rig.turns()
    assert [numbers(hdr) for hdr, _ in rig.answers] == [(FIRST, 1), (LAST, 0), (0, 0)]


def test_a_batch_that_met_new_messages_counts_again_in_turns(rig: Rig) -> None:
    rig.ask("DIRECT.GET.L", next_by_subj="L.*.*", batch=2)
    rig.one_turn()
    publish(rig)
    rig.turns()
    assert [numbers(hdr) for hdr, _ in rig.answers] == [(1, MANY - 1), (2, MANY - 2), (0, MANY - 1)]


def all_under(rig: Rig, *subjects: str, **body: object) -> list[int]:
    rig.answers.clear()
    rig.ask("DIRECT.GET.L", multi_last=subjects, **body)
    rig.one_turn()
    assert rig.answers == []
    rig.turns()
    return [numbers(hdr)[0] for hdr, _ in rig.answers]


def test_the_last_of_many_subjects_are_found_in_turns(rig: Rig) -> None:
    assert all_under(rig, "L.rare.*", "L.k.7") == [8, FIRST, LAST, 0]
    rig.request("DIRECT.GET.L", b'{"multi_last":["L.k.*"]}')
    assert [hdr for hdr, _ in rig.answers] == [b"NATS/1.0 413 Too Many Results\r\n\r\n"]
    rig.request("DIRECT.GET.L", b'{"multi_last":["L.none.*"]}')
    assert [hdr for hdr, _ in rig.answers] == [b"NATS/1.0 404 No Results\r\n\r\n"]


def test_the_last_of_subjects_that_go_on_later_are_found_in_turns(rig: Rig) -> None:
    for number in range(3):
        publish(rig)
        rig.broker.router.publish(b"L.k.%d" % number, b"x")
    rig.turns()
    assert all_under(rig, "L.rare.*", "L.k.1", up_to_seq=MANY) == [2, FIRST, LAST, 0]


def test_named_subjects_are_found_at_once(rig: Rig) -> None:
    rig.ask("DIRECT.GET.L", multi_last=["L.k.7", "L.none", "L.k.3", "L.k.7"])
    assert [numbers(hdr)[0] for hdr, _ in rig.answers] == [4, 8, 0]


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [(publish, [FIRST, LAST, 0]), (remove(FIRST), [LAST, 0]), (purge(b"L.rare.*"), None), (purge(b""), None)],
)
def test_what_happens_while_the_last_of_many_subjects_are_found(
    rig: Rig, meanwhile: Callable[[Rig], object], expected: list[int] | None
) -> None:
    rig.ask("DIRECT.GET.L", multi_last=["L.rare.*", "L.none.*"])
    rig.one_turn()
    meanwhile(rig)
    rig.turns()
    if expected is None:
        assert [hdr for hdr, _ in rig.answers] == [b"NATS/1.0 404 No Results\r\n\r\n"]
    else:
        assert [numbers(hdr)[0] for hdr, _ in rig.answers] == expected


@pytest.mark.parametrize("end", ["delete", "stop"])
def test_the_last_of_many_subjects_of_a_stream_that_ends_meanwhile(rig: Rig, end: str) -> None:
    rig.ask("DIRECT.GET.L", multi_last=["L.rare.*"])
    rig.one_turn()
    if end == "delete":
        rig.engine.delete_stream(rig.engine.stream("L"), lambda _: None)
    else:
        rig.engine.stop()
    rig.turns()
    assert rig.answers == []


def test_what_long_direct_gets_hold_is_bounded(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    taken = limits.DIRECT_GETS_WAITING_BYTES_MAX // limits.DIRECT_GET_JOB_BYTES
    rig.engine.stream("L").purge(b"", RARE, 0)
    for _ in range(taken + 9):
        rig.ask("DIRECT.GET.L", next_by_subj="L.none.*", batch=1)
    assert len(caplog.records) == 1
    refused, rest = rig.answers[0], len(rig.answers)
    assert refused == (b"NATS/1.0 429 Too Many Requests\r\n\r\n", b"") and set(rig.answers) == {refused}
    rig.answers.clear()
    rig.ask("DIRECT.GET.L", seq=RARE)
    assert found(rig) == [RARE]
    rig.engine.stream("L").purge(b"", 0, 0)
    rig.turns()
    assert taken // 2 < len(found(rig)) < taken and set(found(rig)[1:]) == {0}
    assert len(found(rig)) - 1 + rest == taken + 9, "each of them is answered, once"
    rig.answers.clear()
    rig.ask("DIRECT.GET.L", next_by_subj="L.none.*")
    rig.turns()
    assert found(rig) == [0]


@pytest.mark.parametrize("request_", [{"batch": 600, "seq": 1}, {"batch": 600, "next_by_subj": "L.*.*"}])
def test_an_answer_may_delete_the_stream_that_it_is_from(rig: Rig, request_: dict[str, object]) -> None:
    rig.stream("E", [], allow_direct=True)
    for number in range(700):
        rig.broker.router.publish(b"E.k.%d" % number, b"")          # an empty body, as a deletion has
    rig.turns()
    body = json.dumps(request_).replace("L.", "E.").encode()
    rig.broker.router.publish(b"$JS.API.DIRECT.GET.E", body, b"$JS.API.STREAM.DELETE.E")
    rig.turns()
    assert list(rig.engine.streams) == ["L"]
