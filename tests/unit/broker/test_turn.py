"""The turn inside a running server: one part's failure stays its own, and no deadline is slept through."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from millpond.broker.timers import CallbackTimer

import millpond

CONNECT = b'CONNECT {"verbose":false,"pedantic":false}\r\n'


def boom() -> None:
    raise RuntimeError("boom")


def test_a_timer_that_raises_takes_no_output_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await reader.readline()
            timers = server.broker.turn.timers
            for _ in range(3):
                timers.start(CallbackTimer(boom), 1)  # overdue: fires in the turn that answers
                writer.write(CONNECT + b"PING\r\n")
                assert await asyncio.wait_for(reader.readline(), 5) == b"PONG\r\n"
            writer.close()

    with caplog.at_level(logging.ERROR, "millpond"):
        asyncio.run(main())
    assert "a timer failed" in caplog.text


def test_a_timer_armed_outside_a_turn_fires_in_a_server_without_traffic() -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False) as server:
            fired = asyncio.Event()
            late = CallbackTimer(boom)
            server.broker.turn.timers.start(late, time.monotonic_ns() + 3_600_000_000_000)
            await asyncio.sleep(0)
            server.broker.turn.timers.start(CallbackTimer(fired.set), time.monotonic_ns() + 10_000_000)
            await asyncio.wait_for(fired.wait(), 5)
            assert server.broker.turn.timers.next_deadline() == late.deadline_ns

    asyncio.run(main())
