"""What can be done in the same way to both servers: kills, power cuts, flipped bits, a full disk.

Each case has a store of its own. Every acknowledgement is remembered by the client; after the fault a server is started
on what is left, and everything is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.crash.full_disk import Neighbour, small_disk

from .disks import MEMORY, PowerDisk, why_not
from .load import Acked, Found, Publisher, compare, create
from .servers import Kind, NotReady, Running, running
from .table import Row

LOAD_S: Final = (0.3, 2.0)
CUT_LOAD_S: Final = (0.5, 8.0)
"""Longer: what the kernel writes by itself, it writes every few seconds."""
DRAIN_S: Final = 0.1
STORED: Final = 10_000
OLD: Final = 1000
REFUSALS: Final = 300
STUCK_S: Final = 5.0
RESUME_S: Final = 10.0
LIMIT: Final = "max_file: 1GB"

Progress = Callable[[str], None]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="millpond-prove-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


class Sums:
    """The cases of one row, added up."""

    def __init__(self, what: str, kind: Kind, may_lose: bool = False) -> None:
        self.what, self.kind, self._may_lose = what, kind, may_lose
        self.cases = self.acked = self.lost = self.wrong = self.again = self.gone = self.untold = self.dead = 0
        self.most = self.hurt = 0
        self.notes: list[str] = []

    def add(self, found: Found) -> None:
        self.cases += 1
        self.acked += found.acked
        self.lost += found.lost
        self.wrong += found.wrong
        self.again += found.again
        self.gone += found.gone
        self.untold += found.untold
        self.hurt += bool(found.lost)
        self.most = max(self.most, found.lost)

    def does_not_start(self, acked: int) -> None:
        self.cases, self.dead, self.acked = self.cases + 1, self.dead + 1, self.acked + acked
        self.lost, self.hurt, self.most = self.lost + acked, self.hurt + 1, max(self.most, acked)

    @property
    def violations(self) -> int:
        """What must never be. A bit that flips may cost a message: then it is to be named."""
        lost = self.untold if self._may_lose else self.lost
        return lost + self.wrong + self.again + self.dead + self.gone

    def row(self, took_s: float, why: str = "") -> Row:
        words = [f"{self.acked} acknowledged", f"{self.lost} lost in {self.hurt} cases"]
        if self.lost:
            words.append(f"{self.most} at most")
            if self._may_lose:
                words.append(f"{self.untold} of them not named")
        words += [f"{count} {text}" for count, text in (
            (self.wrong, "with wrong bytes"), (self.again, "sequences issued again"), (self.gone, "streams gone"),
            (self.dead, "servers do not start"),
        ) if count]  # fmt: skip
        words += self.notes
        return Row(self.what, self.kind.name, self.cases, self.violations, took_s, why or ", ".join(words),
                   counts=self.kind.is_ours, ran=not why)  # fmt: skip


async def _load(server: Running, acked: Acked, seconds: float, end: Callable[[], None]) -> None:
    """Publishes for so long, then `end()` while it goes on; what still arrives counts."""
    publisher = Publisher(acked)
    task = asyncio.ensure_future(publisher.run(server.port))
    await asyncio.sleep(seconds)
    end()
    await asyncio.sleep(DRAIN_S)                   # what had been sent before arrives; more would only be more to find
    publisher.stop.set()
    await task
    publisher.wire.close()


def _judge(sums: Sums, kind: Kind, folder: Path, store: Path, acked: Acked) -> None:
    try:
        with running(kind, folder, store) as server:
            sums.add(asyncio.run(compare(server.port, acked)))
    except NotReady:
        sums.does_not_start(len(acked.by_seq))


def kills(kind: Kind, seconds: float, seed: int, progress: Progress) -> Row:
    """kill -9 in the middle of the load."""
    sums, rng, began = Sums("kill -9", kind), random.Random(seed), time.monotonic()
    while sums.cases == 0 or time.monotonic() - began < seconds:
        with _folder() as folder:
            acked, store = Acked(), folder / "store"
            with running(kind, folder, store) as server:
                asyncio.run(create(server.port))
                asyncio.run(_load(server, acked, rng.uniform(*LOAD_S), server.kill))
            _judge(sums, kind, folder, store, acked)
        progress(f"kill -9, {kind.name}: {sums.cases} cases, {sums.acked} acknowledged, {sums.lost} lost")
    return sums.row(time.monotonic() - began)


def power_cuts(kind: Kind, seconds: float, seed: int, progress: Progress) -> Row:
    """The server stands still, its acknowledgements are counted, then the disk forgets what was not synced. The stream
    and its first messages are older: they are on disk, whoever wrote them."""
    sums, rng, began = Sums("power cut, ext4", kind), random.Random(seed), time.monotonic()
    if not kind.promises:
        sums.notes = ["it promises nothing here"]
    why = why_not()
    while not why and (sums.cases == 0 or time.monotonic() - began < seconds):
        with _folder() as folder, PowerDisk(folder / "disk") as disk:
            acked, store = Acked(), disk.mounted / "store"
            with running(kind, folder / "server", store) as server:
                asyncio.run(create(server.port))
                asyncio.run(_fill(server.port, acked, OLD))
                disk.settle()
                asyncio.run(_load(server, acked, rng.uniform(*CUT_LOAD_S), server.freeze))
                disk.cut()
            disk.power_on()
            _judge(sums, kind, folder / "server", store, acked)
        progress(f"power cut, {kind.name}: {sums.cases} cases, {sums.acked} acknowledged, {sums.lost} lost")
    return sums.row(time.monotonic() - began, why)


def flips(kind: Kind, seconds: float, seed: int, progress: Progress) -> Row:
    """One bit of one file of a store at rest; every other time the file is chosen first, so that small ones are met."""
    sums, rng, began = Sums("a flipped bit at rest", kind, may_lose=True), random.Random(seed), time.monotonic()
    with _folder() as folder:
        acked, whole, store = Acked(), folder / "whole", folder / "store"
        with running(kind, folder, whole) as server:
            asyncio.run(create(server.port))
            asyncio.run(_fill(server.port, acked, STORED))
            server.stop()
        files = [path for path in sorted(whole.rglob("*")) if path.is_file() and path.stat().st_size]
        while sums.cases == 0 or time.monotonic() - began < seconds:
            shutil.rmtree(store, ignore_errors=True)
            shutil.copytree(whole, store)
            sizes = [path.stat().st_size for path in files]
            (path,) = [rng.choice(files)] if sums.cases % 2 else rng.choices(files, sizes)
            _flip(store / path.relative_to(whole), rng)
            _judge(sums, kind, folder, store, acked)
            progress(f"flipped bit, {kind.name}: {sums.cases} cases, {sums.lost} lost, {sums.wrong} wrong")
    return sums.row(time.monotonic() - began)


def _flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


async def _fill(port: int, acked: Acked, count: int) -> None:
    publisher = Publisher(acked)
    task = asyncio.ensure_future(publisher.run(port))
    while len(acked.by_seq) + acked.refused < count and not task.done():
        await asyncio.sleep(0.01)
    publisher.stop.set()
    await task
    publisher.wire.close()


def full_disks(kind: Kind, seconds: float, seed: int, progress: Progress) -> Row:
    """A small file system becomes full under load, and has room again: does it go on, and is everything there?"""
    sums, began = Sums("a full disk", kind), time.monotonic()
    alone = restarted = never = 0
    while sums.cases == 0 or time.monotonic() - began < seconds:
        try:
            with _folder() as folder, small_disk(folder / "disk") as disk:
                resumed, found = _fill_up(kind, folder, disk)
        except PermissionError as error:
            return sums.row(time.monotonic() - began, str(error))
        except NotReady:
            sums.does_not_start(0)
            continue
        alone, restarted, never = alone + (resumed == 1), restarted + (resumed == 2), never + (resumed == 0)
        sums.add(found)
        progress(f"full disk, {kind.name}: {sums.cases} cases, {alone} went on by themselves, {sums.lost} lost")
    sums.notes = [f"{alone} went on by themselves", f"{restarted} after a restart", f"{never} not"]
    return sums.row(time.monotonic() - began)


def _fill_up(kind: Kind, folder: Path, disk: Path) -> tuple[int, Found]:
    """(1: it took publishes again when there was room, 2: after a restart, 0: not; what is there)."""
    neighbour, acked = Neighbour(disk), Acked(most=400)
    with running(kind, folder / "server", disk / "store", LIMIT) as server:
        asyncio.run(create(server.port))
        neighbour.fill(8 << 20)
        asyncio.run(_until(server.port, acked, lambda: acked.refused >= REFUSALS, STUCK_S))
        neighbour.leave()
        before = len(acked.by_seq)
        asyncio.run(_until(server.port, acked, lambda: len(acked.by_seq) > before, RESUME_S))
        resumed = int(len(acked.by_seq) > before)
        server.stop()
    with running(kind, folder / "server", disk / "store", LIMIT) as server:
        if not resumed:
            asyncio.run(_until(server.port, acked, lambda: len(acked.by_seq) > before, RESUME_S))
            resumed = 2 if len(acked.by_seq) > before else 0
        return resumed, asyncio.run(compare(server.port, acked))


async def _until(port: int, acked: Acked, done: Callable[[], bool], most_s: float) -> None:
    """Publishes until then; no longer than so many seconds without an answer, and a few times that in all."""
    publisher = Publisher(acked, window=16)
    task = asyncio.ensure_future(publisher.run(port))
    began = moved = time.monotonic()
    answers = -1
    while not done() and not task.done() and time.monotonic() < min(moved + most_s, began + 4 * most_s):
        if len(acked.by_seq) + acked.refused != answers:
            answers, moved = len(acked.by_seq) + acked.refused, time.monotonic()
        await asyncio.sleep(0.02)
    publisher.stop.set()
    await task
    publisher.wire.close()
