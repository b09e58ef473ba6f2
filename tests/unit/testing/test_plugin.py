"""The pytest plugin: a real server for sync and async tests."""

from __future__ import annotations

import asyncio
import socket

import nats

from millpond.testing.plugin import nats_server_fixture

core_server = nats_server_fixture(jetstream=False)


def test_answers_a_raw_socket(core_server) -> None:
    with socket.create_connection(("127.0.0.1", core_server.port), timeout=5) as connection:
        assert connection.recv(4096).startswith(b'INFO {"server_id":"N')


def test_serves_a_client_in_another_loop(core_server) -> None:
    async def main() -> bytes:
        client = await nats.connect(core_server.url)
        subscription = await client.subscribe("a")
        await client.publish("a", b"hello")
        message = await subscription.next_msg(timeout=5)
        await client.close()
        return message.data

    assert asyncio.run(main()) == b"hello"


def test_shutdown_twice_is_once(core_server) -> None:
    core_server.shutdown()
    core_server.shutdown()
