"""`$JS.API.ACCOUNT.PURGE.<account>`: streams, what could not be read, and what accounts that are gone have left."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import accounts_rig
import pytest
from accounts_rig import asked, client, options
from millpond.base.clock import ManualClock
from millpond.broker.broker import Broker

import millpond
from millpond.base import limits
from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage
from millpond.jetstream.stream_config import StreamConfig
from millpond.server import reload
from millpond.server.account_purge import Done, Purges

CONFIG = """
jetstream { store_dir: "STORE" }
accounts {
  A { users: [ { user: a, pass: x } ], jetstream: enabled }
  SYS { users: [ { user: sys, pass: x } ], exports: [ { service: "$JS.API.ACCOUNT.PURGE.*" } ] }
  B { users: [ { user: b, pass: x } ], jetstream: enabled
      imports: [ { service: { account: SYS, subject: "$JS.API.ACCOUNT.PURGE.*" }, to: "purge.*" } ] }
}
system_account: SYS
"""
WITHOUT_A = CONFIG.replace("  A { users: [ { user: a, pass: x } ], jetstream: enabled }\n", "")
PURGED = {"type": "io.nats.jetstream.api.v1.account_purge_response", "initiated": True}


def run(tmp_path: Path, scenario: Callable[[millpond.Server], Awaitable[None]], text: str = CONFIG) -> None:
    accounts_rig.run(tmp_path, text, scenario)


async def fill(server: millpond.Server, user: str = "a") -> None:
    nc = await client(server, user)
    for name, storage in (("F", "file"), ("M", "memory"), ("G", "file")):
        made = await asked(nc, f"$JS.API.STREAM.CREATE.{name}", {"name": name, "subjects": [name], "storage": storage})
        assert "error" not in made
        await nc.request(name, b"x", timeout=10)
    await nc.close()


async def names(server: millpond.Server, user: str) -> Any:
    nc = await client(server, user)
    found = (await asked(nc, "$JS.API.STREAM.NAMES"))["streams"]
    await nc.close()
    return found


async def purge(server: millpond.Server, account: str = "A") -> dict[str, Any]:
    nc = await client(server, "sys")
    answer = await asked(nc, f"$JS.API.ACCOUNT.PURGE.{account}")
    await nc.close()
    return answer


def files(tmp_path: Path, account: str = "A") -> list[Path]:
    """But for the mark of a slot that was emptied: it goes when that is on disk."""
    everything = (tmp_path / "store" / "jetstream" / account).rglob("*")
    return [path for path in everything if path.is_file() and path.name != "released"]


def test_all_streams_go_and_stay_away(tmp_path: Path) -> None:
    async def before(server: millpond.Server) -> None:
        await fill(server)
        await fill(server, "b")
        assert await purge(server) == PURGED
        assert files(tmp_path) == []
        assert await names(server, "a") is None
        assert await names(server, "b") == ["F", "G", "M"]
        await fill(server)
        assert await purge(server) == PURGED

    async def after(server: millpond.Server) -> None:
        assert await names(server, "a") is None
        assert await names(server, "b") == ["F", "G"]

    run(tmp_path, before)
    run(tmp_path, after)


def test_what_could_not_be_read_goes_as_well(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        assert server.view.jetstream.accounts["A"].unrecovered == ["0000"]
        assert await purge(server) == PURGED
        assert files(tmp_path) == []
        assert server.view.jetstream.accounts["A"].unrecovered == []

    run(tmp_path, fill)
    slot = tmp_path / "store" / "jetstream" / "A" / "streams" / "0000"
    for path in slot.glob("stream*"):
        path.write_bytes(b"damaged")
    run(tmp_path, scenario)


def test_what_an_account_that_is_gone_has_left(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        assert files(tmp_path)
        assert await purge(server, "NOBODY") == PURGED
        assert await purge(server) == PURGED
        assert not (tmp_path / "store" / "jetstream" / "A").exists()
        assert not (tmp_path / "store" / "jetstream" / "NOBODY").exists()
        reload.apply(server, options(tmp_path, CONFIG))
        assert await names(server, "a") is None

    run(tmp_path, fill)
    run(tmp_path, scenario, WITHOUT_A)


def test_only_the_system_accounts_own_clients_may_ask(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        await fill(server)
        b = await client(server, "b")
        for subject in ("$JS.API.ACCOUNT.PURGE.A", "purge.A"):
            await b.publish(subject, b"", reply="nowhere")
        await b.flush()
        system = await client(server, "sys")
        block = {"Nats-Trace-Dest": "$JS.API.ACCOUNT.PURGE.A"}
        await system.publish("x", b"", headers=block)         # the server itself publishes there
        await system.flush()
        assert await purge(server, "NOBODY") == PURGED
        assert await names(server, "a") == ["F", "G", "M"]
        await b.close()
        await system.close()

    run(tmp_path, scenario)


class Loop:
    """Calls nothing before it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        self.calls.append((callback, args))

    def step(self) -> None:
        callback, args = self.calls.pop(0)
        callback(*args)

    def run(self) -> int:
        """How many steps there were."""
        count = 0
        while self.calls:
            self.step()
            count += 1
        return count


