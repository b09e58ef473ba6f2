"""A thousand hostile connections at once, on a server with 64 MiB: clients go on, nothing is killed, memory comes back.

Run with -s for the figures. Where memory groups can be made the server runs in one of 64 MiB, else its resident
memory is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from millpond.base import cgroup, process_memory
from millpond.base.limits import MIB
from millpond.cli.bench_memory_target import Fence

pytestmark = pytest.mark.slow

CROWD = 1000
SECONDS = 20.0
WARM_UP_SECONDS = 5.0
LIMIT_BYTES = 64 * MIB
BACK_WITHIN_BYTES = 3 * MIB
"""What the allocator and the ring of closed connections may keep."""
HASH = "$2b$10$vpbxisLrOhFFluXJKjRoY.3Bi.vtY4bR3u2krbyeb8kEDDbVljxjK"
CONFIG = f"""
accounts {{
  GOOD {{ users: [ {{ user: good, pass: right }}, {{ user: hashed, pass: "{HASH}" }} ] }}
  BAD {{ users: [ {{ user: bad, pass: right }} ] }}
}}
jetstream {{ store_dir: "STORE" }}
"""
class Figures:
    def __init__(self) -> None:
        self.attacks = 0
        self.waits: dict[str, list[float]] = {"before": [], "during": [], "after": []}
        self.logins = self.refused = 0
        self.peak = 0

    def p99_ms(self, phase: str) -> float:
        waits = sorted(self.waits[phase])
        return waits[len(waits) * 99 // 100] * 1000


class Crowded:
    """The server, its group if there is one, and what is measured of it."""

    def __init__(self, directory: Path, group: cgroup.MemoryGroup | None) -> None:
        self.group = group
        config = directory / "server.conf"
        config.write_text(CONFIG.replace("STORE", str(directory / "store")))
        self.log = directory / "log"
        command = [
            sys.executable, "-m", "millpond", "serve", "-a", "127.0.0.1", "-p", "-1", "-c", str(config),
            "--ports_file_dir", str(directory),
        ]  # fmt: skip
        if group is None:
            command += ["--memory", f"{LIMIT_BYTES // MIB}MiB"]
        else:
            bound = "memory.limit_in_bytes" if group.version == 1 else "memory.max"
            Path(group.directory, bound).write_text(str(LIMIT_BYTES))
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(Path(group.directory, "cgroup.procs")), *command]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.port = self._port(directory)

    def _port(self, directory: Path) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            for path in directory.glob("*.ports"):
                with contextlib.suppress(ValueError):
                    return int(json.loads(path.read_text())["nats"][0].rpartition(":")[2])
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def used(self) -> int:
        """What cannot be taken back by the kernel: of the group, or the process' own."""
        if self.group is None:
            return process_memory.read(self.process.pid).rss
        seen = cgroup.read(self.group)
        return seen.usage - seen.inactive_file - seen.active_file

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Crowded]:
    fence = Fence()
    server = Crowded(tmp_path, fence.group("crowd"))
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        fence.close()


async def client(port: int, user: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connect = {"user": user, "pass": "right", "verbose": False}
    writer.write(b"CONNECT " + json.dumps(connect).encode() + b"\r\nPING\r\n")
    await reader.readuntil(b"PONG\r\n")
    return reader, writer


@contextlib.asynccontextmanager
async def running(*works: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def conversation(port: int, figures: Figures, phase: Callable[[], str]) -> None:
    """Two clients of the good tenant: each message goes there and back."""
    near, near_writer = await client(port, "good")
    far, far_writer = await client(port, "good")
    far_writer.write(b"SUB there 1\r\n")
    near_writer.write(b"SUB back 1\r\n")
    while True:
        began = time.perf_counter()
        near_writer.write(b"PUB there 4\r\nping\r\n")
        await far.readuntil(b"ping\r\n")
        far_writer.write(b"PUB back 4\r\npong\r\n")
        await near.readuntil(b"pong\r\n")
        figures.waits[phase()].append(time.perf_counter() - began)
        await asyncio.sleep(0.005)


async def logins(port: int, figures: Figures) -> None:
    for user in itertools.cycle(("good", "hashed")):
        try:
            _, writer = await asyncio.wait_for(client(port, user), 5)
            writer.close()
            figures.logins += 1
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            figures.refused += 1
        await asyncio.sleep(0.1)


async def measured(server: Crowded, figures: Figures) -> None:
    while True:
        figures.peak = max(figures.peak, server.used())
        await asyncio.sleep(0.1)


async def hostile(port: int) -> asyncio.subprocess.Process:
    command = [sys.executable, str(Path(__file__).with_name("hostile_crowd.py")), str(port), str(CROWD)]
    return await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def besieged(server: Crowded, figures: Figures) -> tuple[int, int]:
    phase = "before"
    async with running(conversation(server.port, figures, lambda: phase)):
        crowd = await hostile(server.port)           # what is loaded when it is first needed is loaded now
        await asyncio.sleep(WARM_UP_SECONDS)
        await crowd.communicate(b"")
        await asyncio.sleep(3)
        figures.waits["before"].clear()
        await asyncio.sleep(2)
        before = server.used()
        phase = "during"
        crowd = await hostile(server.port)
        async with running(logins(server.port, figures), measured(server, figures)):
            await asyncio.sleep(SECONDS)
        said, _ = await crowd.communicate(b"")
        figures.attacks = int(said)
        phase = "after"
        deadline = time.monotonic() + 30
        while (after := server.used()) > before + BACK_WITHIN_BYTES and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
    return before, after


def test_a_thousand_hostile_connections_in_64_mib(crowded: Crowded) -> None:
    figures = Figures()
    before, after = asyncio.run(besieged(crowded, figures))
    where = "group of 64 MiB" if crowded.group is not None else "resident memory"
    print(
        f"\n{CROWD} hostile connections for {SECONDS:g} s ({figures.attacks} in all), {where}\n"
        f"  memory  before {before / MIB:.1f} MiB, peak {figures.peak / MIB:.1f}, after {after / MIB:.1f}\n"
        + "".join(
            f"  p99     {phase} {figures.p99_ms(phase):.1f} ms of {len(figures.waits[phase])} round trips\n"
            for phase in figures.waits
        )
        + f"  logins  {figures.logins} right ones let in, {figures.refused} refused"
    )
    assert crowded.process.poll() is None, f"the server is gone: {crowded.log.read_text()[-2000:]}"
    assert figures.peak < LIMIT_BYTES
    assert after <= before + BACK_WITHIN_BYTES
    assert figures.logins > 0 and figures.refused == 0
    assert len(figures.waits["during"]) > 100
    assert "Traceback" not in crowded.log.read_text()
    assert crowded.stop() == 0
