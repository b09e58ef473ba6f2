"""Connections that may come from a load balancer: their deadline, and what a server holds and tells of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

import millpond
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config.options import Options
from millpond.server import reload

HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 4222\r\n"


async def opened(server: millpond.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """INFO has been read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    line = await reader.readline()
    assert line.startswith(b"INFO") and b"client_ip" not in line
    return reader, writer


def run(scenario: Callable[[millpond.Server], Awaitable[None]]) -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False, proxy_protocol=True) as server:
            await asyncio.wait_for(scenario(server), 20)
            assert server.broker.sessions == {}

    asyncio.run(main())


def time_is_over(server: millpond.Server) -> None:
    server.broker.turn.timers.run_due(server.broker.clock.mono_ns + 2 * limits.PROXY_HEADER_NS)
    server.broker.turn.wake()


@pytest.mark.parametrize("said", [b"", b"PRO", b"PROXY TCP4 192.0.2.1"])
def test_a_header_has_a_deadline(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: millpond.Server) -> None:
        reader, writer = await opened(server)
        writer.write(said)
        await writer.drain()
        time_is_over(server)
        with contextlib.suppress(ConnectionResetError):      # what it said was not read
            assert await reader.read() == b""
        assert server.broker.closed[-1].reason == "Protocol Violation"
        writer.close()

    run(scenario)
    assert "no header came in time" in caplog.text


def test_who_is_introduced_has_time(caplog: pytest.LogCaptureFixture) -> None:
    """The deadline is the header's alone."""

    async def scenario(server: millpond.Server) -> None:
        reader, writer = await opened(server)
        writer.write(HEADER + b"PING\r\n")
        assert await reader.readline() == b"PONG\r\n"
        (session,) = server.broker.sessions.values()
        assert (session.ip, session.port) == ("192.0.2.1", 56324)
        timers = server.broker.turn.timers
        assert timers.next_deadline() - server.broker.clock.mono_ns > limits.PROXY_HEADER_NS
        writer.close()
        while server.broker.sessions:
            await asyncio.sleep(0.001)

    run(scenario)
    assert "PROXY" not in caplog.text


def test_it_cannot_change_while_running() -> None:
    async def scenario(server: millpond.Server) -> None:
        with pytest.raises(OptionError, match="proxy_protocol"):
            reload.apply(server, Options(host="127.0.0.1", port=-1))

    run(scenario)
