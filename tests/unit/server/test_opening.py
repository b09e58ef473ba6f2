"""A start with many streams: the loop lives, the log tells, and nothing works on what is not all there."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import nats
import pytest

import millpond
from millpond.base.errors import StoreError
from millpond.server import opening
from millpond.server.opening import Progress


def test_progress_is_told_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "millpond")
    now_s = 0.0
    progress = Progress("A", lambda: now_s)
    for done in range(1, 1001):
        now_s += 0.003
        progress.step(done, 1000)
    progress.end(1000)
    assert [record.getMessage().strip() for record in caplog.records] == [
        "Restored 334 of 1,000 streams of account 'A', about 2 s left",
        "Restored 668 of 1,000 streams of account 'A', about 1 s left",
        "Restored 1,000 streams of account 'A' in 3.000 s",
    ]


def test_a_short_start_tells_the_count_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "millpond")
    progress = Progress("A", lambda: 0.0)
    progress.step(1, 1)
    progress.end(1)
    Progress("B", lambda: 0.0).end(0)
    assert [record.getMessage() for record in caplog.records] == ["  Restored 1 streams of account 'A' in 0.000 s"]


def test_the_loop_lives_while_streams_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for its health is told that it is not ready. One stream's republishing reaches another one, whichever of
    them is opened first: nothing fires before all are there."""
    monkeypatch.setattr(opening, "SLICE_S", 0.0)

    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            client = await nats.connect(server.client_url)
            js = client.jetstream()
            for number in range(20):
                await js.add_stream(name=f"S{number}", subjects=[f"s.{number}"], storage="file")
                await js.publish(f"s.{number}", b"x")
            await client.close()
        server = millpond.Server(store_dir=str(tmp_path))
        starting = asyncio.ensure_future(server.start())
        rounds, turns = 0, server.broker.turn.turns
        while not starting.done():
            await asyncio.sleep(0)
            rounds += not server.view.ready
            if server.view.jetstream is None:
                assert server.broker.turn.turns == turns, "no turn before all streams are there"
        await starting
        assert rounds >= 20
        client = await nats.connect(server.client_url)
        assert len(await client.jetstream().streams_info()) == 20
        assert (await client.jetstream().publish("s.7", b"y")).seq == 2
        await client.close()
        await server.stop()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_server_that_is_stopped_while_it_opens_its_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SLICE_S", 0.0)

    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            client = await nats.connect(server.client_url)
            for number in range(5):
                await client.jetstream().add_stream(name=f"S{number}", subjects=[f"s.{number}"], storage="file")
            await client.close()
        server = millpond.Server(store_dir=str(tmp_path))
        starting = asyncio.ensure_future(server.start())
        while len(server.broker.accounts["$G"].router.sublist.statistics()) == 0 or not server.is_running:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        await server.stop()
        with pytest.raises(StoreError, match="was stopped"):
            await starting
        async with millpond.Server(store_dir=str(tmp_path)) as server:      # nobody holds the directory
            client = await nats.connect(server.client_url)
            assert len(await client.jetstream().streams_info()) == 5
            await client.close()

    asyncio.run(asyncio.wait_for(main(), 60))
