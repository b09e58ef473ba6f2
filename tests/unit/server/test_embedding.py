"""A server inside a program: in whatever loop, several at once, and nothing is left when it is gone."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

import millpond
from millpond.base.errors import OptionError, StoreInUseError
from millpond.config.options import Options

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
ROUNDS = 5
Scenario = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Runs a scenario in a loop of either kind."""

    def runner(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(asyncio.wait_for(scenario(), 20))

    return runner


async def roundtrip(server: millpond.Server) -> None:
    """A client that publishes to itself, and stays connected."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert (await reader.readline()).startswith(b"INFO ")
    writer.write(b'CONNECT {"verbose":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\n')
    assert await reader.readuntil(b"hi\r\n") == b"MSG a 1 2\r\nhi\r\n"
    writer.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors and threads in /proc")
def test_nothing_is_left(
    run: Callable[[Scenario], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))

    async def once() -> None:
        async with millpond.Server() as server, millpond.Server(store_dir=str(tmp_path / "kept")) as other:
            assert any(private.iterdir()), "a private store directory"
            await roundtrip(server)
            reader, writer = await asyncio.open_connection("127.0.0.1", other.port)
            await reader.readline()
            await server.stop()
            await other.stop()
            assert await reader.read() == b""
            writer.close()
        with pytest.raises(OSError, match="cannot listen"):
            async with millpond.Server() as server:
                await millpond.Server(port=server.port).start()

    async def scenario() -> None:
        await once()  # whatever is loaded or cached once is there now
        gc.collect()
        before = (descriptors(), native_threads(), threading.active_count(), len(asyncio.all_tasks()))
        for _ in range(ROUNDS):
            await once()
        gc.collect()
        assert (descriptors(), native_threads(), threading.active_count(), len(asyncio.all_tasks())) == before
        assert not any(private.iterdir())

    run(scenario)


def test_it_takes_no_signals(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
        before = [signal.getsignal(number) for number in numbers]
        async with millpond.Server():
            assert [signal.getsignal(number) for number in numbers] == before

    run(scenario)


def test_several_in_one_process_do_not_know_each_other(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async with millpond.Server() as one, millpond.Server() as two:
            assert one.port != two.port
            assert one.broker.server_id != two.broker.server_id
            await asyncio.gather(roundtrip(one), roundtrip(two))
            await one.stop()
            await roundtrip(two)

    run(scenario)


def test_run_is_that_of_nats_io(run: Callable[[Scenario], None], tmp_path: Path) -> None:
    (tmp_path / "f.conf").write_text("port: 4567\nserver_name: pond\njetstream {}\n")

    async def scenario() -> None:
        server = await millpond.run(port=0)
        assert (server.is_running, server.host, server.port > 0) == (True, "127.0.0.1", True)
        assert server.client_url == server.url == f"nats://127.0.0.1:{server.port}"
        assert not server.jetstream_enabled
        await roundtrip(server)
        with pytest.raises(millpond.ServerError, match="port"):
            await millpond.run(port=server.port)
        await server.shutdown()
        await server.shutdown(timeout=0.001)
        assert not server.is_running
        async with await millpond.run(port=0, jetstream=True, store_dir=str(tmp_path / "data")) as server:
            assert server.jetstream_enabled
            assert list((tmp_path / "data").iterdir())
        assert not server.is_running
        async with await millpond.run(port=0, config_path=str(tmp_path / "f.conf"), max_payload=7) as server:
            assert (server.options.server_name, server.options.max_payload) == ("pond", 7)
            assert server.jetstream_enabled
            assert server.port != 4567
        async with await millpond.run(host="::1", port=0) as server:
            assert (server.host, server.client_url) == ("::1", f"nats://[::1]:{server.port}")

    run(scenario)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"config_path": "no.conf"}, "no.conf: no such file"),
        ({"config_path": "bad.conf"}, "Parse error"),
        ({"config_path": "log.conf"}, "log_file belongs to a process"),
        ({"jetstream": True, "store_dir": "bad.conf/x"}, "could not create storage directory"),
        ({"max_payload": -1}, "above 0"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_run_says_why_it_cannot(
    arguments: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.conf").write_text("port: [1")
    (tmp_path / "log.conf").write_text("log_file: x")
    with pytest.raises(millpond.ServerError, match=words):
        asyncio.run(millpond.run(port=0, **arguments))


def test_run_may_take_only_so_long() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(millpond.run(port=0, timeout=0.0))


def test_a_directory_that_is_in_use_is_refused_within_one_process(tmp_path: Path) -> None:
    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)):
            with pytest.raises(StoreInUseError, match="in use by"):
                await millpond.Server(store_dir=str(tmp_path)).start()
        async with millpond.Server(store_dir=str(tmp_path)):
            pass

    asyncio.run(main())


def test_settings_are_checked_where_they_are_given() -> None:
    with pytest.raises(OptionError, match="cannot be higher than max_pending"):
        millpond.Server(max_payload=2, max_pending=1)
    with pytest.raises(TypeError):
        millpond.Server(nonsense=1)
    assert millpond.Server.from_options(Options(port=-1)).options.port == -1


def test_lame_duck_mode_tells_everybody_and_then_closes_them_one_by_one(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        second = 1_000_000_000
        server = millpond.Server(lame_duck_grace_period_ns=second // 10, lame_duck_duration_ns=second // 5)
        async with server:
            port = server.port
            clients = []
            for protocol in (1, 0):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                await reader.readline()
                writer.write(b'CONNECT {"verbose":false,"protocol":%d}\r\nPING\r\n' % protocol)
                await reader.readuntil(b"PONG\r\n")
                clients.append((reader, writer))
            assert b'"connect_info":true' in await clients[0][0].readline()
            leaving = asyncio.create_task(server.lame_duck_mode())
            info = await clients[0][0].readline()
            assert info.startswith(b"INFO ")
            assert b'"ldm":true' in info
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection("127.0.0.1", port)
            clients[0][1].write(b"PING\r\n")
            assert await clients[0][0].readline() == b"PONG\r\n"
            assert [await reader.read() for reader, _ in clients] == [b"", b""]
            await leaving
            assert not server.is_running
            for _, writer in clients:
                writer.close()

    run(scenario)
