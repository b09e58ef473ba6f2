"""A live server whose pages are asked for, and a client that says what it is told to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import millpond

STREAM = b'{"name":"S","subjects":["s.*"],"storage":"memory","max_msgs":10}'
CONSUMER = b'{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit","description":"a \\"b\\""}}'
CONNECT = b'CONNECT {"verbose":false,"name":"%s","lang":"test","headers":true,"protocol":1}\r\nPING\r\n'


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: millpond.Server, name: bytes = b"") -> Peer:
        peer = cls(*await asyncio.open_connection("127.0.0.1", server.port))
        peer.writer.write(CONNECT % name)
        await peer.reader.readuntil(b"PONG\r\n")
        return peer

    async def say(self, data: bytes) -> None:
        self.writer.write(data + b"PING\r\n")
        await asyncio.wait_for(self.reader.readuntil(b"PONG\r\n"), 5)


async def get(server: millpond.Server, target: str) -> tuple[int, str, bytes]:
    """(status, content type, body)."""
    port = int(server.monitor_url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    writer.close()
    lines = head.decode().split("\r\n")
    kind = next(line for line in lines if line.startswith("Content-Type: "))
    return int(lines[0].split()[1]), kind.removeprefix("Content-Type: "), body


async def page(server: millpond.Server, target: str) -> Any:
    status, kind, body = await get(server, target)
    assert (status, kind) == (200, "application/json"), body
    return json.loads(body)


def run(scenario: Any, **settings: Any) -> None:
    async def main() -> None:
        async with millpond.Server(http_port=-1, **settings) as server:
            await asyncio.wait_for(scenario(server), 20)

    asyncio.run(main())


async def busy(server: millpond.Server) -> None:
    """Something of everything that is measured."""
    peer = await Peer.open(server)
    await peer.say(b"SUB r 1\r\nSUB got 2\r\n")
    followers = (b'{"name":"M","mirror":{"name":"S"}}', b'{"name":"F","sources":[{"name":"S"}]}')
    for name, config in zip((b"S", b"M", b"F"), (STREAM, *followers), strict=True):
        await peer.say(b"PUB $JS.API.STREAM.CREATE.%s r %d\r\n%s\r\n" % (name, len(config), config))
    await peer.say(b"PUB $JS.API.CONSUMER.DURABLE.CREATE.S.C r %d\r\n%s\r\n" % (len(CONSUMER), CONSUMER))
    await peer.say(b"PUB s.a 5\r\nhello\r\n")
    peer.writer.write(b"PUB $JS.API.CONSUMER.MSG.NEXT.S.C got 0\r\n\r\n")
    head = (await asyncio.wait_for(peer.reader.readuntil(b"hello\r\n"), 5)).split()
    ack = next(word for word in head if word.startswith(b"$JS.ACK."))
    await peer.say(b"PUB %s r 0\r\n\r\n" % ack)
    for _ in range(1000):
        streams = (await page(server, "/jsz?streams=1"))["account_details"][0]["stream_detail"]
        if all(row["state"]["messages"] == 1 for row in streams):
            return
    raise AssertionError("the followers never followed")
