"""A disk that stands still: who waits for it waits, and nobody else does."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from pathlib import Path
from typing import Final

import pytest

from .campaign import Server
from .check import read
from .load import STREAMS
from .test_failing_sync import LINUX, live
from .wire import Message, Wire

STALL_S: Final = float(os.environ.get("MILLPOND_STALL_S", "30"))
ROUND_TRIPS: Final = 500
STANDS_STILL: Final = "0 jetstream/"
"""Every sync of every file."""


class Echo:
    """A service of core NATS, and who asks it."""

    @classmethod
    async def open(cls, port: int) -> Echo:
        self = cls()
        self._service = await Wire.open(port, "echo", self._answer)
        self._client = await Wire.open(port, "asks")
        return self

    def _answer(self, message: Message) -> None:
        self._service.publish(message.reply, message.payload)

    async def round_trip(self) -> float:
        """Seconds."""
        began = time.perf_counter()
        await self._client.request(self._service.inbox("ask"), b"x")
        return time.perf_counter() - began

    def close(self) -> None:
        self._service.close()
        self._client.close()


async def stalled(server: Server, control: Path, seconds: float) -> tuple[list[float], list[float]]:
    """Round trips of core NATS before and during a stall of at least so long, while publishes wait."""
    wire, echo = await Wire.open(server.port, "stall"), await Echo.open(server.port)
    for configuration in (*STREAMS[:2], {**STREAMS[0], "name": "MEMORY", "subjects": ["memory"], "storage": "memory"}):
        body = json.dumps({**configuration, "max_msgs_per_subject": -1}).encode()
        assert b'"error"' not in (await wire.request(f"$JS.API.STREAM.CREATE.{configuration['name']}", body)).payload
    for subject in ("log.a", "last.a"):
        assert b'"seq":1' in (await wire.request(subject, b"1")).payload
    before = [await echo.round_trip() for _ in range(ROUND_TRIPS)]
    control.write_text(STANDS_STILL)
    seen = Path(f"{control}.seen")
    waiting = [asyncio.ensure_future(wire.request(subject, b"2")) for subject in ("log.a", "last.a")]
    while len(seen.read_text().splitlines() if seen.exists() else ()) < len(waiting):
        await asyncio.sleep(0.005)  # nothing tells us: the file is the server's
    began, during = time.monotonic(), []
    while len(during) < ROUND_TRIPS or time.monotonic() < began + seconds:
        during.append(await echo.round_trip())
    more = [asyncio.ensure_future(wire.request("log.a", b"%d" % number)) for number in range(3, 100)]
    assert b'"seq":1' in (await wire.request("memory", b"1")).payload, "a memory stream has no disk to wait for"
    assert b'"messages":1' in (await wire.request("$JS.API.STREAM.INFO.MEMORY")).payload
    assert not any(answer.done() for answer in (*waiting, *more)), "nothing is answered that is not on disk"
    control.unlink()
    assert all(b'"seq":2' in answer.payload for answer in await asyncio.gather(*waiting))
    assert [json.loads(answer.payload)["seq"] for answer in await asyncio.gather(*more)] == list(range(3, 100))
    wire.close()
    echo.close()
    return before, during


async def everything_is_there(server: Server) -> None:
    wire = await Wire.open(server.port, "check")
    found = await read(server.port, wire, "LOG")
    assert [found.messages[seq][1] for seq in range(1, 100)] == [b"%d" % seq for seq in range(1, 100)]
    wire.close()


@LINUX
def test_core_nats_goes_on_while_the_disk_stands_still(tmp_path: Path) -> None:
    async def before(server: Server, control: Path) -> None:
        await stalled(server, control, 0)

    live(tmp_path, "", before, everything_is_there)


@LINUX
@pytest.mark.slow
def test_a_long_stall(tmp_path: Path) -> None:
    async def before(server: Server, control: Path) -> None:
        idle, during = await stalled(server, control, STALL_S)
        usual_us, now_us = statistics.median(idle) * 1e6, statistics.median(during) * 1e6
        print(f"a stall of {STALL_S:g} s: round trips of core NATS, {usual_us:.0f} us before, {now_us:.0f} us during "
              f"({now_us / usual_us:.2f}), longest {max(idle) * 1e3:.1f} and {max(during) * 1e3:.1f} ms")  # fmt: skip

    live(tmp_path, "", before, everything_is_there)
