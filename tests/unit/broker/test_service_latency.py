"""What is measured of requests to imported services; what is told, the conformance scenarios compare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from session_rig import Wire
from tenants_rig import client, pub, run, until

import millpond
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.broker import service_latency
from millpond.broker.service_latency import Meter, Report
from millpond.config.security import Latency

CONFIG = """
accounts {
  EXP {
    users: [ { user: exp, pass: x } ]
    exports: [ { service: slow, threshold: "50ms", latency: told }, { service: kept, latency: told } ]
  }
  IMP {
    users: [ { user: imp, pass: x } ]
    imports: [ { service: { account: EXP, subject: slow } }, { service: { account: EXP, subject: kept } } ]
  }
}
"""


async def events(wire: Wire, count: int) -> list[int]:
    """The status of the next `count` events."""
    found = []
    while len(found) < count:
        line = await wire.reader.readline()
        assert line, "the server hung up"
        if line.startswith(b"MSG told"):
            found.append(json.loads(await wire.reader.readexactly(int(line.split()[-1])))["status"])
    return found


def test_so_many_of_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100))
    monkeypatch.setattr(service_latency, "random_below", lambda bound: next(numbers))
    told: list[Report] = []
    meter = Meter(Latency("told", 40), "EXP", False, "server", told.append)
    measured = [meter.begin(None, b"", 0, 0) for _ in range(100)]
    assert sum(each is not None for each in measured) == 40


def test_many_that_nobody_answers(tmp_path: Path) -> None:
    """More than one step looks at; each is told once, and nothing is held for them any more."""
    count = 3 * limits.SERVICE_RESPONSES_PER_STEP + 1

    async def scenario(server: millpond.Server) -> None:
        ear = await client(server, "exp", b"SUB told 1\r\n")
        serves = await client(server, "exp", b"SUB slow 1\r\n")
        imp = await client(server, "imp", b"SUB inbox 1\r\n")
        imp.writer.write(pub(b"slow", b"", b"inbox") * count)
        assert await events(ear, count) == [service_latency.TIMEOUT] * count
        assert server.broker.answers.used == 0
        imp.writer.write(pub(b"slow"))
        assert await events(ear, 1) == [service_latency.NO_REPLY], "none of them was told twice"
        serves.writer.close()

    run(tmp_path, CONFIG, scenario)


def test_what_is_measured_counts_for_who_asks(tmp_path: Path) -> None:
    """Who asks for more answers than there is room for gives up its own oldest requests, and that is told."""

    async def scenario(server: millpond.Server) -> None:
        ear = await client(server, "exp", b"SUB told 1\r\n")
        serves = await client(server, "exp", b"SUB kept 1\r\n")
        imp = await client(server, "imp", b"SUB inbox 1\r\n")
        imp.writer.write(pub(b"kept", b"", b"inbox"))
        await until(lambda: server.broker.answers.used > 0)
        assert server.broker.answers.used >= service_latency.MEASURED_BYTES
        most = server.broker.answers.bytes_max
        imp.writer.write(pub(b"kept", b"", b"inbox") * (most // service_latency.MEASURED_BYTES))
        assert await events(ear, 1) == [service_latency.TIMEOUT]
        assert server.broker.answers.used <= most
        serves.writer.close()

    run(tmp_path, CONFIG, scenario)


def test_without_a_system_account_nobody_tells(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="system account not setup"):
        run(tmp_path, f"no_system_account: true\n{CONFIG}", lambda server: until(lambda: True))
