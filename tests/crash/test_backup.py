"""`millpond store backup` of a server under load: a server starts on it, and what was acknowledged before is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

import millpond
from millpond.cli import store_backup
from millpond.cli.store_survey import survey

from .campaign import Server
from .check import create, read
from .load import STREAMS, Worker, Writer
from .model import Operation, Violation, settle, settle_torn
from .wire import Wire

SEED = int(os.environ.get("MILLPOND_CRASH_SEED", "1"))
BACKUPS = int(os.environ.get("MILLPOND_BACKUPS", "60"))
ANSWERS_BETWEEN = 300


class Running:
    """A server under load, and its backups.

    `deletes`: messages are overwritten, too. What is overwritten while it is being copied may be gone in the copy,
    though its removal came behind the copy's end; everything else is as some first part of the operations makes it.
    """

    def __init__(self, folder: Path, seed: int, deletes: bool) -> None:
        self._folder, self._rng, self._deletes = folder, random.Random(seed), deletes
        self._server = Server(folder, "always")
        self._worker = Worker(self._rng)
        self._writers: list[Writer] = []
        self._answers = 0
        self._more = asyncio.Event()

    async def run(self, backups: int) -> int:
        """Returns how many operations had been answered at the last one."""
        self._server.start()
        try:
            models = await create(self._server.port)
            self._writers = [Writer(model, self._rng, deletes=self._deletes) for model in models]
            for writer in self._writers:
                writer.on_answer = self._count
            port = self._server.port
            writing = asyncio.gather(*(writer.run(port) for writer in self._writers))
            working = asyncio.ensure_future(self._worker.run(port, until=writing.done))
            for number in range(backups):
                await self._backup(self._folder / f"backup-{number}")
            for writer in self._writers:
                writer.stop()
            await writing
            await working
            self._server.stop()
        finally:
            self._server.reap()
        return self._answers

    def _count(self) -> None:
        self._answers += 1
        self._more.set()

    async def _backup(self, target: Path) -> None:
        wanted = self._answers + self._rng.randrange(ANSWERS_BETWEEN)
        while self._answers < wanted:
            self._more.clear()
            await self._more.wait()
        answered = {writer.before.name: writer.answered_upto for writer in self._writers}
        confirmed = set(self._worker.confirmed)
        report = await asyncio.to_thread(store_backup.backup, self._folder / "store", target)
        sent = {writer.before.name: list(writer.operations) for writer in self._writers}
        if not report.sound:
            raise Violation(f"{target.name}: {[stream.damage for stream in report.streams]}")
        assert len(report.streams) == len(STREAMS) and survey(target).sound
        await self._check(target, answered, sent, confirmed)

    async def _check(
        self, target: Path, answered: dict[str, int], sent: dict[str, list[Operation]], confirmed: set[int]
    ) -> None:
        async with millpond.Server(store_dir=str(target)) as server:
            wire = await Wire.open(server.port, "verify")
            for writer in self._writers:
                name = writer.before.name
                found = await read(server.port, wire, name)
                (settle_torn if self._deletes else settle)(writer.before, sent[name], answered[name], found)
            wire.close()
            assert server._jetstream is not None
            consumer = server._jetstream.accounts["$G"].engine.streams["WORK"].consumers["C"]
            delivered = consumer.state.info()["delivered"]["stream_seq"]
            again = confirmed & {row[0] for row in consumer.state.pending()}
            again |= {seq for seq in confirmed if seq > delivered}
            if again:
                raise Violation(f"WORK: {sorted(again)[:20]} would be delivered again although they were confirmed")


@pytest.mark.parametrize("deletes", [False, True])
def test_backups_under_load(tmp_path: Path, deletes: bool) -> None:
    assert asyncio.run(Running(tmp_path, SEED, deletes).run(4)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("deletes", [False, True])
def test_many_backups_under_load(tmp_path: Path, deletes: bool) -> None:
    answers = asyncio.run(Running(tmp_path, SEED, deletes).run(BACKUPS))
    print(f"{BACKUPS} backups, {answers} answers, seed {SEED}")


@contextlib.asynccontextmanager
async def served(config: Path, store: Path) -> AsyncIterator[millpond.Server]:
    server = await millpond.run(config_path=str(config), jetstream=True, store_dir=str(store), port=0)
    try:
        yield server
    finally:
        await server.shutdown()


def test_accounts_consumers_followers_and_what_is_deleted(tmp_path: Path) -> None:
    """Also of a store that nobody runs on; the copy is one like any other."""
    config = tmp_path / "server.conf"
    config.write_text('accounts { A { jetstream: enabled, users: [{user: a, password: a}] } }\n')

    async def fill() -> None:
        async with served(config, tmp_path / "store") as server:
            client = await nats.connect(server.client_url, user="a", password="a")
            js = client.jetstream()
            await js.add_stream(name="MIRROR", mirror=nats.js.api.StreamSource(name="ORIGIN"), storage="file")
            await js.add_stream(name="ORIGIN", subjects=["o"], storage="file")
            await js.add_stream(name="DELETED", subjects=["d"], storage="file")
            for number in range(50):
                await js.publish("o", b"%d" % number)
            consumer = await js.pull_subscribe("o", "worker")
            for message in await consumer.fetch(10):
                await message.ack_sync()
            while (await js.stream_info("MIRROR")).state.messages < 50:
                await asyncio.sleep(0.01)
            order = [store_backup._configuration(slot)["name"] for _, slot in store_backup._in_order(
                list(store_backup.slots(tmp_path / "store")))]  # fmt: skip
            assert order.index("ORIGIN") < order.index("MIRROR")
            await js.delete_stream("DELETED")
            report = await asyncio.to_thread(store_backup.backup, tmp_path / "store", tmp_path / "copy")
            copied = {(row.account, row.name) for row in report.streams}
            assert report.sound and copied == {("A", "ORIGIN"), ("A", "MIRROR")}
            await client.close()

    async def check() -> None:
        async with served(config, tmp_path / "copy") as server:
            client = await nats.connect(server.client_url, user="a", password="a")
            js = client.jetstream()
            for name in ("ORIGIN", "MIRROR"):
                assert (await js.stream_info(name)).state.messages == 50
            assert (await js.consumer_info("ORIGIN", "worker")).ack_floor.stream_seq == 10
            await client.close()

    asyncio.run(fill())
    asyncio.run(check())
    with pytest.raises(store_backup.StoreError, match="is there already"):
        store_backup.backup(tmp_path / "store", tmp_path / "copy")
    with pytest.raises(store_backup.StoreError, match="inside the store"):
        store_backup.backup(tmp_path / "store", tmp_path / "store" / "jetstream" / "copy")
    (tmp_path / "again.partial").mkdir()
    assert store_backup.backup(tmp_path / "copy", tmp_path / "again").sound
    assert json.loads((next((tmp_path / "again").rglob("stream.0")).read_bytes())[24:])["config"]["name"]


def test_a_damaged_stream_is_copied_as_it_is_and_said_to_be(tmp_path: Path) -> None:
    async def fill() -> None:
        async with millpond.Server(store_dir=str(tmp_path / "store")) as server:
            client = await nats.connect(server.client_url)
            await client.jetstream().add_stream(name="S", subjects=["s"], storage="file")
            for _ in range(20):
                await client.jetstream().publish("s", bytes(100))
            await client.close()

    asyncio.run(fill())
    path = next(path for path in sorted(tmp_path.rglob("log.*")) if any(path.read_bytes()))
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    report = store_backup.backup(tmp_path / "store", tmp_path / "copy")
    assert not report.sound
    assert (tmp_path / "copy" / path.relative_to(tmp_path / "store")).read_bytes() == bytes(data)