def nobody(account: str) -> Engine | None:
    return None


class Rest:
    """What is left besides streams; removed when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Done] = []
        self.asked = 0

    def __call__(self, account: str, done: Done) -> None:
        self.asked += 1
        self.waiting.append(done)

    def is_gone(self, failure: str = "") -> None:
        self.waiting.pop(0)(failure)


class Rig:
    """Purges of one account."""

    def __init__(self, engine: Callable[[str], Engine | None] = nobody) -> None:
        self.loop, self.rest = Loop(), Rest()
        self.told: list[str] = []
        self.purges = Purges(engine, self.rest, cast(asyncio.AbstractEventLoop, self.loop), lambda: None)

    def ask(self, who: str = "") -> None:
        self.purges.add("A", lambda reason: self.told.append(who + reason))


def test_a_reload_gives_the_files_to_somebody_else() -> None:
    rig = Rig()
    rig.ask("1")
    rig.ask("2")
    assert rig.told == []
    rig.purges.reconfigured("A")
    assert sorted(rig.told) == ["1account was reconfigured", "2account was reconfigured"]
    rig.rest.is_gone()
    assert (len(rig.told), rig.rest.asked) == (2, 1), "nobody is told twice, nothing begins again"


def test_it_ends_with_the_server() -> None:
    rig = Rig()
    rig.ask()
    rig.ask()
    rig.purges.close()
    rig.rest.is_gone()
    assert (rig.told, rig.rest.asked) == ([], 1)


def test_two_of_one_account_do_not_meet() -> None:
    """The second one sees what came while the first one ran."""
    rig = Rig()
    for who in "123":
        rig.ask(who)
    assert rig.rest.asked == 1
    rig.rest.is_gone()
    assert (rig.told, rig.rest.asked) == (["1"], 2)
    rig.rest.is_gone()
    assert (rig.told, rig.rest.asked) == (["1", "2", "3"], 2)
    rig.ask("4")
    rig.rest.is_gone()
    assert rig.told == ["1", "2", "3", "4"]


def test_who_asks_again_when_it_is_told() -> None:
    rig = Rig()
    rig.purges.add("A", lambda reason: rig.ask("again"))
    rig.ask("2")
    for _ in range(2):
        rig.rest.is_gone()
    assert rig.told == ["2", "again"]


def test_one_that_raises_keeps_nobody_waiting() -> None:
    def fail(reason: str) -> None:
        raise RuntimeError("somebody's bug")

    rig = Rig()
    rig.purges.add("A", fail)
    rig.ask("2")
    for _ in range(2):
        rig.rest.is_gone()
    assert rig.told == ["2"]


def test_a_failure_is_told() -> None:
    rig = Rig()
    rig.ask()
    rig.rest.is_gone("input/output error")
    assert rig.told == ["input/output error"]


def test_streams_go_in_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever deletes some of them meanwhile is no obstacle."""
    monkeypatch.setattr("millpond.base.limits.DELETIONS_PER_STEP", 3)
    memory = JetStreamOptions(store_dir=str(tmp_path), sync="never")
    broker = Broker(Options(jetstream=memory), ManualClock())
    engine = Engine(memory, Storage(memory, tmp_path, "A"), broker.router, broker.turn, "here")
    for number in range(10):
        engine.create_stream(StreamConfig(name=f"S{number}", storage="memory"), lambda *_: None)
    for name in ("C", "D"):
        engine.create_consumer(engine.streams["S9"], name, ConsumerConfig(durable_name=name, mem_storage=True))
    rig = Rig(lambda account: engine)
    left = [10]
    rig.ask()
    while not rig.told:
        left.append(len(engine.streams))
        if len(left) == 3:
            engine.delete_stream(engine.streams["S0"], lambda _: None)
        rig.loop.step()
        while rig.rest.waiting:
            rig.rest.is_gone()
    assert left == [10, 9, 6, 2, 0]
    assert rig.told == [""] and rig.loop.calls == []
    engine.stop()


