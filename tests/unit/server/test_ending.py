"""How a server ends with many clients: a share of them at a time."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.broker.session_rig import Wire

import millpond


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millpond.base.limits.SESSIONS_ENDED_PER_STEP", 1)


def run(scenario: object) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))  # type: ignore[arg-type]


def test_clients_are_ended_in_shares_and_others_may_run() -> None:
    async def main() -> None:
        server = millpond.Server()
        await server.start()
        wires = [await Wire.open(server) for _ in range(4)]
        for wire in wires:
            await wire.say(b"")
        stopping = asyncio.ensure_future(server.stop())
        left = []
        while not stopping.done():
            left.append(len(server.broker.sessions))
            await asyncio.sleep(0)
        assert {3, 2, 1} <= set(left)
        assert not server.is_running
        for wire in wires:
            assert b"-ERR" not in await wire.reader.read(), "to its end"

    run(main())


def test_who_stops_it_meanwhile_waits_and_a_second_time_is_none() -> None:
    async def main() -> None:
        server = millpond.Server()
        await server.start()
        wires = [await Wire.open(server) for _ in range(3)]
        for wire in wires:
            await wire.say(b"")
        await asyncio.gather(server.stop(), server.stop(), server.stop())
        assert not server.is_running
        await server.stop()
        await server.start()
        assert server.is_running
        await server.stop()

    run(main())


def test_a_stop_that_is_cut_short_leaves_nothing_open() -> None:
    async def main() -> None:
        server = millpond.Server()
        await server.start()
        wires = [await Wire.open(server) for _ in range(3)]
        for wire in wires:
            await wire.say(b"")
        stopping = asyncio.ensure_future(server.stop())
        while len(server.broker.sessions) == 3:
            await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert not server.is_running and not server.broker.sessions

    run(main())


def test_everybody_is_told_of_lame_duck_mode() -> None:
    async def main() -> None:
        settings = {"lame_duck_grace_period_ns": 1, "lame_duck_duration_ns": 2}
        server = millpond.Server(**settings)
        await server.start()
        wires = [await Wire.open(server) for _ in range(4)]
        for wire in wires:
            await wire.say(b"")
        await server.lame_duck_mode()
        for wire in wires:
            assert b'"ldm":true' in await wire.reader.read()

    run(main())
