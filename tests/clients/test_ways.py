"""nats-py comes in by every way of authentication through every transport, and does what clients do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, KeyValueConfig, StorageType

from .ways import CELLS, MUTUAL, OLD_AIOHTTP, REFUSED, SECURE, VIOLATION, Cell, Servers, connect, running

pytestmark = OLD_AIOHTTP

HEADERS = {"X-Header": "a header"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    yield from running(tmp_path_factory.mktemp("ways"))


async def what_clients_do(client: Client, name: str) -> dict[str, Any]:
    who = json.loads((await client.request("$SYS.REQ.USER.INFO")).data)["data"]
    return {
        "who": [who["user"], who["account"]],
        **await messages(client, name),
        **await streams(client, name),
        **await buckets(client, name),
    }


async def messages(client: Client, name: str) -> dict[str, Any]:
    heard = await client.subscribe(f"{name}.said")
    await client.publish(f"{name}.said", b"a body", headers=HEADERS)
    message = await heard.next_msg()

    async def answer(request: Msg) -> None:
        await request.respond(b"asked: " + request.data)

    await client.subscribe(f"{name}.asked", cb=answer)
    reply = await client.request(f"{name}.asked", b"a question")
    assert message.headers is not None
    return {"message": [message.data.decode(), message.headers["X-Header"]], "reply": reply.data.decode()}


async def streams(client: Client, name: str) -> dict[str, Any]:
    js = client.jetstream()
    await js.add_stream(name=name, subjects=[f"{name}.stored"], storage=StorageType.FILE)
    published = await js.publish(f"{name}.stored", b"first", headers=HEADERS)
    pulled = await js.pull_subscribe(f"{name}.stored", "puller", stream=name, config=ConsumerConfig())
    (message,) = await pulled.fetch(1)
    await message.ack_sync()
    info = await pulled.consumer_info()
    await js.delete_stream(name)
    assert message.headers is not None and info.ack_floor is not None
    return {
        "stored": [published.seq, message.data.decode(), message.headers["X-Header"]],
        "acknowledged": [info.ack_floor.stream_seq, info.num_ack_pending],
    }


async def buckets(client: Client, name: str) -> dict[str, Any]:
    js = client.jetstream()
    bucket = await js.create_key_value(KeyValueConfig(bucket=name, storage=StorageType.FILE))
    await bucket.put("key", b"one")
    entry = await bucket.get("key")
    await js.delete_key_value(name)
    assert entry.value is not None
    return {"value": [entry.value.decode(), entry.revision]}


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_let_in(servers: Servers, cell: Cell) -> None:
    async with servers.serving(cell):
        client = await connect(servers.spec(cell))
        try:
            assert await what_clients_do(client, str(cell)) == servers.done_by(cell)
        finally:
            await client.close()


@pytest.mark.parametrize("cell", REFUSED, ids=str)
async def test_refused(servers: Servers, cell: Cell) -> None:
    async with servers.serving(cell):
        with pytest.raises(nats.errors.Error, match=VIOLATION):
            await connect(servers.spec(cell, wrong=True))


@pytest.mark.parametrize("transport", SECURE)
async def test_a_server_that_is_not_trusted(servers: Servers, transport: str) -> None:
    with pytest.raises(OSError, match="certificate verify failed"):
        await connect(servers.distrusting(transport))


@pytest.mark.parametrize("transport", MUTUAL)
async def test_no_certificate(servers: Servers, transport: str) -> None:
    with pytest.raises((OSError, nats.errors.Error)):
        client = await connect(servers.without_certificate(transport))
        await client.flush()
