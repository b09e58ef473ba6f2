"""A server on a full disk: what it refuses, what it goes on with, what it says, and that it resumes by itself."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

import millpond
from millpond.base import limits, machine
from millpond.config.build import build
from millpond.config.file import read
from millpond.config.options import JetStreamOptions
from millpond.monitor.healthz import HealthzOptions, healthz
from millpond.monitor.jsz import jetstream_config
from millpond.store.space import NAME, Space

NO_ROOM = {"code": 500, "err_code": 10047, "description": "insufficient storage resources available"}
CONFIG = """
jetstream { store_dir: "STORE" }
accounts {
  A { users: [ { user: a, pass: x } ], jetstream: enabled }
  SYS { users: [ { user: s, pass: x } ] }
}
system_account: SYS
"""


class SmallDisk:
    """What the file system says is free, and a way to hit its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 1 << 40
        monkeypatch.setattr(Space, "free_bytes", property(lambda _: self.free))
        monkeypatch.setattr(machine, "disk_free_bytes", lambda _: self.free)

    def fill(self, server: millpond.Server) -> Space:
        assert server._jetstream is not None
        space: Space = server._jetstream.space
        self.free = 0
        space.exhausted(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return space


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    return SmallDisk(monkeypatch)


def run(tmp_path: Path, scenario: Callable[[millpond.Server, Client], Awaitable[None]]) -> None:
    async def main() -> None:
        (tmp_path / "conf").write_text(CONFIG.replace("STORE", str(tmp_path / "store")))
        options = build({**read(tmp_path / "conf").settings, "host": "127.0.0.1", "port": -1})
        async with millpond.Server.from_options(options) as server:
            nc = await client(server, "a")
            await asyncio.wait_for(scenario(server, nc), 30)
            await nc.close()

    asyncio.run(main())


async def client(server: millpond.Server, user: str) -> Client:
    return await nats.connect(server.client_url, user=user, password="x", allow_reconnect=False)


async def asked(nc: Client, subject: str, body: Any = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body is not None else b""
    answer = await nc.request(subject, data, timeout=10, headers=headers)
    found: dict[str, Any] = json.loads(answer.data or b"{}")
    return found


async def create(nc: Client, name: str, **more: Any) -> None:
    said = await asked(nc, f"$JS.API.STREAM.CREATE.{name}", {"name": name, "subjects": [name.lower()], **more})
    assert "error" not in said, said


async def stored(nc: Client, name: str) -> int:
    said = await asked(nc, f"$JS.API.STREAM.INFO.{name}")
    return int(said["state"]["messages"])


def test_publishes_and_new_streams_are_refused_until_there_is_room(tmp_path: Path, disk: SmallDisk) -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        await create(nc, "S")
        await create(nc, "FULLER")
        assert (await asked(nc, "fuller", "has room in its file"))["seq"] == 1
        space = disk.fill(server)
        assert await asked(nc, "s", "refused") == {"error": NO_ROOM, "stream": "S", "seq": 0}
        assert (await asked(nc, "fuller", "still has"))["seq"] == 2
        new = {"name": "NEW", "subjects": ["new"]}
        assert (await asked(nc, "$JS.API.STREAM.CREATE.NEW", new))["error"] == NO_ROOM
        changed = {"name": "S", "subjects": ["s", "t"]}
        assert (await asked(nc, "$JS.API.STREAM.UPDATE.S", changed))["error"] == NO_ROOM
        assert (await asked(nc, "$JS.API.STREAM.INFO.S"))["config"]["subjects"] == ["s"]
        in_memory = {"name": "MEM", "subjects": ["mem"], "storage": "memory"}
        assert "error" not in await asked(nc, "$JS.API.STREAM.CREATE.MEM", in_memory)
        disk.free = 1 << 40
        while space.full:
            said = await asked(nc, "s", "until it is taken")
        while said.get("error") == NO_ROOM:
            said = await asked(nc, "s", "until it is taken")
        assert said == {"stream": "S", "seq": 1}, "what was refused cost no sequence"
        assert "error" not in await asked(nc, "$JS.API.STREAM.UPDATE.S", changed)
        assert "error" not in await asked(nc, "$JS.API.STREAM.CREATE.NEW", new)

    run(tmp_path, scenario)


def test_reads_removals_and_consumers_go_on(tmp_path: Path, disk: SmallDisk) -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        await create(nc, "S", retention="workqueue")
        for number in range(1, 5):
            await asked(nc, "s", number)
        disk.fill(server)
        config = {"durable_name": "C", "ack_policy": "explicit"}
        said = await asked(nc, "$JS.API.CONSUMER.CREATE.S.C", {"stream_name": "S", "config": config})
        assert "error" not in said
        inbox = nc.new_inbox()
        delivered = await nc.subscribe(inbox)
        await nc.publish("$JS.API.CONSUMER.MSG.NEXT.S.C", b"", reply=inbox)
        message = await delivered.next_msg(timeout=10)
        assert message.data == b"1"
        await nc.request(message.reply, b"+ACK", timeout=10)
        assert await stored(nc, "S") == 3
        assert (await asked(nc, "$JS.API.STREAM.MSG.GET.S", {"seq": 2}))["message"]["data"] == "Mg=="
        assert (await asked(nc, "$JS.API.STREAM.MSG.DELETE.S", {"seq": 2}))["success"]
        assert (await asked(nc, "$JS.API.STREAM.PURGE.S"))["purged"] == 2
        assert (await asked(nc, "$JS.API.STREAM.DELETE.S"))["success"]

    run(tmp_path, scenario)


def test_a_batch_is_refused_as_a_whole(tmp_path: Path, disk: SmallDisk) -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        await create(nc, "S", allow_atomic=True)
        await asked(nc, "s", "makes a file with room for some of the batch")
        space = disk.fill(server)

        async def batch(number: int, size: int) -> dict[str, Any]:
            said = {}
            for part in range(1, number + 1):
                headers = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": str(part)}
                if part == number:
                    headers["Nats-Batch-Commit"] = "1"
                said = await asked(nc, "s", "x" * size, headers)
            return said

        assert await batch(8, limits.SEGMENT_BYTES_SMALL // 4) == {"error": NO_ROOM, "stream": "S", "seq": 0}
        assert await stored(nc, "S") == 1
        assert (await batch(3, 100))["seq"] == 4, "one that fits is taken"
        disk.free = 1 << 40
        assert space.probe()
        assert (await batch(8, limits.SEGMENT_BYTES_SMALL // 4))["seq"] == 12
        assert await stored(nc, "S") == 12

    run(tmp_path, scenario)


def test_a_mirror_catches_up_when_there_is_room(tmp_path: Path, disk: SmallDisk) -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        await create(nc, "ORIGIN", storage="memory")
        said = await asked(nc, "$JS.API.STREAM.CREATE.M", {"name": "M", "mirror": {"name": "ORIGIN"}})
        assert "error" not in said
        space = disk.fill(server)
        for number in range(1, 11):
            assert (await asked(nc, "origin", number))["seq"] == number
        assert await stored(nc, "M") == 0
        disk.free = 1 << 40
        assert space.probe()
        while await stored(nc, "M") < 10:
            await nc.flush()
        message = (await asked(nc, "$JS.API.STREAM.MSG.GET.M", {"seq": 10}))["message"]
        assert message["data"] == "MTA="

    run(tmp_path, scenario)


def test_a_message_that_expires_waits_for_its_marker(tmp_path: Path, disk: SmallDisk) -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        ages = {"max_age": 300_000_000, "allow_msg_ttl": True, "subject_delete_marker_ttl": 60_000_000_000}
        await create(nc, "S", **ages)
        await asked(nc, "s", "makes a file")
        space = disk.fill(server)
        for size in (1000, 100, 0):
            while (await asked(nc, "s", "x" * size)).get("error") != NO_ROOM:
                pass
        last_seq = (await asked(nc, "$JS.API.STREAM.INFO.S"))["state"]["last_seq"]
        while await stored(nc, "S") > 1:
            await nc.flush()
        await asyncio.sleep(0.6)  # a while in which nothing may happen
        state = (await asked(nc, "$JS.API.STREAM.INFO.S"))["state"]
        assert (state["messages"], state["first_seq"], state["last_seq"]) == (1, last_seq, last_seq)
        disk.free = 1 << 40
        assert space.probe()
        while (now := (await asked(nc, "$JS.API.STREAM.INFO.S"))["state"]["last_seq"]) == last_seq:
            await nc.flush()
        assert now == last_seq + 1, "the marker"

    run(tmp_path, scenario)


def test_health_log_and_advisory_say_so_once(
    tmp_path: Path, disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        system = await client(server, "s")
        heard = await system.subscribe("$JS.EVENT.ADVISORY.>")
        await system.flush()
        await create(nc, "S")
        with caplog.at_level(logging.WARNING, "millpond"):
            space = disk.fill(server)
            for _ in range(5):
                assert (await asked(nc, "s", "refused"))["error"] == NO_ROOM
        advisory = json.loads((await heard.next_msg(timeout=10)).data)
        assert advisory["type"] == "io.nats.jetstream.advisory.v1.server_out_of_space"
        assert list(advisory)[3:] == ["server", "server_id", "cluster"]
        assert advisory["server_id"] == server.broker.server_id
        status, page = healthz(server.view, HealthzOptions())
        assert status == 503
        assert page["error"].startswith("JetStream refuses messages: no space left under")
        assert healthz(server.view, HealthzOptions(js_enabled_only=True))[0] == 200
        said = [record.getMessage() for record in caplog.records if "No space left under" in record.getMessage()]
        assert len(said) == 1
        assert str(tmp_path / "store") in said[0]
        disk.free = 1 << 40
        assert space.probe()
        assert healthz(server.view, HealthzOptions())[0] == 200
        await system.close()

    run(tmp_path, scenario)


def test_a_server_starts_on_a_full_disk(tmp_path: Path, disk: SmallDisk) -> None:
    async def fill(server: millpond.Server, nc: Client) -> None:
        await create(nc, "S")
        await asked(nc, "s", "kept")

    async def scenario(server: millpond.Server, nc: Client) -> None:
        assert server._jetstream is not None
        space = server._jetstream.space
        assert space.full
        assert await stored(nc, "S") == 1
        assert (await asked(nc, "s", "refused"))["error"] == NO_ROOM
        disk.free = 1 << 40
        while (said := await asked(nc, "s", "taken")).get("error") == NO_ROOM:
            pass
        assert said["seq"] == 2
        assert not space.full

    run(tmp_path, fill)
    (tmp_path / "store" / "jetstream" / NAME).unlink()
    disk.free = 0
    run(tmp_path, scenario)


def limit_shown(server: millpond.Server) -> int:
    assert server.view.jetstream is not None
    found: int = jetstream_config(server.view.jetstream)["max_storage"]
    return found


@pytest.mark.parametrize("free", [0, 100_000, 8 << 20])
def test_a_limit_taken_from_a_crowded_disk_grows_when_there_is_room(
    tmp_path: Path, disk: SmallDisk, free: int
) -> None:
    """Three quarters of what was free at the start are little; what others give back counts."""
    disk.free = free

    async def scenario(server: millpond.Server, nc: Client) -> None:
        assert limit_shown(server) == free // 4 * 3
        if free == 8 << 20:
            await create(nc, "S")
            disk.free = 1 << 20
            while "error" not in (said := await asked(nc, "s", "x" * 500_000)):
                assert await stored(nc, "S") < 20
            assert said["error"]["err_code"] == 10023
        disk.free = 1 << 40
        reserving = {"name": "R", "subjects": ["r"], "max_bytes": 1 << 30}
        while "error" in (said := await asked(nc, "$JS.API.STREAM.CREATE.R", reserving)):
            assert said["error"] == NO_ROOM
        assert (await asked(nc, "r", "taken"))["seq"] == 1
        if free == 8 << 20:
            assert "error" not in await asked(nc, "s", "x" * 500_000)
        held = (await asked(nc, "$JS.API.INFO"))["storage"]
        assert (1 << 40) // 4 * 3 <= limit_shown(server) <= ((1 << 40) + held) // 4 * 3
        disk.free = 0
        assert limit_shown(server) > free, "it never shrinks"

    run(tmp_path, scenario)


def test_a_limit_that_was_asked_for_stays(tmp_path: Path, disk: SmallDisk) -> None:
    async def main() -> None:
        options = JetStreamOptions(store_dir=str(tmp_path), max_file=5000)
        async with millpond.Server(jetstream=options) as server:
            nc = await nats.connect(server.client_url)
            await create(nc, "S")
            for _ in range(2):
                await asked(nc, "s", "x" * 3000)
            assert (await asked(nc, "s", "x"))["error"]["err_code"] == 10023
            assert limit_shown(server) == 5000
            await nc.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_restart_on_a_full_disk_takes_no_room_from_what_is_held(tmp_path: Path, disk: SmallDisk) -> None:
    """The disk refuses, not a limit that has shrunk: a stream that evicts goes on when there is some room."""

    async def fill(server: millpond.Server, nc: Client) -> None:
        await create(nc, "S", max_msgs=10)
        for number in range(10):
            assert (await asked(nc, "s", "x" * 10_000))["seq"] == number + 1

    async def scenario(server: millpond.Server, nc: Client) -> None:
        assert (await asked(nc, "s", "x" * 100))["error"] == NO_ROOM
        disk.free = 6 << 20
        while (said := await asked(nc, "s", "x" * 100)).get("error"):
            assert said["error"] == NO_ROOM
        assert said["seq"] == 11

    run(tmp_path, fill)
    disk.free = 0
    run(tmp_path, scenario)
