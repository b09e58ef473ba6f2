"""A raw connection to a server in the same loop, for tests of sessions."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import millpond

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n'


class Wire:
    """A raw connection; reads end at a PONG or at the end of the stream, never at a guess of time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, info: dict[str, object]) -> None:
        self.reader, self.writer, self.info = reader, writer, info

    @classmethod
    async def open(cls, server: millpond.Server, connect: bytes = CONNECT) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        line = await reader.readline()
        assert line.startswith(b"INFO ") and line.endswith(b" \r\n")
        wire = cls(reader, writer, json.loads(line[5:]))
        if connect:
            writer.write(connect)
        return wire

    async def say(self, data: bytes) -> bytes:
        """Send, then PING; everything that came before the PONG (without a second INFO)."""
        self.writer.write(data + b"PING\r\n")
        got = b""
        while not got.endswith(b"PONG\r\n"):
            line = await asyncio.wait_for(self.reader.readline(), 5)
            assert line, f"closed after {got!r}"
            if not line.startswith(b"INFO"):
                got += line
        return got[: -len(b"PONG\r\n")]

    async def until_closed(self, data: bytes) -> bytes:
        self.writer.write(data)
        return re.sub(rb"INFO .*\r\n", b"", await asyncio.wait_for(self.reader.read(), 5))


def run(scenario: Callable[[millpond.Server], Awaitable[None]], **settings: object) -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False, **settings) as server:
            await asyncio.wait_for(scenario(server), 10)

    asyncio.run(main())
