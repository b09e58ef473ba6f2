"""The schedules of a stream: cold reads, failures, many at once, and a new life."""

from __future__ import annotations

from millpond.jetstream.storage_room import StorageRoom
from millpond.testing.model_store import finish
from queue_rig import Queue
from stream_rig import Rig, block

from millpond.base import limits

PAST = "@at 2020-01-01T00:00:00Z"


class Scheduled(Rig):
    """Schedules fire 250 ms after they were stored, at the earliest."""

    def __init__(self, **config: object) -> None:
        super().__init__(**{"allow_msg_schedules": True, "allow_rollup_hdrs": True} | config)

    def schedule(
        self, subject: bytes, pattern: str = PAST, target: str = "s.t", body: bytes = b"x", **more: str
    ) -> None:
        self.publish(subject, body, Nats_Schedule=pattern, Nats_Schedule_Target=target, **more)

    def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turn.timers.run_due(self.clock.mono_ns)
        finish(self.turn)

    def subjects(self) -> list[bytes]:
        return [row[1] for row in self.store.rows]

    def fired(self) -> list[bytes]:
        return [row[3] for row in self.store.rows if row[1] == b"s.t"]

    def reopen(self) -> None:
        """The stream is opened again over what it has stored."""
        self.stream.stop(False)
        Rig.__init__(self, self.store, allow_msg_schedules=True, allow_rollup_hdrs=True)


def test_nothing_fires_sooner_than_a_quarter_of_a_second() -> None:
    rig = Scheduled()
    rig.schedule(b"s.a")
    rig.after(0.249)
    assert rig.fired() == []
    rig.after(0.001)
    assert rig.fired() == [b"x"] and rig.subjects() == [b"s.t"]


def test_many_that_are_due_together_fire_in_their_order_a_few_at_a_time() -> None:
    rig = Scheduled()
    for number in range(200):
        rig.schedule(b"s.%d" % number, body=b"%d" % number)
    rig.after(0.25)
    assert 0 < len(rig.fired()) < 200
    for _ in range(10):
        rig.after(0.001)
    assert rig.fired() == [b"%d" % number for number in range(200)]


def test_a_schedule_that_must_be_read_first_fires_when_it_is_there() -> None:
    rig = Scheduled()
    rig.schedule(b"s.a", body=b"a")
    rig.publish(b"s.source", b"source")
    rig.schedule(b"s.b", body=b"b", Nats_Schedule_Source="s.source")
    rig.store.cold = {1, 2}
    rig.after(0.25)
    assert rig.fired() == []
    rig.store.warm_up(left={2})
    rig.after(0.001)
    assert rig.fired() == [b"a"]
    rig.store.warm_up()
    rig.after(0.001)
    assert rig.fired() == [b"a", b"source"]


def test_a_store_that_fails_fires_nothing_more() -> None:
    rig = Scheduled()
    rig.schedule(b"s.a")
    rig.schedule(b"s.b")
    rig.store.fail_next = True
    rig.after(0.25)
    rig.store.fail_next = False
    rig.after(1)
    assert rig.subjects() == [b"s.a", b"s.b"]


def test_what_is_too_large_is_not_produced_and_the_schedule_goes_on() -> None:
    rig = Scheduled(max_msg_size=150)
    rig.publish(b"s.source", b"x" * 140)
    rig.schedule(b"s.a", "@every 2s", Nats_Schedule_Source="s.source")
    rig.after(3)
    assert rig.fired() == []
    rig.publish(b"s.source", b"small enough")
    rig.after(3)
    rig.after(3)
    assert rig.fired() == [b"small enough", b"small enough"]


def test_a_firing_without_room_is_not_lost_and_tried_again_every_two_seconds() -> None:
    rig = Scheduled()
    rig.schedule(b"s.once", body=b"once")
    rig.schedule(b"s.often", "@every 1h", body=b"often")
    rig.after(0.25)
    assert rig.fired() == [b"once"]
    rig.schedule(b"s.once", body=b"again")
    room = StorageRoom(0)
    rig.stream.use_room(room, StorageRoom(-1))
    rig.after(0.25)
    rig.after(3600)
    assert rig.fired() == [b"once"] and rig.subjects() == [b"s.often", b"s.t", b"s.once"]
    room.resize(-1)
    rig.after(1.9)
    assert rig.fired() == [b"once"]
    rig.after(0.2)
    rig.after(0.25)
    assert sorted(rig.fired()) == [b"again", b"often", b"once"] and rig.subjects()[0] == b"s.often"


