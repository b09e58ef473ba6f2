"""Whatever bytes come in, in whatever pieces: an answer or the end, no exception, nothing held beyond the bounds."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.base import limits
from millpond.monitor.http import Answer, HttpConnection, HttpServer, Request

PIECES = [
    b"GET ", b"HEAD ", b"POST ", b"/", b"/varz", b"?a=1", b"%41", b"%4", b"\x00", b" HTTP/1.1", b" HTTP/1.0",
    b"\r\n", b"\n", b"\r\n\r\n", b"Host: x", b"Connection: close", b"Connection: keep-alive", b"Content-Length: 5",
    b"Content-Length: -1", b"Transfer-Encoding: chunked", b"5\r\nhello\r\n", b"0\r\n\r\n", b"hello", b":", b" " * 40,
    b"X: " + b"y" * 5000,
]  # fmt: skip


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.open = self.reading = True

    def write(self, data: Any) -> None:
        assert self.open
        self.sent += bytes(data)

    def close(self) -> None:
        self.open = False

    def abort(self) -> None:
        self.open = False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


async def feed(pieces: list[bytes]) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

    async def answer(request: Request) -> Answer:
        return Answer(request.path.encode())

    wire, connection = Wire(), HttpConnection(HttpServer(answer))
    connection.connection_made(wire)
    for piece in pieces:
        while wire.open and not wire.reading:
            await asyncio.sleep(0)
        if not wire.open:
            break
        connection.data_received(piece)
        assert len(connection._parser.trailing_data[0]) <= limits.HTTP_HEAD_BYTES_MAX + len(piece)
    connection.eof_received()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not wire.open, "the end of the input ends the connection"
    assert not wire.sent or wire.sent.startswith(b"HTTP/1.")
    connection.connection_lost(None)
    assert not failures


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=30)), max_size=30))
def test_any_bytes(pieces: list[bytes]) -> None:
    asyncio.run(feed(pieces))
