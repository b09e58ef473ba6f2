"""The memory watch: what it measures, and what it does when memory is short."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from millpond.store.read_cache import ReadCache

import millpond
from millpond.base import cgroup, limits
from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.memory import JetStreamMemory
from millpond.monitor import memory_watch
from millpond.monitor.memory_watch import MemoryWatch, Trend, make_budgets
from millpond.server.machine_limits import with_machine_limits

MIB = limits.MIB


class Held:
    """Stands for JetStream."""

    def __init__(self) -> None:
        self.size = 0
        self.done: list[object] = []

    def survey(self, found: dict[str, int]) -> Iterator[None]:
        found["messages"] += self.size
        yield

    def shed(self) -> None:
        self.done.append("shed")

    def refuse(self, on: bool) -> None:
        self.done.append(on)


def group(usage: int, limit: int, file: int = 0) -> cgroup.GroupMemory:
    return cgroup.GroupMemory(
        version=2, usage=usage, limit=limit, anon=usage - file, shmem=0, active_file=file, inactive_file=0,
        mapped_file=0, dirty_file=0, kernel=0, slab=0, slab_reclaimable=0, sock=0,
    )  # fmt: skip


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryWatch, Held]:
    monkeypatch.setattr(memory_watch, "own_group", lambda: None)
    held = Held()
    made = MemoryWatch(make_budgets(Options(memory_bytes=100 * MIB)), lambda: 10)
    made.watch(held)
    return made, held


def finish(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


def test_bounds_follow_the_total() -> None:
    budgets = make_budgets(Options(memory_bytes=16 * MIB))
    assert budgets.total.bytes_max == 16 * MIB
    assert budgets.report() == {
        "output": (0, 4 * MIB), "input": (0, 2 * MIB), "answers": (0, MIB), "read_cache": (0, 2 * MIB),
    }  # fmt: skip
    assert make_budgets(Options()).total.bytes_max > 16 * MIB


def test_measured_budgets_follow_up_and_down(watch: tuple[MemoryWatch, Held]) -> None:
    made, held = watch
    for size in (5 * MIB, 0, 3 * MIB):
        held.size = size
        made.measure()
        assert made._budgets.named("messages").used == size
    assert made._budgets.named("subjects").used == 10 * memory_watch.SUBSCRIPTION_BYTES


def test_pressure_sheds_then_refuses_then_is_over(watch: tuple[MemoryWatch, Held]) -> None:
    made, held = watch
    for size, done in [(50, []), (90, ["shed", False]), (101, ["shed", True]), (102, ["shed"]), (10, [False])]:
        held.size, held.done = size * MIB, []
        finish(made.tick(0.0))
        assert held.done == done


def test_a_full_container_is_pressure_but_page_cache_is_not(
    watch: tuple[MemoryWatch, Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, held = watch
    for seen, done in [
        (group(99 * MIB, 100 * MIB, file=60 * MIB), []),
        (group(90 * MIB, 100 * MIB), ["shed", False]),
        (group(99 * MIB, 100 * MIB), ["shed", True]),
        (group(99 * MIB, 0), [False]),
    ]:
        monkeypatch.setattr(memory_watch, "own_group", lambda seen=seen: seen)
        held.done = []
        finish(made.tick(0.0))
        assert held.done == done


def test_runtime_is_what_the_empty_server_holds(watch: tuple[MemoryWatch, Held]) -> None:
    made, _ = watch
    made.ready()
    assert 5 * MIB < made._budgets.named("runtime").used < 2000 * MIB


def test_trend_leaves_the_start_out_and_stays_small() -> None:
    trend = Trend()
    for second in range(100_000):
        trend.add(float(second), 10**9 if second < 100 else 1000 * second)
    assert trend.slope() == 3_600_000
    assert len(trend._points) <= memory_watch.SLOPE_POINTS_MAX
    assert Trend().slope() == 0


def test_a_stuck_receiver_stops_the_sender_and_nothing_is_lost() -> None:
    size, count = 100_000, 200

    async def main() -> None:
        async with millpond.Server(jetstream=False, memory_bytes=16 * MIB) as server:
            output = server.broker.output
            reader, receiver = await asyncio.open_connection("127.0.0.1", server.port)
            receiver.write(b"CONNECT {}\r\nSUB a 1\r\nPING\r\n")
            await reader.readuntil(b"PONG\r\n")
            receiver.transport.pause_reading()
            _, sender = await asyncio.open_connection("127.0.0.1", server.port)
            sender.write(b'CONNECT {"verbose":false}\r\n')
            for _ in range(count):
                sender.write(b"PUB a %d\r\n%s\r\n" % (size, b"x" * size))
            while not any(session.info(False).stalls for session in server.broker.sessions.values()):
                await asyncio.sleep(0)
            assert output.bytes_max // 2 <= output.used <= output.bytes_max + 2 * size
            receiver.transport.resume_reading()
            whole = len(b"MSG a 1 %d\r\n" % size) + size + 2
            got = 0
            while got < count * whole:
                got += len(await reader.read(1 << 20))
            assert got == count * whole
            sender.close()
            receiver.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_streams_refuse_while_memory_is_out() -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=True) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            config = b'{"name":"S","subjects":["s"],"storage":"memory"}'
            writer.write(b'CONNECT {"verbose":false}\r\nSUB r 1\r\n')
            writer.write(b"PUB $JS.API.STREAM.CREATE.S r %d\r\n%s\r\n" % (len(config), config))
            await reader.readuntil(b'"did_create":true}')
            held = server.memory.watched
            assert isinstance(held, JetStreamMemory)
            for refusing, answer in ((True, b'"err_code":10023'), (False, b'"seq":1'), (False, b'"seq":2')):
                held.refuse(refusing)
                writer.write(b"PUB s r 5\r\nhello\r\n")
                line = await reader.readuntil(b"}\r\n")
                assert answer in line, line
            memory = held.memory()
            assert memory["messages"] > 10 and memory["subjects"] > 1000
            writer.close()

    asyncio.run(asyncio.wait_for(main(), 10))


async def batch_under_way(server: millpond.Server) -> tuple[int, int]:
    """Bytes of the buffers' budget before and while messages wait for the commit of their batch."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    config = b'{"name":"B","subjects":["b"],"storage":"memory","allow_atomic":true}'
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\nSUB r 1\r\n')
    writer.write(b"PUB $JS.API.STREAM.CREATE.B r %d\r\n%s\r\n" % (len(config), config))
    await reader.readuntil(b'"did_create":true}')
    before = server.memory.watched.memory()["buffers"]
    headers = b"NATS/1.0\r\nNats-Batch-Id: x\r\nNats-Batch-Sequence: 1\r\n\r\n"
    writer.write(b"HPUB b r %d %d\r\n%s%s\r\n" % (len(headers), len(headers) + 50_000, headers, bytes(50_000)))
    await reader.readuntil(b"MSG r 1 0\r\n\r\n")
    writer.close()
    return before, server.memory.watched.memory()["buffers"]


