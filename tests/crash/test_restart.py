"""The executable, killed without warning: what was acknowledged is there again, for streams and for consumers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats
import pytest
from nats.js.api import ConsumerConfig, StreamConfig

from ..conformance.target import MILLPOND, Target


@pytest.fixture
def server():
    target = Target(MILLPOND).start()
    yield target
    target.discard()


@contextlib.asynccontextmanager
async def client(target: Target) -> AsyncIterator[nats.NATS]:
    connection = await nats.connect(target.url, allow_reconnect=False, error_cb=_ignore)
    try:
        yield connection
    finally:
        with contextlib.suppress(asyncio.CancelledError, OSError):     # the server may be gone
            await connection.close()


async def _ignore(error: Exception) -> None:
    pass


async def stored(js, name: str) -> dict[int, tuple[str, bytes, dict | None]]:
    """Every message of a stream, by sequence."""
    info = await js.stream_info(name)
    found = {}
    for seq in range(info.state.first_seq, info.state.last_seq + 1):
        with contextlib.suppress(nats.js.errors.NotFoundError):
            message = await js.get_msg(name, seq)
            found[seq] = (message.subject, message.data, message.headers)
    assert len(found) == info.state.messages
    return found


@pytest.mark.parametrize("kill", [True, False])
def test_everything_acknowledged_is_there_after_a_restart(server: Target, kill: bool) -> None:
    async def before() -> tuple:
        async with client(server) as nc:
            js = nc.jetstream()
            await js.add_stream(StreamConfig(name="S", subjects=["s.>"], storage="file", max_msgs_per_subject=20))
            for number in range(300):
                headers = {"N": str(number)} if number % 3 == 0 else None
                await js.publish(f"s.{number % 10}", b"%d" % number, headers=headers)
            await js.delete_msg("S", 150)
            await js.purge_stream("S", subject="s.4", keep=1)
            await js.add_consumer("S", ConsumerConfig(durable_name="C", ack_policy="explicit"))
            subscription = await js.pull_subscribe_bind("C", "S")
            messages = await subscription.fetch(40, timeout=5)
            for message in messages[:30]:
                await message.ack_sync()
            return await stored(js, "S"), (await js.stream_info("S")).state, messages[29].metadata.sequence.stream

    async def after() -> tuple:
        async with client(server) as nc:
            js = nc.jetstream()
            info = await js.consumer_info("S", "C")
            assert (info.num_ack_pending, info.delivered.consumer_seq) == (10, 40)
            state = (await js.stream_info("S")).state
            contents = await stored(js, "S")
            ack = await js.publish("s.new", b"next")
            assert ack.seq == state.last_seq + 1
            return contents, state, info.ack_floor.stream_seq

    contents, state, floor = asyncio.run(before())
    for _ in range(2):
        server.restart(kill=kill)
        again, state_again, floor_again = asyncio.run(after())
        assert again == contents
        state_again.consumer_count = state.consumer_count
        assert (state_again, floor_again) == (state, floor)
        contents[state.last_seq + 1] = ("s.new", b"next", None)
        state = asyncio.run(state_of(server))
    assert " is lost" not in server.log() and "damaged" not in server.log()


async def state_of(server: Target):
    async with client(server) as nc:
        return (await nc.jetstream().stream_info("S")).state


def test_nothing_acknowledged_is_lost_when_killed_while_publishing(server: Target) -> None:
    acknowledged: set[int] = set()

    async def publish(round: int) -> None:
        async with client(server) as nc:
            js = nc.jetstream()
            if round == 0:
                await js.add_stream(StreamConfig(name="S", subjects=["s"], storage="file"))
            killed = asyncio.Event()

            async def one(number: int) -> None:
                ack = await js.publish("s", b"%d.%d" % (round, number), timeout=5)
                assert ack.seq not in acknowledged, "a sequence is issued once"
                acknowledged.add(ack.seq)
                if len(acknowledged) >= 200 * (round + 1):
                    killed.set()

            tasks = [asyncio.ensure_future(one(number)) for number in range(2000)]
            await asyncio.wait_for(killed.wait(), 60)
            server.stop(kill=True)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def check() -> None:
        async with client(server) as nc:
            js = nc.jetstream()
            state = (await js.stream_info("S")).state
            assert state.last_seq >= max(acknowledged)
            assert state.messages == state.last_seq, "nothing is missing in between"
            bodies = [(await js.get_msg("S", seq)).data for seq in sorted(acknowledged)[::7]]
            assert len(set(bodies)) == len(bodies)

    for round in range(3):
        asyncio.run(publish(round))
        server.start()
        asyncio.run(check())
