"""Connections over WebSocket in a server: their upgrade, their bounds, their pages. tests/conformance has the rest."""

from __future__ import annotations

import asyncio
import json
import os
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.certificates import Authority, client_context
from tests.ws_client import BINARY, CONTINUATION, Frame, deflated, frame, request, split

import millpond
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.broker.connection_info import client_info
from millpond.config.options import Options
from millpond.config.tls import TlsOptions
from millpond.config.websocket import WebsocketOptions
from millpond.server import reload

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'
OPEN = WebsocketOptions(host="127.0.0.1", port=-1, no_tls=True)


def run(
    scenario: Callable[[millpond.Server], Awaitable[None]], options: WebsocketOptions = OPEN, **settings: Any
) -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False, websocket=options, **settings) as server:
            await asyncio.wait_for(scenario(server), 30)

    asyncio.run(main())


def port(server: millpond.Server) -> int:
    return int(server.websocket_url.rpartition(":")[2])


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.buffer, self.text = reader, writer, b"", b""

    @classmethod
    async def open(cls, server: millpond.Server, **context: Any) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", port(server), **context))
        client.writer.write(request())
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        info = json.loads((await client.until(b"\r\n"))[5:])
        assert info["port"] == port(server)
        client.writer.write(frame(CONNECT))
        return client

    async def until(self, end: bytes) -> bytes:
        """What came, up to these bytes at its end."""
        while not self.text.endswith(end):
            data = await self.reader.read(1 << 20)
            assert data, self.text
            frames, self.buffer = split(self.buffer + data)
            self.text += b"".join(each.payload for each in frames)
        text, self.text = self.text.replace(b"PING\r\n", b""), b""
        return text


def test_a_client_that_reads_late_gets_everything() -> None:
    body = bytes(range(256)) * 400

    async def scenario(server: millpond.Server) -> None:
        late, sender = await Client.open(server), await Client.open(server)
        late.writer.write(frame(b"SUB a 1\r\nPING\r\n"))
        assert await late.until(b"PONG\r\n") == b"PONG\r\n"
        late.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sender.writer.write(frame(b"PUB a %d\r\n%s\r\n" % (len(body), body)) * 100)
        sender.writer.write(frame(b"PUB a 3\r\nend\r\nPING\r\n"))
        await sender.until(b"PONG\r\n")
        late.writer.transport.resume_reading()  # type: ignore[attr-defined]
        expected = b"MSG a 1 %d\r\n%s\r\n" % (len(body), body)
        assert await late.until(b"end\r\n") == expected * 100 + b"MSG a 1 3\r\nend\r\n"

    run(scenario)


def test_a_client_that_takes_nothing_is_closed_for_its_time() -> None:
    async def scenario(server: millpond.Server) -> None:
        slow, fast = await Client.open(server), await Client.open(server)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        slow.writer.write(frame(b"SUB a 1\r\n"))
        fast.writer.write(frame(b"PUB a 1048576\r\n%s\r\n" % bytes(1 << 20)) * 12)
        while not server.broker.closed:
            await asyncio.sleep(0)
        assert server.broker.closed[-1].reason == "Slow Consumer (Write Deadline)"

    run(scenario, write_deadline_ns=200_000_000, no_fast_producer_stall=True)


@pytest.mark.parametrize("said", [b"", b"GET / HT", request()[:-2]])
def test_an_upgrade_has_a_deadline(said: bytes) -> None:
    async def scenario(server: millpond.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port(server))
        writer.write(said)
        assert await reader.read() == b""
        assert not server.broker.sessions and not server.broker.closed

    run(scenario, msgspec.structs.replace(OPEN, handshake_timeout_ns=100_000_000))


@pytest.mark.parametrize(
    ("said", "status"),
    [(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * limits.HTTP_HEAD_BYTES_MAX, b"431"), (b"\x16\x03\x01\r\n\r\n", b"400"),
     (request() + frame(b"PING\r\n"), b"400"), (request("/leafnode"), b"404"), (request(Host=None), b"400")],
)  # fmt: skip
def test_what_is_no_upgrade_is_answered_and_closed(said: bytes, status: bytes) -> None:
    async def scenario(server: millpond.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port(server))
        writer.write(said)
        assert (await reader.readline()).split(b" ")[1] == status
        await reader.read()

    run(scenario)


