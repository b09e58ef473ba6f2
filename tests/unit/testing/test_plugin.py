"""The pytest plugin: a real server for sync and async tests."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

import nats
import pytest
from nats.js.errors import ServerError

from millpond.testing.plugin import NatsServer, nats_server_fixture

core_server = nats_server_fixture(jetstream=False)
shared_server = nats_server_fixture(scope="module", max_memory_store=1 << 20, server_name="pond")


def test_answers_a_raw_socket(core_server: NatsServer) -> None:
    with socket.create_connection((core_server.host, core_server.port), timeout=5) as connection:
        assert connection.recv(4096).startswith(b'INFO {"server_id":"N')


def test_serves_a_client_in_another_loop(core_server: NatsServer) -> None:
    async def main() -> bytes:
        client = await nats.connect(core_server.url)
        subscription = await client.subscribe("a")
        await client.publish("a", b"hello")
        message = await subscription.next_msg(timeout=5)
        await client.close()
        return bytes(message.data)

    assert asyncio.run(main()) == b"hello"


def test_shutdown_twice_is_once(core_server: NatsServer) -> None:
    core_server.shutdown()
    core_server.shutdown()


def test_has_the_names_of_pytest_nats(nats_server: NatsServer, core_server: NatsServer) -> None:
    assert nats_server.url == nats_server.client_url == f"nats://127.0.0.1:{nats_server.port}"
    assert (nats_server.host, nats_server.resolved_version) == ("127.0.0.1", "2.15.1")
    assert (nats_server.jetstream_enabled, core_server.jetstream_enabled) == (True, False)
    assert nats_server.port != core_server.port


ports: set[int] = set()


@pytest.mark.parametrize("round", [1, 2])
def test_a_wider_scope_is_one_server(shared_server: NatsServer, round: int) -> None:
    ports.add(shared_server.port)
    assert len(ports) == 1


def test_limits_of_storage_are_those_asked_for(shared_server: NatsServer) -> None:
    async def main() -> None:
        client = await nats.connect(shared_server.url)
        with pytest.raises(ServerError, match="insufficient memory"):
            await client.jetstream().add_stream(name="S", storage="memory", max_bytes=2 << 20)
        await client.close()

    asyncio.run(main())


def test_no_thread_or_descriptor_is_left() -> None:
    NatsServer().shutdown()
    before = threading.active_count(), len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(3):
        NatsServer().shutdown()
    assert before == (
        threading.active_count(), len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    )  # fmt: skip


def test_a_start_that_fails_raises_here(core_server: NatsServer) -> None:
    with pytest.raises(OSError, match="cannot listen"):
        NatsServer(port=core_server.port)
