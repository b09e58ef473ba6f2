"""TCP connections: frames cut anywhere, and connections that end in the middle of their own message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import millpond

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'
Scenario = Callable[[millpond.Server], Awaitable[None]]


def run(scenario: Scenario, **settings: object) -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False, **settings) as server:
            await asyncio.wait_for(scenario(server), 20)

    asyncio.run(main())


async def connect(server: millpond.Server, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that has said CONNECT and `data`, and knows that they took effect."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
    assert json.loads((await reader.readline())[5:])["client_id"] > 0
    writer.write(CONNECT + data + b"PING\r\n")
    assert await reader.readline() == b"PONG\r\n"
    return reader, writer


def publish(body: bytes) -> bytes:
    return b"PUB a %d\r\n%s\r\n" % (len(body), body)


def delivered(body: bytes) -> bytes:
    return b"MSG a 1 %d\r\n%s\r\n" % (len(body), body)


def test_frames_may_be_cut_anywhere() -> None:
    bodies = [bytes([65 + i % 26]) * size for i, size in enumerate((0, 1, 700, 5000, 3, 300_000, 17, 16_384))]
    sent = b"".join(map(publish, bodies))
    expected = b"".join(map(delivered, bodies))

    async def scenario(server: millpond.Server) -> None:
        for step in (1009, 4096, 65_521, len(sent)):
            reader, kept_open = await connect(server, b"SUB a 1\r\n")
            _, writer = await connect(server)
            for start in range(0, len(sent), step):
                seen = server.broker.turn.turns
                writer.write(sent[start : start + step])
                await writer.drain()
                while server.broker.turn.turns == seen:  # the piece was read before the next one leaves
                    await asyncio.sleep(0)
            assert await reader.readexactly(len(expected)) == expected
            writer.close()
            kept_open.close()

    run(scenario)


def test_every_byte_of_a_small_frame_may_come_alone() -> None:
    sent = b"".join([publish(b"hi"), b"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", publish(b"")])

    async def scenario(server: millpond.Server) -> None:
        reader, writer = await connect(server, b"SUB a 1\r\n")
        for position in range(len(sent)):
            seen = server.broker.turn.turns
            writer.write(sent[position : position + 1])
            while server.broker.turn.turns == seen:
                await asyncio.sleep(0)
        expected = delivered(b"hi") + b"HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n" + delivered(b"")
        assert await reader.readexactly(len(expected)) == expected

    run(scenario)


def test_a_stream_of_messages_is_read_in_large_pieces() -> None:
    """A frame that a read cuts in two does not make the reads after it small."""
    frames, body = 4000, b"x" * 1024

    async def scenario(server: millpond.Server) -> None:
        reader, writer = await connect(server)
        before = server.broker.turn.turns
        for _ in range(frames // 200):
            writer.write(publish(body) * 200)
            await writer.drain()
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"PONG\r\n"
        assert server.broker.statistics()["in_msgs"] == frames
        assert server.broker.turn.turns - before < frames // 4

    run(scenario)


async def after_pings(reader: asyncio.StreamReader, n: int) -> bytes:
    """The next n bytes; a slow machine lives to see the server's first PING before them."""
    while (begin := await reader.readexactly(6)) == b"PING\r\n":
        pass
    return begin + await reader.readexactly(n - len(begin))


def test_a_publisher_that_ends_by_its_own_message_spoils_it_for_nobody() -> None:
    """The first receiver is the publisher itself, too slow; the second one still gets the right bytes."""
    body = bytes(range(256)) * 240

    async def scenario(server: millpond.Server) -> None:
        _, doomed = await connect(server, b"SUB a 1\r\n")
        reader, kept_open = await connect(server, b"SUB a 1\r\n")
        frame, received = publish(body), 0
        while not server.broker.closed:
            for part in (frame[:100], frame[100:]):  # the second part is filled up in the carry
                seen = server.broker.turn.turns
                doomed.write(part)
                while server.broker.turn.turns == seen and not server.broker.closed:
                    await asyncio.sleep(0)
            assert await after_pings(reader, len(delivered(body))) == delivered(body)
            received += 1
        assert server.broker.closed[-1].reason == "Slow Consumer (Pending Bytes)"
        assert received > 1
        kept_open.close()

    run(scenario, max_pending=100_000, max_payload=100_000, write_deadline_ns=60 * 10**9)
