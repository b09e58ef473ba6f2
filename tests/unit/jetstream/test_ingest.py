"""The judgement on publishes, in the words that nats-server 2.15.1 was seen to use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stream_rig import Rig

REFUSALS: list[tuple[dict[str, str], int, int, str]] = [
    ({"Nats_Expected_Stream": "X"}, 400, 10060, "expected stream does not match"),
    ({"Nats_Expected_Last_Sequence": "0"}, 400, 10071, "wrong last sequence: 2"),
    ({"Nats_Expected_Last_Sequence": "x"}, 400, 10071, "wrong last sequence: 2"),
    ({"Nats_Expected_Last_Msg_Id": "one"}, 400, 10070, "wrong last msg ID: "),
    ({"Nats_Expected_Last_Subject_Sequence": "0"}, 400, 10071, "wrong last sequence: 2"),
    ({"Nats_Expected_Last_Subject_Sequence": "x"}, 400, 10071, "wrong last sequence: 2"),
    ({"Nats_Expected_Last_Subject_Sequence_Subject": "s.*"}, 400, 10193,
     "missing sequence for expected last sequence per subject"),
    ({"Nats_Rollup": "bad"}, 500, 10111, 'rollup value invalid: "bad"'),
    ({"Nats_TTL": "5"}, 400, 10166, "per-message TTL is disabled"),
    ({"Nats_TTL": "x"}, 400, 10165, "invalid per-message TTL"),
    ({"Nats_Incr": "+5"}, 400, 10168, "message counters is disabled"),
    ({"Nats_Batch_Id": "b", "Nats_Batch_Sequence": "1"}, 400, 10174, "atomic publish is disabled"),
    ({"Nats_Schedule": "@every 1s"}, 400, 10188, "message schedules is disabled"),
    ({"Nats_Stream_Source": "x"}, 400, 10227, "message stream source header is not allowed"),
    ({"X": "y" * 1000}, 400, 10054, "message size exceeds maximum allowed"),
    # The first check that fails is the answer.
    ({"Nats_Expected_Last_Sequence": "9", "Nats_Expected_Stream": "X"}, 400, 10060, "expected stream does not match"),
    ({"Nats_Rollup": "bad", "Nats_Expected_Last_Sequence": "0"}, 400, 10071, "wrong last sequence: 2"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "code", "err_code", "text"), REFUSALS)
def test_refusals(headers: dict[str, str], code: int, err_code: int, text: str) -> None:
    rig = Rig(allow_rollup_hdrs=True, max_msg_size=1000)
    rig.publish(b"s.a", b"1", Nats_Msg_Id="one")
    rig.publish(b"s.a", b"2")
    answer = rig.publish(b"s.a", b"3", **headers)
    described = json.dumps(text)
    assert answer == (
        f'{{"error":{{"code":{code},"err_code":{err_code},"description":{described}}},"stream":"S","seq":0}}'.encode()
    )
    assert rig.store.rows[-1][0] == 2


ACCEPTED: list[dict[str, str]] = [
    {"Nats_Expected_Stream": "S"},
    {"Nats_Expected_Last_Sequence": "2"},
    {"Nats_Expected_Last_Subject_Sequence": "2"},
    {"Nats_Expected_Last_Subject_Sequence": "0", "Nats_Expected_Last_Subject_Sequence_Subject": "s.z"},
    {"Nats_Expected_Last_Subject_Sequence": "2", "Nats_Expected_Last_Subject_Sequence_Subject": "s.*"},
    {"Nats_Expected_Last_Msg_Id": "two"},
    {"Nats_Required_Api_Level": "99"},
    {"Nats_Msg_Id": "three"},
]


@pytest.mark.parametrize("headers", ACCEPTED)
def test_accepted(headers: dict[str, str]) -> None:
    rig = Rig()
    rig.publish(b"s.a", b"1", Nats_Msg_Id="one")
    rig.publish(b"s.a", b"2", Nats_Msg_Id="two")
    assert rig.publish(b"s.a", b"3", **headers) == b'{"stream":"S","seq":3}'


def test_rollup_needs_permission() -> None:
    answer = json.loads(Rig().publish(b"s.a", Nats_Rollup="sub"))
    assert answer["error"] == {"code": 500, "err_code": 10111, "description": "rollup not permitted"}


def test_header_block_is_bounded() -> None:
    answer = json.loads(Rig().publish(b"s.a", X="y" * 65_536))
    assert answer["error"]["err_code"] == 10097


DISCARD_NEW: list[tuple[dict[str, Any], list[bytes], str]] = [
    ({"max_msgs": 2}, [b"s.a", b"s.b"], "maximum messages exceeded"),
    ({"max_bytes": 40}, [b"s.a", b"s.b"], "maximum bytes exceeded"),
    ({"max_msgs_per_subject": 1, "discard_new_per_subject": True}, [b"s.c"], "maximum messages per subject exceeded"),
]


@pytest.mark.parametrize(("limit", "before", "text"), DISCARD_NEW)
def test_discard_new(limit: dict[str, Any], before: list[bytes], text: str) -> None:
    rig = Rig(discard="new", **limit)
    for subject in before:
        assert "error" not in json.loads(rig.publish(subject))
    answer = json.loads(rig.publish(b"s.c"))
    assert answer["error"] == {"code": 503, "err_code": 10077, "description": text}
    assert len(rig.store.rows) == len(before)


def test_discard_new_lets_a_full_subject_replace_its_own() -> None:
    rig = Rig(discard="new", max_msgs=1, max_msgs_per_subject=1)
    rig.publish(b"s.a", b"1")
    assert rig.publish(b"s.a", b"2") == b'{"stream":"S","seq":2}'
    assert [row[3] for row in rig.store.rows] == [b"2"]