def test_over_tls_with_another_certificate_after_a_reload(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.server("first")
    tls = TlsOptions(cert_file=str(pair.cert_file), key_file=str(pair.key_file))
    context = {"ssl": client_context(authority.ca_file), "server_hostname": "localhost"}

    def name(client: Client) -> str:
        return str(dict(part[0] for part in client.writer.get_extra_info("peercert")["subject"])["commonName"])

    async def scenario(server: millpond.Server) -> None:
        assert server.websocket_url.startswith("wss://")
        before = await Client.open(server, **context)
        authority.server("second").copy_over(pair)
        reload.apply(server, server.asked)
        after = await Client.open(server, **context)
        assert (name(before), name(after)) == ("first", "second")
        for client in (before, after):
            client.writer.write(frame(b"PING\r\n"))
            assert await client.until(b"PONG\r\n") == b"PONG\r\n"

    run(scenario, WebsocketOptions(host="127.0.0.1", port=-1, tls=tls))


def test_nothing_but_the_certificate_can_change() -> None:
    old = Options(websocket=OPEN)
    for changes in ({"compression": True}, {"port": 1}, {"no_auth_user": "a"}):
        with pytest.raises(OptionError, match="not supported for websocket"):
            reload.changes(old, Options(websocket=msgspec.structs.replace(OPEN, **changes)))
    assert reload.changes(old, old) == []


COMPRESSING = msgspec.structs.replace(OPEN, compression=True)
EXTENSION = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


async def stranger(server: millpond.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Has upgraded, with compression, and said nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(server))
    writer.write(request(Sec_WebSocket_Extensions=EXTENSION))
    assert b"permessage-deflate" in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def test_a_stranger_makes_us_hold_little_of_what_is_compressed() -> None:
    async def scenario(server: millpond.Server) -> None:
        _, writer = await stranger(server)
        piece, most = os.urandom(2000), 0
        for number in range(1000):
            if server.broker.closed:
                break
            writer.write(frame(piece, CONTINUATION if number else BINARY, bits=0 if number else 4))
            await asyncio.sleep(0)
            most = max(most, server.broker.connections.used)
        assert server.broker.closed and most < 64 * 1024
        writer.close()

    run(scenario, COMPRESSING, token="secret")


def test_who_says_who_it_is_may_send_much_with_it() -> None:
    body = os.urandom(60_000)

    async def scenario(server: millpond.Server) -> None:
        reader, writer = await stranger(server)
        said = b"PUB a %d\r\n%s\r\nPING\r\n" % (len(body), body)
        writer.write(frame(b'CONNECT {"auth_token":"secret","verbose":false}\r\n') + frame(deflated(said), bits=12))
        text, rest = b"", b""
        while not text.endswith(b"PONG\r\n"):
            frames, rest = split(rest + await reader.read(1 << 16))
            text += b"".join(inflated(each) for each in frames)
        assert server.broker.statistics()["in_msgs"] == 1
        writer.close()

    run(scenario, COMPRESSING, token="secret")


def test_a_larger_payload_is_allowed_from_a_reload_on() -> None:
    said = b"PUB a 3000\r\n" + bytes(3000) + b"\r\nPING\r\n"

    async def scenario(server: millpond.Server) -> None:
        reader, writer = await stranger(server)
        writer.write(frame(b'CONNECT {"verbose":false}\r\n'))
        reload.apply(server, msgspec.structs.replace(server.asked, max_payload=10_000))
        writer.write(frame(deflated(said), bits=12))
        text, rest = b"", b""
        while not text.endswith(b"PONG\r\n"):
            frames, rest = split(rest + await reader.read(1 << 16))
            text += b"".join(inflated(each) for each in frames)
        writer.close()

    run(scenario, COMPRESSING, max_payload=1000)


def inflated(each: Frame) -> bytes:
    if not each.bits & 4:
        return each.payload
    return zlib.decompressobj(-15).decompress(each.payload + b"\x00\x00\xff\xff")


def test_what_connections_over_tls_hold_is_given_back(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.server()
    tls = TlsOptions(cert_file=str(pair.cert_file), key_file=str(pair.key_file))
    context = {"ssl": client_context(authority.ca_file), "server_hostname": "localhost"}

    async def scenario(server: millpond.Server) -> None:
        before = server.broker.connections.used
        clients = [await Client.open(server, **context) for _ in range(3)]
        assert server.broker.connections.used > before + 3 * limits.TLS_CONNECTION_BYTES
        for client in clients:
            client.writer.close()
        while server.broker.sessions:
            await asyncio.sleep(0)
        assert server.broker.connections.used < before + 3 * 500  # what /connz remembers of them

    run(scenario, WebsocketOptions(host="127.0.0.1", port=-1, tls=tls))


def test_each_listener_has_its_own_pins(tmp_path: Path) -> None:
    """A change of one says nothing of who came in over the other."""
    authority = Authority(tmp_path)
    pair = authority.server()
    tls = TlsOptions(cert_file=str(pair.cert_file), key_file=str(pair.key_file))
    context = {"ssl": client_context(authority.ca_file), "server_hostname": "localhost"}
    pinned = frozenset({"0" * 64})

    async def scenario(server: millpond.Server) -> None:
        client = await Client.open(server, **context)
        client.writer.write(frame(b"PING\r\n"))
        await client.until(b"PONG\r\n")
        own = msgspec.structs.replace(tls, pinned_certs=pinned)
        reload.apply(server, msgspec.structs.replace(server.asked, tls=own))
        client.writer.write(frame(b"PING\r\n"))
        await client.until(b"PONG\r\n")
        websocket = msgspec.structs.replace(server.asked.websocket, tls=own)
        reload.apply(server, msgspec.structs.replace(server.asked, websocket=websocket))
        assert not server.broker.sessions and server.broker.closed[-1].reason == "TLS Handshake Failure"
        client.writer.close()

    run(scenario, WebsocketOptions(host="127.0.0.1", port=-1, tls=tls), tls=tls)


def test_who_comes_over_websocket_is_told_of_as_such() -> None:
    async def scenario(server: millpond.Server) -> None:
        client = await Client.open(server)
        client.writer.write(frame(b"PING\r\n"))
        await client.until(b"PONG\r\n")
        (session,) = server.broker.sessions.values()
        assert client_info(session.info(False))["client_type"] == "websocket"
        client.writer.close()

    run(scenario)