def test_it_tells_of_each_deletion(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        await fill(server)
        listens = await client(server, "a")
        expected = {("stream_action", name, "") for name in "FGM"}
        for stream in "FM":
            for name in ("C", "D"):
                asked_for = {"stream_name": stream, "config": {"durable_name": name, "ack_policy": "explicit"}}
                made = await asked(listens, f"$JS.API.CONSUMER.CREATE.{stream}.{name}", asked_for)
                assert "error" not in made
                expected.add(("consumer_action", stream, name))
        heard = await listens.subscribe("$JS.EVENT.ADVISORY.*.DELETED.>")
        await listens.flush()
        assert await purge(server) == PURGED
        told = [json.loads((await heard.next_msg(10)).data) for _ in expected]
        assert {row["action"] for row in told} == {"delete"}
        found = [(row["type"].rpartition(".")[2], row["stream"], row.get("consumer", "")) for row in told]
        assert sorted(found) == sorted(expected)
        await listens.close()

    run(tmp_path, scenario)


def test_a_server_that_stops_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not deleted yet is there again; nothing is removed behind the server's back."""
    monkeypatch.setattr("millpond.base.limits.FILES_PER_DELETION", limits.DELETIONS_PER_STEP)  # one stream in a step

    told: list[str] = []

    async def before(server: millpond.Server) -> None:
        await fill(server)
        purge_a(server, told.append)
        await server.stop()

    async def after(server: millpond.Server) -> None:
        assert await names(server, "a") == ["F"]

    run(tmp_path, before)
    assert told == []
    run(tmp_path, after)


def purge_a(server: millpond.Server, done: Callable[[str], None]) -> None:
    """As the API does it."""
    assert server._jetstream is not None
    server._jetstream.purge_account("A", done)


def test_a_reload_while_leftovers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is served again: what is left of the removal is done first, and what it creates is its own."""
    monkeypatch.setattr("millpond.base.limits.FILES_REMOVED_PER_STEP", 1)

    async def scenario(server: millpond.Server) -> None:
        told: list[str] = []
        for _ in range(2):
            purge_a(server, told.append)
        assert told == [] and files(tmp_path)
        reload.apply(server, options(tmp_path, CONFIG))
        assert told == ["account was reconfigured"] * 2 and files(tmp_path) == []
        assert await names(server, "a") is None
        await fill(server)

    async def after(server: millpond.Server) -> None:
        assert await names(server, "a") == ["F", "G"]

    run(tmp_path, fill)
    run(tmp_path, scenario, WITHOUT_A)
    run(tmp_path, after)


def test_leftovers_are_removed_without_a_sync_on_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: millpond.Server) -> None:
        done = asyncio.get_running_loop().create_future()
        synced: list[str] = []
        real = os.fsync

        def counted(fd: int) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            real(fd)

        monkeypatch.setattr(os, "fsync", counted)
        purge_a(server, done.set_result)
        assert await done == ""
        monkeypatch.undo()
        opened = ["jetstream", "A", "streams"]
        assert [Path(path).name for path in synced] == opened, "where it is opened, whatever there is in it"
        assert not (tmp_path / "store" / "jetstream" / "A").exists()

    run(tmp_path, fill)
    run(tmp_path, scenario, WITHOUT_A)


def test_a_stop_while_leftovers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def scenario(server: millpond.Server) -> None:
        purge_a(server, told.append)
        assert told == []

    run(tmp_path, fill)
    run(tmp_path, scenario, WITHOUT_A)
    assert told == [] and files(tmp_path) == []
