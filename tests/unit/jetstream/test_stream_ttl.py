"""Messages that end, and the markers of their subjects."""

from __future__ import annotations

import pytest
from millpond.store.memory_store import MemoryStore
from millpond.testing.model_store import finish
from stream_rig import Rig

SECOND = 1_000_000_000
MARKER = b"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1m0s\r\nNats-Rollup: sub\r\n\r\n"


def after(rig: Rig, seconds: float) -> None:
    rig.clock.advance(seconds)
    rig.turn.timers.run_due(rig.clock.mono_ns)
    finish(rig.turn)


def left(rig: Rig) -> list[tuple[int, bytes, bytes]]:
    return [row[:3] for row in rig.store.rows]


def test_each_message_ends_at_its_time() -> None:
    rig = Rig(allow_msg_ttl=True)
    rig.publish(b"s.a", Nats_TTL="5")
    rig.publish(b"s.a", Nats_TTL="2s")
    rig.publish(b"s.a")
    after(rig, 1.999)
    assert [row[0] for row in left(rig)] == [1, 2, 3]
    after(rig, 0.002)
    assert [row[0] for row in left(rig)] == [1, 3]
    after(rig, 3)
    assert [row[0] for row in left(rig)] == [3]


def test_never_outlives_max_age() -> None:
    rig = Rig(allow_msg_ttl=True, max_age=SECOND, duplicate_window=SECOND)
    rig.publish(b"s.a", Nats_TTL="never")
    rig.publish(b"s.a")
    after(rig, 1.002)
    assert [row[0] for row in left(rig)] == [1]
    rig.publish(b"s.b")
    after(rig, 1.002)
    assert [row[0] for row in left(rig)] == [1]


def test_a_ttl_longer_than_max_age_delays_nobody() -> None:
    rig = Rig(allow_msg_ttl=True, max_age=SECOND, duplicate_window=SECOND)
    rig.publish(b"s.a", Nats_TTL="100")
    rig.publish(b"s.b")
    after(rig, 1.002)
    assert left(rig) == []


def test_a_ttl_beyond_all_time_ends_at_the_end_of_time() -> None:
    rig = Rig(allow_msg_ttl=True)
    rig.publish(b"s.a", Nats_TTL="9223372036854775807")
    rig.publish(b"s.a", Nats_TTL="9000000000")
    assert [row[5] for row in rig.store.rows] == [2**63 - 1, 2**63 - 1]
    after(rig, 100)
    assert len(left(rig)) == 2


def test_a_marker_takes_the_place_of_the_last_of_a_subject() -> None:
    rig = Rig(allow_msg_ttl=True, allow_rollup_hdrs=True, subject_delete_marker_ttl=60 * SECOND)
    rig.publish(b"s.a", Nats_TTL="60")
    rig.publish(b"s.a", Nats_TTL="61")
    rig.publish(b"s.b", Nats_TTL="60", Nats_Marker_Reason="Purge")
    rig.publish(b"s.c", Nats_TTL="60", KV_Operation="PURGE")
    after(rig, 60.002)
    assert [row[0] for row in left(rig)] == [2]
    after(rig, 1)
    assert left(rig) == [(5, b"s.a", MARKER)]
    assert rig.publish(b"s.x", Nats_Expected_Last_Sequence="5") == b'{"stream":"S","seq":6}'
    after(rig, 60.002)
    assert left(rig)[0][:2] == (6, b"s.x"), "a marker ends without a marker"
    after(rig, 1000)
    assert len(left(rig)) == 1


def test_messages_do_not_end_before_the_marker_could_be_seen() -> None:
    rig = Rig(allow_msg_ttl=True, allow_rollup_hdrs=True, subject_delete_marker_ttl=60 * SECOND)
    rig.publish(b"s.a", A="b", Nats_TTL="5", C="d")
    assert left(rig)[0][2] == b"NATS/1.0\r\nA: b\r\nC: d\r\nNats-TTL: 60\r\n\r\n"
    single = Rig(allow_msg_ttl=True, subject_delete_marker_ttl=60 * SECOND, max_msgs_per_subject=1)
    single.publish(b"s.a", Nats_TTL="5")
    assert single.store.rows[0][2] == b"NATS/1.0\r\nNats-TTL: 5\r\n\r\n"


@pytest.mark.parametrize(("asked", "stored"), [("2s", "3"), ("1", "12")])
def test_a_message_counts_with_the_ttl_that_it_is_stored_with(asked: str, stored: str) -> None:
    """Where the new is discarded: what fits exactly is taken, and nothing that does not."""

    def rig(bytes_max: int) -> Rig:
        marks = int(stored) * SECOND
        return Rig(allow_msg_ttl=True, subject_delete_marker_ttl=marks, discard="new", max_bytes=bytes_max)

    size = rig(0).store.size_of(3, len(b"NATS/1.0\r\nNats-TTL: \r\n\r\n" + stored.encode()), 0)
    assert b'"seq":1' in rig(size).publish(b"s.a", Nats_TTL=asked)
    assert b"maximum bytes exceeded" in rig(size - 1).publish(b"s.a", Nats_TTL=asked)


def test_a_marker_evicts_nobody_where_the_new_is_discarded() -> None:
    rig = Rig(allow_msg_ttl=True, subject_delete_marker_ttl=SECOND, discard="new", max_msgs=2, max_bytes=80)
    rig.publish(b"s.a")
    rig.publish(b"s.b", Nats_TTL="1")
    after(rig, 1.002)
    assert [row[0] for row in left(rig)] == [1, 3]
    assert b"maximum messages exceeded" in rig.publish(b"s.c")


def test_a_cold_record_waits_until_it_is_known_not_to_be_a_marker() -> None:
    rig = Rig(allow_msg_ttl=True, subject_delete_marker_ttl=SECOND)
    rig.publish(b"s.a", Nats_TTL="1")
    rig.store.cold.add(1)
    after(rig, 1.002)
    assert [row[0] for row in left(rig)] == [1]
    rig.store.warm_up()
    after(rig, 0.002)
    assert [row[0] for row in left(rig)] == [2]


def test_expiry_is_bounded_and_goes_on() -> None:
    store = MemoryStore()
    rig = Rig(store=store, allow_msg_ttl=True, subject_delete_marker_ttl=SECOND, subjects=["s.>"])
    for i in range(3000):
        rig.send(b"s.%d" % i, reply=b"", Nats_TTL="1")
    after(rig, 1.0001)
    assert store.state_dict()["last_seq"] == 3000 + 1024
    for _ in range(5):
        after(rig, 0.001)
    assert store.state_dict()["last_seq"] == 6000
    assert store.state_dict()["messages"] == 3000
    after(rig, 1.1)
    for _ in range(5):
        after(rig, 0.001)
    assert store.state_dict()["messages"] == 0
    assert store.memory()["expiry"] <= 1024
    assert store.check() == []