def test_a_firing_on_a_full_disk_is_not_lost_and_tried_again_every_two_seconds() -> None:
    rig = Scheduled()
    rig.schedule(b"s.a")
    rig.store.full = True
    rig.after(0.25)
    rig.after(2)
    assert rig.subjects() == [b"s.a"] and rig.stream.failure == ""
    rig.store.full = False
    rig.after(1.9)
    assert rig.fired() == []
    rig.after(0.1)
    assert rig.fired() == [b"x"] and rig.subjects() == [b"s.t"]


def test_firings_are_bound_like_publishes_by_what_is_under_way() -> None:
    queue = Queue("limits", allow_msg_schedules=True, allow_rollup_hdrs=True)
    queue.publish(b"q.s", block({"Nats-Schedule": PAST, "Nats-Schedule-Target": "q.t"}))
    for _ in range(limits.INFLIGHT_MESSAGES_PER_STREAM_MAX):
        queue.router.publish(b"q.x", b"", b"in.x")
    queue.clock.advance(0.25)
    queue.turn.timers.run_due(queue.clock.mono_ns)
    assert queue.store.last_of(b"q.t") == 0 and queue.store.has(1)
    queue.turns()
    queue.clock.advance(2)
    queue.turns()
    assert queue.store.last_of(b"q.t") == limits.INFLIGHT_MESSAGES_PER_STREAM_MAX + 2 and not queue.store.has(1)


def test_a_schedule_that_was_replaced_or_removed_does_not_fire() -> None:
    rig = Scheduled()
    for name in (b"s.plain", b"s.deleted", b"s.other"):
        rig.schedule(name, body=name)
    rig.publish(b"s.plain", b"not a schedule")
    rig.stream.delete_message(2, False)
    rig.after(0.25)
    assert rig.fired() == [b"s.other"]
    rig.after(5)
    assert rig.fired() == [b"s.other"]


def test_what_another_schedule_produces_on_its_subject_does_not_end_it() -> None:
    rig = Scheduled()
    rig.schedule(b"s.inner", "@every 10s", body=b"inner")
    rig.schedule(b"s.outer", PAST, "s.inner", b"outer")
    rig.after(0.25)
    assert rig.subjects() == [b"s.inner", b"s.inner"]
    rig.after(11)
    assert rig.fired() == [b"inner"]


def test_a_new_life_fires_what_was_missed_once_and_nothing_twice() -> None:
    rig = Scheduled()
    rig.schedule(b"s.often", "@every 2s", body=b"often")
    rig.schedule(b"s.late", "@every 60s", body=b"late")
    rig.after(2)
    assert rig.fired() == [b"often"]
    rig.clock.advance(100)
    wall_ns = rig.clock.wall_ns
    rig.reopen()
    rig.clock.wall_ns = wall_ns
    rig.after(0.001)
    rig.after(0.25)
    assert rig.fired() == [b"often", b"often", b"late"]
    rig.after(2)
    assert rig.fired() == [b"often", b"often", b"late", b"often"]


def test_a_schedule_whose_end_a_crash_forgot_goes_without_firing() -> None:
    rig = Scheduled()
    rig.schedule(b"s.a")
    rig.stream.stop(False)
    headers = block({"Nats-Scheduler": "s.a", "Nats-Schedule-Next": "purge"})
    rig.store.append_message(b"s.t", b"x", headers, rig.clock.wall_ns)
    rig.reopen()
    rig.after(0.001)
    rig.after(1)
    assert rig.subjects() == [b"s.t"]


def test_the_scan_of_a_new_life_waits_for_cold_reads() -> None:
    rig = Scheduled()
    rig.schedule(b"s.a")
    rig.store.cold = {1}
    rig.reopen()
    rig.after(1)
    assert rig.fired() == []
    rig.store.warm_up()
    rig.after(0.001)
    rig.after(0.25)
    assert rig.fired() == [b"x"]


def test_a_stream_that_gets_the_feature_fires_what_it_holds() -> None:
    rig = Rig()
    rig.store.append_message(b"s.a", b"x", block({"Nats-Schedule": PAST, "Nats-Schedule-Target": "s.t"}), 1)
    rig.stream.update(rig.config(allow_msg_schedules=True, allow_rollup_hdrs=True))
    for _ in range(3):
        rig.clock.advance(0.25)
        rig.turn.timers.run_due(rig.clock.mono_ns)
    assert [row[1] for row in rig.store.rows] == [b"s.t"]


def test_no_memory_for_schedules_that_are_gone() -> None:
    rig = Scheduled()
    for _ in range(5000):
        rig.send(b"s.a", b"x", Nats_Schedule="@every 1h", Nats_Schedule_Target="s.t")
    rig.commit_all()
    assert rig.stream.schedule_bytes() < 4096
