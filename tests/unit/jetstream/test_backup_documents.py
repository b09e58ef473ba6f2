"""The documents of a backup: what a consumer's state says, and what no consumer can be like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from millpond.store.consumer_state import ConsumerState

from millpond.base.errors import BackupError
from millpond.jetstream.backup_documents import read_consumer, read_state, rows_of
from millpond.jetstream.restore_tar import consumer_state
from millpond.jetstream.restored import restore_state, restored_config
from millpond.jetstream.stream_config import StreamConfig

STATE: dict[str, Any] = {
    "delivered": {"consumer_seq": 9, "stream_seq": 20}, "ack_floor": {"consumer_seq": 2, "stream_seq": 11},
    "pending": {"15": {"Sequence": 4, "Timestamp": 400}, "13": {"Sequence": 3, "Timestamp": 500}},
    "redelivered": {"13": 2, "12": 4},
}


def document(state: Any = STATE, config: Any = None) -> bytes:
    return json.dumps({"config": config or {"ack_policy": "explicit"}, "state": state}).encode()


def test_a_state_becomes_a_consumers():
    state = ConsumerState()
    restore_state("c", read_consumer("c", document()), state)
    assert state.pending() == [(13, 3, 500, 3), (15, 4, 400, 1)]
    assert state.exhausted() == [12]
    info = state.info()
    assert (info["delivered"]["stream_seq"], info["ack_floor"]["consumer_seq"]) == (20, 2)
    assert (info["num_ack_pending"], info["num_redelivered"], state.check()) == (2, 2, [])
    assert state.py_deliver(21) == 10


def test_a_state_without_anything():
    found = read_consumer("c", document({"delivered": {}, "ack_floor": {}, "pending": None}))
    state = ConsumerState()
    restore_state("c", found, state)
    assert (state.pending(), state.check()) == ([], [])


@pytest.mark.parametrize(("changes", "text"), [
    ({"ack_floor": {"consumer_seq": 10, "stream_seq": 1}}, "bad ack floor for consumer"),
    ({"ack_floor": {"consumer_seq": 1, "stream_seq": 21}}, "bad ack floor for stream"),
    ({"delivered": {"consumer_seq": 9, "stream_seq": 2**63}}, "bad ack floor for stream"),
    ({"pending": {"11": {"Sequence": 4}}}, "bad pending entry, sequence [11] out of range"),
    ({"pending": {"21": {"Sequence": 4}}}, "bad pending entry, sequence [21] out of range"),
    ({"pending": {"12": {"Sequence": 2}}}, "bad pending entry, consumer sequence [2] out of range"),
    ({"pending": {"12": {"Sequence": 10}}}, "bad pending entry, consumer sequence [10] out of range"),
])
def test_what_no_consumer_is_like(changes, text):
    found = read_consumer("c", document({**STATE, **changes}))
    with pytest.raises(BackupError) as caught:
        rows_of(found.state)
    assert str(caught.value) == text


@pytest.mark.parametrize("content", [
    b"", b"[]", b"{", b'{"config":{}}', b'{"state":{}}', b'{"config":null,"state":{}}',
])
def test_no_consumer_document(content):
    with pytest.raises(BackupError):
        read_consumer("c", content)


@pytest.mark.parametrize("content", [
    b"", b"[]", b'{"first_seq":-1}', b'{"last_seq":9223372036854775807}', b'{"first_seq":"1"}',
])
def test_no_state(content):
    with pytest.raises(BackupError, match=r"error in state\.json"):
        read_state(content)


def test_a_configuration_is_checked():
    found = read_consumer("c", document(config={"ack_policy": "explicit", "durable_name": "c"}))
    assert restored_config("c", found, StreamConfig(), []).name == "c"
    for name, config in (
        ("", {}), ("a.b", {}), ("c", {"ack_policy": "explicit", "filter_subject": "a", "filter_subjects": ["b"]}),
        ("c", {"ack_policy": 1}),
    ):
        with pytest.raises(BackupError, match="failed to add consumer"):
            restored_config(name, read_consumer(name, document(config=config)), StreamConfig(subjects=["s"]), [])


def test_states_of_older_servers():
    state = consumer_state(bytes([22, 2, 2, 10, 7, 20, 2, 200, 1, 1, 1, 4, 3, 2, 8, 1, 1, 4]))
    assert (state.ack_floor.consumer_seq, state.ack_floor.stream_seq) == (2, 10)
    assert (state.delivered.consumer_seq, state.delivered.stream_seq) == (7, 20)
    assert {seq: (ack.sequence, ack.timestamp) for seq, ack in (state.pending or {}).items()} == {
        11: (3, 98 * 10**9), 13: (4, 96 * 10**9),
    }
    assert state.redelivered == {11: 4}
    for data in (b"", b"\x16", b"\x16\x03", b"\x15\x02", bytes([22, 2, 2, 10, 7]), bytes([22, 2, 1, 1, 1, 1, 5])):
        with pytest.raises(BackupError, match="corrupt state file"):
            consumer_state(data)
