"""Who of a stream's consumers hears of a message: those that want it, however many; and who has to know more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from millpond.testing.faulty_disk import FaultyDisk
from millpond.testing.model_store import finish
from msgspec.structs import replace
from queue_rig import SECOND, Queue
from tests.unit.store.file_rig import rig

OTHERS = 40


def wait(queue: Queue, name: str, batch: int = 100) -> None:
    """A request that waits for what comes."""
    request = b'{"batch":%d,"expires":%d}' % (batch, 600 * SECOND)
    queue.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.Q." + name.encode(), request, b"in." + name.encode())
    queue.turns()


def waiting(**config: Any) -> Queue:
    """Many consumers of a subject each, and one request at every one of them."""
    queue = Queue("limits")
    for number in range(OTHERS):
        queue.add(f"C{number}", f"q.{number}", **config)
        wait(queue, f"C{number}")
    queue.taken.clear()
    return queue


def receivers(queue: Queue) -> list[str]:
    """The consumers whose deliveries have come, in order."""
    return [reply.split(b".")[3].decode() for _, reply in queue.taken if reply.startswith(b"$JS.ACK.")]


def place(queue: Queue, name: str) -> int:
    """Where it says that it is."""
    return int(queue.stream.consumers[name].info()["delivered"]["stream_seq"])


def test_a_message_reaches_who_wants_it_and_asks_nobody_else() -> None:
    queue = waiting()
    everything = queue.add("ALL")
    queue.publish(b"q.7")
    asked = [name for name, one in queue.stream.consumers.items() if one.cursor.position == 1]
    assert asked == ["C7"] and everything.num_pending == 1
    assert receivers(queue) == ["C7"]
    assert [one.num_pending for one in queue.stream.consumers.values()] == [0] * OTHERS + [1]


def test_who_waits_at_the_end_is_through_with_what_it_does_not_want() -> None:
    queue = waiting()
    queue.add("IDLE", "q.idle")
    for _ in range(5):
        queue.publish(b"q.3")
    assert queue.stream.consumers["C8"].cursor.position == 0
    assert (place(queue, "C8"), place(queue, "C3"), place(queue, "IDLE")) == (5, 5, 0)
    assert queue.stream.consumers["C8"].cursor.position == 5
    queue.publish(b"q.8")
    assert receivers(queue)[-1] == "C8" and b".1.6.1." in queue.taken[-1][1]


def test_a_place_stays_where_it_was_when_nobody_waited_any_more() -> None:
    queue = waiting()
    queue.publish(b"q.3")
    queue.clock.advance(700)
    queue.turn.timers.run_due(queue.clock.mono_ns)
    queue.turns()
    assert queue.stream.consumers["C8"].info()["num_waiting"] == 0
    queue.publish(b"q.3")
    assert place(queue, "C8") == 1


def test_filters_that_change_count_from_where_the_consumer_is() -> None:
    queue = waiting()
    queue.publish(b"q.new")
    queue.add("IDLE", "q.idle")
    queue.publish(b"q.new")
    for name, pending in (("C1", 0), ("IDLE", 2)):
        consumer = queue.stream.consumers[name]
        consumer.update(replace(consumer.config, filter_subjects=["q.new"]))
        assert consumer.num_pending == pending
    queue.turns()
    queue.taken.clear()
    queue.publish(b"q.new")
    queue.publish(b"q.1")
    assert receivers(queue) == ["C1"]
    assert queue.stream.consumers["IDLE"].num_pending == 3


def test_what_was_delivered_under_other_filters_is_missed_when_it_leaves() -> None:
    queue = Queue("limits")
    consumer = queue.add("A", "q.old", max_deliver=1, ack_wait=SECOND)
    for _ in range(4):
        queue.publish(b"q.old")
    assert len(queue.pull("A", 2)) == 2
    queue.clock.advance(2)
    queue.turn.timers.run_due(queue.clock.mono_ns)
    queue.turns()                                    # these two were delivered as often as they may be
    assert len(queue.pull("A", 2)) == 2
    consumer.update(replace(consumer.config, filter_subjects=["q.new"]))
    state, config = consumer.state, consumer.config
    queue.stream.delete_message(3, False)
    queue.stream.delete_message(1, False)
    assert state.info()["num_ack_pending"] == 1 and state.num_redelivered == 1
    consumer.stop("")
    queue.stream.remove_consumer(consumer)
    again = queue.add("A", *config.filter_subjects, state=state)      # as after a restart
    queue.stream.delete_message(4, False)
    assert again.state.info()["num_ack_pending"] == 0 and again.state.num_redelivered == 1
    queue.stream.delete_message(2, False)
    assert again.state.num_redelivered == 0


def test_who_came_between_a_message_and_its_commit_gets_it() -> None:
    queue = Queue("limits")
    queue.router.publish(b"q.x", b"x")
    queue.add("A", "q.x", turns=False)
    request = b'{"batch":1,"expires":%d}' % (600 * SECOND)
    queue.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.Q.A", request, b"in.A")
    while finish(queue.turn):
        pass
    assert receivers(queue) == ["A"]


def test_a_consumer_that_left_hears_nothing_and_its_filters_are_forgotten() -> None:
    queue = waiting()
    queue.delete("C7")
    queue.publish(b"q.7")
    queue.publish(b"q.8")
    assert receivers(queue) == ["C8"]
    again = queue.add("C7", "q.7", "q.77.>")
    assert again.num_pending == 1
    queue.publish(b"q.77.x")
    assert again.num_pending == 2


def test_what_comes_from_the_disk_wakes_who_reads_it(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with rig(tmp_path, disk=disk) as r:
        r.open().append_message(b"q.old", b"x")
        store = r.reopen()
        disk.cold = True
        r.cache.resize(0)
        r.cache.resize(2**20)
        queue = Queue("limits", store)
        others = [queue.add(f"C{number}", f"q.{number}") for number in range(OTHERS)]
        reader = queue.add("A", "q.old")
        for name in queue.stream.consumers:
            wait(queue, name)
        assert receivers(queue) == [] and not reader.queued
        r.cache.drain()
        assert reader.queued and not any(one.queued for one in others)
        queue.turns()
        assert receivers(queue) == ["A"]
