"""A device that stands still under the store, file system and all: frozen, or allowed to write one byte a second.

The stall ends when so many requests of core NATS were answered meanwhile: a server that waits for the disk fails the
test, not a clock. Takes root and Linux.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.prove.disks import MEMORY, PowerDisk, why_not

from .campaign import Server
from .test_stalled_disk import ROUND_TRIPS, STALL_S, Echo
from .wire import Wire

FIFREEZE: Final = 0xC0045877
FITHAW: Final = 0xC0045878
THROTTLE: Final = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")
"""Of the root group: what the kernel writes back belongs to it, whoever has written it."""
IN_FLIGHT: Final = 20
"""Publishes of each stream that wait for their acknowledgement."""
CHECKED: Final = 1000
"""Of the messages that were acknowledged, the newest of each stream."""
NOTICED_S: Final = 0.01
"""Who asks for a file in the millisecond in which the disk stops may wait with it; nobody is told when that is over."""
BURST: Final = 64
BURST_BYTES: Final = 4000


class Frozen:
    """The file system lets nobody write: neither into its files nor into its directories."""

    def __init__(self, mounted: Path) -> None:
        self._mounted = mounted

    def _ask(self, what: int) -> None:
        fd = os.open(self._mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, what, 0)
        finally:
            os.close(fd)

    def stop(self) -> None:
        self._ask(FIFREEZE)

    def go_on(self) -> None:
        with contextlib.suppress(OSError):                 # it does
            self._ask(FITHAW)


class Throttled:
    """What is in the kernel's memory does not reach the device; what needs that waits."""

    def __init__(self, mounted: Path) -> None:
        number = mounted.stat().st_dev
        self._device = f"{os.major(number)}:{os.minor(number)}"

    def stop(self) -> None:
        THROTTLE.write_text(f"{self._device} 1")

    def go_on(self) -> None:
        THROTTLE.write_text(f"{self._device} 0")


class Load:
    """Publishers that wait for their answers, and remember what was acknowledged; and some that do not wait."""

    def __init__(self, wire: Wire, is_heavy: bool) -> None:
        self._wire, self._stop = wire, asyncio.Event()
        self.acknowledged: dict[str, dict[int, bytes]] = {"A": {}, "B": {}}
        self._tasks = [asyncio.ensure_future(self._publish(name)) for name in "AB" for _ in range(IN_FLIGHT)]
        if is_heavy:
            self._tasks += [asyncio.ensure_future(self._pour(name)) for name in "CD"]

    async def _publish(self, name: str) -> None:
        while not self._stop.is_set():
            body = os.urandom(100)
            answer = json.loads((await self._wire.request(f"{name}.x", body)).payload)
            assert "error" not in answer, answer
            self.acknowledged[name][answer["seq"]] = body

    async def _pour(self, name: str) -> None:
        while not self._stop.is_set():
            for _ in range(BURST):
                self._wire.publish(f"{name}.x", bytes(BURST_BYTES))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.005)

    async def end(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)


async def changes(wire: Wire) -> list[Any]:
    """What has to do with files, while the disk stands still."""

    async def ask(verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        payload = json.dumps(body).encode() if body is not None else b""
        answer: dict[str, Any] = json.loads((await wire.request(f"$JS.API.{verb}", payload)).payload)
        return answer

    return list(await asyncio.gather(
        ask("STREAM.CREATE.NEW", {"name": "NEW", "subjects": ["NEW.>"], "storage": "file"}),
        ask("CONSUMER.DURABLE.CREATE.A.c", {"stream_name": "A", "config": {"durable_name": "c"}}),
        ask("STREAM.PURGE.E"), ask("STREAM.DELETE.F"),
        ask("STREAM.UPDATE.E", {**file_stream("E"), "description": "new"}),
    ))  # fmt: skip


async def bodies(wire: Wire, name: str, seqs: list[int]) -> dict[int, bytes]:
    async def one(seq: int) -> bytes:
        answer = await wire.request(f"$JS.API.STREAM.MSG.GET.{name}", json.dumps({"seq": seq}).encode())
        return base64.b64decode(json.loads(answer.payload)["message"]["data"])

    return dict(zip(seqs, await asyncio.gather(*map(one, seqs)), strict=True))


def file_stream(name: str) -> dict[str, Any]:
    return {"name": name, "subjects": [f"{name}.>"], "storage": "file"}


async def stalled(
    server: Server, device: Frozen | Throttled, seconds: float, is_heavy: bool
) -> tuple[list[float], list[float]]:
    """Round trips before there was any load, and during the stall, which ends when enough of them were made."""
    wire, asks = await Wire.open(server.port, "load"), await Wire.open(server.port, "asks")
    echo = await Echo.open(server.port)
    for name in "ABCDEF":
        answer = await asks.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(file_stream(name)).encode())
        assert b'"error"' not in answer.payload
    before = [await echo.round_trip() for _ in range(ROUND_TRIPS)]
    load = Load(wire, is_heavy)
    for _ in range(ROUND_TRIPS):
        await echo.round_trip()
    device.stop()
    await asyncio.sleep(NOTICED_S)
    changed = asyncio.ensure_future(changes(asks))
    began, during = time.monotonic(), []
    while len(during) < ROUND_TRIPS or time.monotonic() < began + seconds:
        during.append(await echo.round_trip())
    device.go_on()
    assert [answer.get("error") for answer in await changed] == [None] * 5
    await load.end()
    for name, acknowledged in load.acknowledged.items():
        newest = {seq: acknowledged[seq] for seq in sorted(acknowledged)[-CHECKED:]}
        assert newest and await bodies(asks, name, list(newest)) == newest
    for each in (wire, asks, echo):
        each.close()
    return before, during


@pytest.fixture(scope="module")
def mounted() -> Iterator[Path]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with PowerDisk(MEMORY / f"millpond-still-{os.getpid()}") as disk:
        yield disk.mounted


@pytest.mark.slow
@pytest.mark.parametrize("is_heavy", [False, True], ids=["light", "heavy"])
@pytest.mark.parametrize("kind", [Frozen, Throttled])
def test_core_nats_goes_on_while_the_device_stands_still(mounted: Path, kind: type, is_heavy: bool) -> None:
    if kind is Throttled and not os.access(THROTTLE, os.W_OK):
        pytest.skip(f"no {THROTTLE}")
    folder = mounted / f"{kind.__name__}-{is_heavy}"
    folder.mkdir()
    device, server = kind(mounted), Server(folder, "always")
    server.start()
    try:
        idle, during = asyncio.run(asyncio.wait_for(stalled(server, device, STALL_S, is_heavy), 60 + STALL_S))
    finally:
        device.go_on()
        server.stop()
    usual_us, now_us = statistics.median(idle) * 1e6, statistics.median(during) * 1e6
    print(f"{kind.__name__.lower()}, {'heavy' if is_heavy else 'light'} load, {STALL_S:g} s: round trips of core NATS, "
          f"{usual_us:.0f} us before, {now_us:.0f} us during ({now_us / usual_us:.2f}), longest "
          f"{max(idle) * 1e3:.1f} and {max(during) * 1e3:.1f} ms")  # fmt: skip