def test_messages_that_wait_for_their_batch_are_in_a_budget() -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=True) as server:
            before, meanwhile = await batch_under_way(server)
            assert 50_000 < meanwhile - before < 51_000

    asyncio.run(asyncio.wait_for(main(), 10))


def test_limits_come_from_the_machine_unless_given() -> None:
    options = millpond.Server(jetstream=True).options.jetstream
    assert options is not None and options.max_memory > MIB and options.max_file > MIB
    given = with_machine_limits(Options(jetstream=JetStreamOptions(max_memory=5, max_file=0))).jetstream
    assert given is not None and (given.max_memory, given.max_file) == (5, 0)


def test_many_streams_are_asked_for_their_memory_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes meanwhile is not asked; the sums are the same as at once."""
    looked: list[str] = []
    streams = {f"S{number}": SimpleNamespace(name=f"S{number}", consumers={"c": None}) for number in range(1000)}
    engine = SimpleNamespace(
        streams=streams, batches=SimpleNamespace(bytes=1), held_bytes=lambda: 2, backup_bytes=lambda: 4
    )

    def parts(stream: Any) -> list[tuple[str, int]]:
        looked.append(stream.name)
        return [("subjects", 10), ("buffers", 100)]

    monkeypatch.setattr("millpond.jetstream.memory._parts", parts)
    memory = JetStreamMemory([cast(Any, engine)], ReadCache(), MIB)
    found: dict[str, int] = {}
    sizes = [0]
    for _ in memory.survey(found):
        sizes.append(len(looked))
        streams.pop("S999", None)
    assert max(after - before for before, after in pairwise(sizes)) * 2 <= limits.SURVEYED_PER_STEP
    assert len(sizes) > 3 and len(looked) == 999
    assert found == memory.memory() == {"read_cache": 0, "buffers": 7 + 99_900, "subjects": 9990}
