"""Atomic batches: idleness, bounds, cold reads, failures."""

from __future__ import annotations

import json

import pytest
from millpond.jetstream.batch_totals import BatchTotals
from millpond.jetstream.storage_room import StorageRoom
from stream_rig import Rig


class Batches(Rig):
    """`abandoned` holds (batch id, reason)."""

    def __init__(self, **config: object) -> None:
        super().__init__(allow_atomic=True, **config)
        self.abandoned: list[tuple[bytes, str]] = []
        self.stream.use_batches(BatchTotals(), lambda _, batch_id, reason: self.abandoned.append((batch_id, reason)))

    def add(
        self, name: str, number: int, body: bytes = b"m", subject: bytes = b"s.a", reply: bytes = b"", **more: str
    ) -> None:
        self.send(subject, body, reply, Nats_Batch_Id=name, Nats_Batch_Sequence=str(number), **more)

    def commit_batch(self, name: str, number: int, **more: str) -> dict:
        self.replies.clear()
        self.add(name, number, b"last", reply=b"re.commit", Nats_Batch_Commit="1", **more)
        self.commit_all()
        ((_, _, body),) = self.replies
        return json.loads(body)

    def bodies(self) -> list[bytes]:
        return [row[3] for row in self.store.rows]


def test_idle_batches_are_abandoned_the_oldest_first() -> None:
    rig = Batches()
    rig.add("one", 1)
    rig.clock.advance(6)
    rig.add("two", 1)
    rig.clock.advance(5)
    rig.commit_all()
    assert rig.abandoned == [(b"one", "timeout")]
    rig.add("two", 2)
    rig.clock.advance(9)
    rig.commit_all()
    assert rig.abandoned == [(b"one", "timeout")]
    rig.clock.advance(2)
    rig.commit_all()
    assert rig.abandoned == [(b"one", "timeout"), (b"two", "timeout")]
    assert rig.store.rows == []


def test_what_batches_hold_in_memory_is_bounded_and_given_back() -> None:
    rig = Batches()
    size = 8 << 20
    for number in range(1, 4):
        rig.add("big", number, b"x" * size)
    rig.add("small", 1)
    rig.add("other", 1, b"x" * (size * 5 // 4), reply=b"re.1")
    rig.commit_all()
    assert rig.abandoned == [(b"other", "large")]
    assert json.loads(rig.replies[0][2])["error"]["err_code"] == 10023
    assert rig.commit_batch("big", 4)["count"] == 4
    rig.add("other", 1, b"x" * (size * 5 // 4))
    assert rig.commit_batch("other", 2)["count"] == 2
    assert rig.commit_batch("small", 2)["count"] == 2


def test_a_batch_that_waits_for_a_cold_read_is_stored_in_one_piece() -> None:
    rig = Batches(allow_msg_counter=True)
    rig.publish(b"s.a", Nats_Incr="1")
    rig.store.cold = {1}
    rig.replies.clear()
    rig.add("b", 1, b"", b"s.b", Nats_Incr="1")
    rig.add("b", 2, b"", b"s.a", b"re.commit", Nats_Incr="1", Nats_Batch_Commit="1")
    rig.send(b"s.b", Nats_Incr="5")
    rig.commit_all()
    assert rig.replies == [] and len(rig.store.rows) == 1
    rig.store.warm_up()
    rig.commit_all()
    assert rig.bodies() == [b'{"val":"1"}', b'{"val":"1"}', b'{"val":"2"}', b'{"val":"6"}']
    assert json.loads(rig.replies[0][2]) == {"stream": "S", "seq": 3, "batch": "b", "count": 2}


def test_a_store_that_fails_refuses_the_batch_once() -> None:
    rig = Batches()
    rig.add("b", 1)
    rig.store.fail_next = True
    answer = rig.commit_batch("b", 2)
    assert answer["error"]["err_code"] == 10047
    assert rig.store.rows == []


@pytest.mark.parametrize("end", ["update", "stop"])
def test_batches_end_with_the_stream_or_the_feature(end: str) -> None:
    rig = Batches()
    rig.add("b", 1)
    if end == "stop":
        rig.stream.stop(False)
    else:
        rig.stream.update(rig.config(allow_atomic=False))
        rig.stream.update(rig.config(allow_atomic=True))
        assert rig.commit_batch("b", 2)["error"]["err_code"] == 10176
    rig.clock.advance(11)
    rig.commit_all()
    assert rig.abandoned == []


def in_three(room_bytes: int = -1, share_bytes: int = -1) -> Batches:
    """A batch of three begun, under these bounds of the server and of the account."""
    rig = Batches()
    rig.stream.use_room(StorageRoom(room_bytes), StorageRoom(share_bytes))
    rig.add("b", 1)
    rig.add("b", 2)
    return rig


def test_a_batch_without_room_is_refused_as_a_whole() -> None:
    free = in_three()
    free.commit_batch("b", 3)
    sizes = [16 + sum(len(part) for part in row[1:4]) for row in free.store.rows]
    whole, but_last = sum(sizes), sum(sizes[:2])
    for bounds, expected in (
        ({"share_bytes": whole}, None), ({"share_bytes": whole - 1}, 10002),
        ({"room_bytes": but_last}, None), ({"room_bytes": but_last - 1}, 10023),
    ):
        rig = in_three(**bounds)
        answer = rig.commit_batch("b", 3)
        assert answer.get("error", {}).get("err_code") == expected, bounds
        assert len(rig.store.rows) == (3 if expected is None else 0)
