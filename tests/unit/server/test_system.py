"""The system account inside a running server: cheap without listeners, bounded for those who ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import accounts_rig
import nats
import pytest
from accounts_rig import client, options

import millpond
from millpond.base import limits
from millpond.monitor import system_events
from millpond.server import reload, system

CONFIG = """
accounts {
  SYS { users: [ { user: sys, pass: x } ] }
  A { users: [ { user: a, pass: x } ] }
}
system_account: SYS
"""


def run(tmp_path: Path, scenario: Callable[[millpond.Server], Awaitable[None]], text: str = CONFIG) -> None:
    accounts_rig.run(tmp_path, text, scenario)


def test_nothing_is_made_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a listener no document is built, however many clients come and go."""
    made: list[object] = []

    async def scenario(server: millpond.Server) -> None:
        monkeypatch.setattr(system_events, "encode", lambda event: made.append(event) or b"{}")
        for _ in range(3):
            await (await client(server, "a")).close()
        assert made == []
        listener = await client(server, "sys")
        await listener.subscribe("$SYS.ACCOUNT.A.CONNECT")
        await listener.flush()
        await (await client(server, "a")).close()
        assert len(made) == 1
        await listener.close()

    run(tmp_path, scenario)


def test_a_server_without_a_system_account(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        assert server.broker.events is None
        nc = await nats.connect(server.client_url)
        with pytest.raises(nats.errors.NoRespondersError):
            await nc.request("$SYS.REQ.USER.INFO", b"")
        await nc.close()

    run(tmp_path, scenario, "no_system_account: true")


def test_accounts_that_come_with_a_reload_are_served(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        text = CONFIG.replace("\n}\nsystem", "\n  N { users: [ { user: n, pass: x } ] }\n}\nsystem")
        assert text != CONFIG
        for _ in range(2):
            reload.apply(server, options(tmp_path, text))
            nc = await client(server, "n")
            answer = json.loads((await nc.request("$SYS.REQ.USER.INFO", b"")).data)
            assert answer["data"]["account"] == "N"
            await nc.close()
            reload.apply(server, options(tmp_path, CONFIG))

    run(tmp_path, scenario)


def test_an_account_that_asks_too_much_does_not_starve_the_system(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 16 * limits.SYSTEM_REQUESTS_MAX
    answered = 0

    async def scenario(server: millpond.Server) -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
        writer.write(b'CONNECT {"verbose":false,"user":"a","pass":"x"}\r\nSUB in 1\r\n')
        writer.write(b"PUB $SYS.REQ.ACCOUNT.PING.CONNZ in 0\r\n\r\n" * asked)
        operator = await client(server, "sys")
        assert json.loads((await operator.request("$SYS.REQ.SERVER.PING.IDZ", b"")).data)["id"]
        while server._system is not None and server._system._worker is not None:
            await asyncio.sleep(0)
        writer.write(b"SUB last 2\r\nPUB $SYS.REQ.ACCOUNT.PING.STATZ last 0\r\n\r\n")
        while b"MSG last 2 " not in (line := await asyncio.wait_for(reader.readline(), 10)):
            answered += line.startswith(b"MSG in 1 ")
        writer.close()
        await operator.close()

    run(tmp_path, scenario)
    assert 0 < answered < asked
    warnings = caplog.text.count("Too many requests wait under $SYS.REQ in account A")
    assert 0 < warnings < asked - answered


def test_an_idle_server_is_left_alone(tmp_path: Path) -> None:
    """Timers that nobody listens to make no turn."""

    async def scenario(server: millpond.Server) -> None:
        nc = await client(server, "a")
        await nc.flush()
        part, turns = server._system, server.broker.turn.turns
        assert part is not None
        part._statsz_due()
        part._connections_due()
        await asyncio.sleep(0)
        assert server.broker.turn.turns == turns
        await nc.close()

    run(tmp_path, scenario)


def test_statistics_come_often_at_first_and_never_stop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pauses: list[float] = []

    async def scenario(server: millpond.Server) -> None:
        part = server._system
        assert part is not None
        monkeypatch.setattr(part, "_loop", Recorder(pauses))
        for _ in range(7):
            part._statsz_due()

    run(tmp_path, scenario)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert system.STATSZ_FIRST_S == 0.25


class Recorder:
    """Takes timers and never fires them."""

    def __init__(self, pauses: list[float]) -> None:
        self._pauses = pauses

    def call_later(self, pause: float, callback: Callable[[], None]) -> Recorder:
        self._pauses.append(pause)
        return self

    def cancel(self) -> None: ...
