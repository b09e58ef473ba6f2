"""The HTTP server over real sockets: bytes in, bytes out, and its bounds."""

from __future__ import annotations

import asyncio
import re

import pytest

from millpond.base import limits
from millpond.monitor.http import Answer, HttpServer, Request, http_date, parse_target

PLAIN_400 = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"


async def echo(request: Request) -> Answer:
    if request.path == "/boom":
        raise RuntimeError("boom")
    if request.path == "/big":
        return Answer(b"x" * 10_000_000)
    return Answer(f"{request.method} {request.path} {request.query}".encode(), headers=(("X-A", "b"),))


def talk(sent: bytes) -> bytes:
    """Everything that comes back until the server closes, without the date."""

    async def main() -> bytes:
        server = HttpServer(echo)
        reader, writer = await asyncio.open_connection("127.0.0.1", await server.listen("127.0.0.1", 0))
        writer.write(sent)
        writer.write_eof()
        got = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        server.close()
        return re.sub(rb"Date: [^\r]+ GMT\r\n", b"", got)

    return asyncio.run(main())


def answer(body: bytes, extra: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"HTTP/%s 200 OK\r\nX-A: b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n%s\r\n"
    return head % (version, len(body), extra) + body


HOST = b"Host: x\r\n\r\n"
TABLE = [
    (b"GET /a?b=c HTTP/1.1\r\n" + HOST, answer(b"GET /a b=c")),
    (b"GET /a HTTP/1.1\r\nConnection: close\r\n" + HOST, answer(b"GET /a ", b"Connection: close\r\n")),
    (b"GET /a HTTP/1.1\r\n" + HOST + b"GET /b HTTP/1.1\r\n" + HOST, answer(b"GET /a ") + answer(b"GET /b ")),
    (b"GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n", answer(b"GET /a ", version=b"1.0")),
    (
        b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
        answer(b"GET /a ", b"Connection: keep-alive\r\n", b"1.0") + answer(b"GET /b ", version=b"1.0"),
    ),
    (b"HEAD /a HTTP/1.1\r\n" + HOST, answer(b"HEAD /a ").removesuffix(b"HEAD /a ")),
    (b"GET http://elsewhere/a?b HTTP/1.1\r\n" + HOST, answer(b"GET /a b")),
    (b"GET /%61%20 HTTP/1.1\r\n" + HOST, answer(b"GET /a  ")),
    (b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n" + HOST + b"abcGET /b HTTP/1.1\r\n" + HOST,
     answer(b"POST /a ") + answer(b"GET /b ")),
    (b"GET /%zz HTTP/1.1\r\n" + HOST, PLAIN_400 + b"400 Bad Request"),
    (b"garbage\r\n\r\n", PLAIN_400 + b"400 Bad Request"),
    (
        b"GET /a HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 400 Bad Request: missing required Host header\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Connection: close\r\n\r\n400 Bad Request: missing required Host header",
    ),
    (b"", b""),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), TABLE, ids=range(len(TABLE)))
def test_exchange(sent: bytes, expected: bytes) -> None:
    assert talk(sent) == expected


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /a HTTP/2.0\r\n" + HOST, b"505 HTTP Version Not Supported"),
        (b"GET /a HTTP/1.1\r\nX: " + b"b" * (limits.HTTP_HEAD_BYTES_MAX + 1), b"431 Request Header"),
        (b"GET /a HTTP/1.1\r\n" + b"X: y\r\n" * (limits.HTTP_HEADERS_MAX + 1) + HOST, b"431 Request Header"),
        (
            b"POST /a HTTP/1.1\r\nContent-Length: 10000000\r\n" + HOST + b"x" * (limits.HTTP_BODY_BYTES_MAX + 1),
            b"413 Request Entity",
        ),
        (b"GET /boom HTTP/1.1\r\n" + HOST, b"500 Internal Server Error"),
    ],
)
def test_refusal(sent: bytes, status: bytes) -> None:
    assert talk(sent).startswith(b"HTTP/1.1 " + status)


def test_a_large_answer_arrives_whole() -> None:
    head, _, body = talk(b"GET /big HTTP/1.1\r\n" + HOST).partition(b"\r\n\r\n")
    assert b"Content-Length: 10000000" in head
    assert body == b"x" * 10_000_000


def test_request_in_single_bytes_and_keep_alive() -> None:
    async def main() -> None:
        server = HttpServer(echo)
        reader, writer = await asyncio.open_connection("127.0.0.1", await server.listen("127.0.0.1", 0))
        for number in range(3):
            for byte in b"GET /%d HTTP/1.1\r\n" % number + HOST:
                writer.write(bytes([byte]))
                await writer.drain()
            body = b"GET /%d " % number
            assert (await asyncio.wait_for(reader.readuntil(body), 5)).endswith(body)
        assert len(server.connections) == 1
        server.close()
        assert await reader.read() == b""
        writer.close()

    asyncio.run(main())


def test_more_connections_than_allowed_get_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_CONNECTIONS_MAX", 2)

    async def main() -> None:
        server = HttpServer(echo)
        port = await server.listen("127.0.0.1", 0)
        kept = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /a HTTP/1.1\r\n" + HOST)
            await asyncio.wait_for(reader.readuntil(b"GET /a "), 5)
            kept.append(writer)
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 503 Service Unavailable")
        kept[0].close()
        server.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("bound", "sent"),
    [
        ("HTTP_READ_HEAD_S", b""),
        ("HTTP_READ_HEAD_S", b"GET /a HT"),
        ("HTTP_IDLE_S", b"GET /a HTTP/1.1\r\n" + HOST),
        ("HTTP_READ_HEAD_S", b"GET /a HTTP/1.1\r\n" + HOST + b"GET /b"),
        ("HTTP_WRITE_S", b"GET /big HTTP/1.1\r\n" + HOST),
    ],
)
def test_a_peer_that_stops_is_cut(monkeypatch: pytest.MonkeyPatch, bound: str, sent: bytes) -> None:
    monkeypatch.setattr(limits, bound, 0.02)

    async def main() -> None:
        server = HttpServer(echo)
        _, writer = await asyncio.open_connection("127.0.0.1", await server.listen("127.0.0.1", 0), limit=1)
        writer.write(sent)
        async with asyncio.timeout(10):
            while not server.connections:
                await asyncio.sleep(0)
            while server.connections:
                await asyncio.sleep(0.001)
        writer.close()
        server.close()

    asyncio.run(main())


def test_dates_and_targets() -> None:
    import time

    assert http_date(time.gmtime(0)) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert parse_target("GET", "/a#b") == Request("GET", "/a", "")
    assert parse_target("GET", "/a%") is None
    assert parse_target("GET", "/%ff") == Request("GET", "/\ufffd", "")
