"""TLS connections: cut anywhere, slow, hostile, and under a reload. tests/conformance compares with nats-server."""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from tests.certificates import Authority, client_context

import millpond
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config.security import User
from millpond.config.tls import TlsOptions
from millpond.server import reload

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'
Scenario = Callable[[millpond.Server], Awaitable[None]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def options(authority: Authority) -> TlsOptions:
    pair = authority.server()
    return TlsOptions(cert_file=str(pair.cert_file), key_file=str(pair.key_file), ca_file=str(authority.ca_file))


def run(scenario: Scenario, options: TlsOptions, **settings: Any) -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False, tls=options, **settings) as server:
            await asyncio.wait_for(scenario(server), 30)

    asyncio.run(main())


class Secured:
    """A client whose records are in our hands: `cut` sends what OpenSSL wrote in pieces of so many bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        self.reader, self.writer = reader, writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.plain = b""

    @classmethod
    async def open(cls, server: millpond.Server, context: ssl.SSLContext) -> Secured:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert json.loads((await reader.readline())[5:])["tls_required"]
        client = cls(reader, writer, context)
        while True:
            try:
                client.ssl.do_handshake()
                break
            except ssl.SSLWantReadError:
                await client.send_records()
                await client.more()
        await client.send_records()
        return client

    async def send_records(self, server: millpond.Server | None = None, cut: int = 0) -> None:
        """With a server: each piece is read before the next one leaves."""
        data = self.outgoing.read()
        for at in range(0, len(data), cut or max(1, len(data))):
            seen = server.broker.turn.turns if server is not None else 0
            self.writer.write(data[at : at + (cut or len(data))])
            await self.writer.drain()
            while server is not None and server.broker.turn.turns == seen:
                await asyncio.sleep(0)

    async def more(self) -> None:
        data = await self.reader.read(65536)
        if not data:
            raise EOFError
        self.incoming.write(data)

    async def say(self, data: bytes) -> None:
        self.ssl.write(data)
        await self.send_records()

    async def exactly(self, size: int) -> bytes:
        while len(self.plain) < size:
            try:
                self.plain = (self.plain + self.ssl.read(65536)).replace(b"PING\r\n", b"")  # of a slow machine
            except ssl.SSLWantReadError:
                await self.more()
        data, self.plain = self.plain[:size], self.plain[size:]
        return data

    async def until_end(self) -> bytes:
        """Everything, up to close_notify."""
        while True:
            try:
                piece = self.ssl.read(65536)
                if not piece:
                    return self.plain
                self.plain += piece
            except ssl.SSLZeroReturnError:
                return self.plain
            except ssl.SSLWantReadError:
                await self.more()


def publish(body: bytes) -> bytes:
    return b"PUB a %d\r\n%s\r\n" % (len(body), body)


def delivered(body: bytes) -> bytes:
    return b"MSG a 1 %d\r\n%s\r\n" % (len(body), body)


async def closed_reason(server: millpond.Server) -> str:
    while not server.broker.closed:
        await asyncio.sleep(0)
    return str(server.broker.closed[-1].reason)


# --- bytes ---


def test_records_may_be_cut_anywhere(options: TlsOptions, authority: Authority) -> None:
    bodies = [bytes([65 + i % 26]) * size for i, size in enumerate((0, 1, 700, 5000, 3, 300_000, 17, 16_384))]
    sent, expected = b"".join(map(publish, bodies)), b"".join(map(delivered, bodies))

    async def scenario(server: millpond.Server) -> None:
        for step in (1009, 65_521, len(sent) * 2):
            client = await Secured.open(server, client_context(authority.ca_file))
            await client.say(CONNECT + b"SUB a 1\r\n")
            client.ssl.write(sent)
            await client.send_records(server, step)
            assert await client.exactly(len(expected)) == expected
            client.writer.close()

    run(scenario, options)


def test_records_of_one_byte(options: TlsOptions, authority: Authority) -> None:
    async def scenario(server: millpond.Server) -> None:
        client = await Secured.open(server, client_context(authority.ca_file))
        for byte in CONNECT + b"SUB a 1\r\n" + publish(b"hi") + b"PING\r\n":
            client.ssl.write(bytes([byte]))
        await client.send_records()
        assert await client.exactly(len(delivered(b"hi")) + 6) == delivered(b"hi") + b"PONG\r\n"

    run(scenario, options)


def test_many_messages_wait_for_their_turn(options: TlsOptions, authority: Authority) -> None:
    """More frames in one read than a turn has time for; the last of them comes with the end of the connection."""
    count = 60_000

    async def scenario(server: millpond.Server) -> None:
        client = await Secured.open(server, client_context(authority.ca_file))
        client.ssl.write(CONNECT + b"PUB a 0\r\n\r\n" * count)
        with pytest.raises(ssl.SSLWantReadError):
            client.ssl.unwrap()
        await client.send_records()
        assert await closed_reason(server) == "Client Closed"
        assert server.broker.statistics()["in_msgs"] == count

    run(scenario, options)


def test_the_end_is_said(options: TlsOptions, authority: Authority) -> None:
    """The last -ERR, then close_notify: no client takes it for an attack that cuts connections."""

    async def scenario(server: millpond.Server) -> None:
        client = await Secured.open(server, client_context(authority.ca_file))
        await client.say(CONNECT + b"NONSENSE\r\n")
        assert await client.until_end() == b"-ERR 'Unknown Protocol Operation'\r\n"

    run(scenario, options)


# --- flow control ---


async def flooded(server: millpond.Server, context: ssl.SSLContext, body: bytes) -> str:
    """Publishes to a client that does not read until it is closed; the reason."""
    slow = await Secured.open(server, context)
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await slow.say(CONNECT + b"SUB a 1\r\nPING\r\n")
    fast = await Secured.open(server, context)
    await fast.say(CONNECT)
    while len(server.broker.closed) == 0:
        await fast.say(publish(body))
        seen = server.broker.turn.turns
        while server.broker.turn.turns == seen and not server.broker.closed:
            await asyncio.sleep(0)
        held = [session.output_allocated for session in server.broker.sessions.values()]
        assert max(held, default=0) < 4 * 1024 * 1024
    return str(server.broker.closed[-1].reason)


def test_a_slow_client_is_closed_for_what_waits(options: TlsOptions, authority: Authority) -> None:
    async def scenario(server: millpond.Server) -> None:
        reason = await flooded(server, client_context(authority.ca_file), bytes(60_000))
        assert reason == "Slow Consumer (Pending Bytes)"

    run(scenario, options, max_pending=1_000_000, max_payload=100_000)


def test_a_client_that_takes_nothing_is_closed_for_its_time(options: TlsOptions, authority: Authority) -> None:
    async def scenario(server: millpond.Server) -> None:
        slow = await Secured.open(server, client_context(authority.ca_file))
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await slow.say(CONNECT + b"SUB a 1\r\n")
        fast = await Secured.open(server, client_context(authority.ca_file))
        await fast.say(CONNECT + publish(bytes(1 << 20)) * 12)
        assert await closed_reason(server) == "Slow Consumer (Write Deadline)"

    run(scenario, options, write_deadline_ns=200_000_000, no_fast_producer_stall=True)


def test_a_client_that_reads_late_gets_everything(options: TlsOptions, authority: Authority) -> None:
    bodies = [os.urandom(random.Random(7).randrange(1, 200_000)) for _ in range(100)]
    expected = b"".join(map(delivered, bodies))

    async def scenario(server: millpond.Server) -> None:
        late = await Secured.open(server, client_context(authority.ca_file))
        await late.say(CONNECT + b"SUB a 1\r\nPING\r\n")
        assert await late.exactly(6) == b"PONG\r\n"
        late.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sender = await Secured.open(server, client_context(authority.ca_file))
        await sender.say(CONNECT + b"".join(map(publish, bodies)) + b"PING\r\n")
        assert await sender.exactly(6) == b"PONG\r\n"
        late.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await late.exactly(len(expected)) == expected

    run(scenario, options)


# --- hostility ---


def test_a_handshake_is_bounded(options: TlsOptions) -> None:
    """One record after the other that never makes a hello."""
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x01\xff\xff" + bytes(0x3FFC)

    async def scenario(server: millpond.Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        sent = 0
        while not server.broker.closed:
            writer.write(record)
            sent += len(record)
            seen = server.broker.turn.turns
            while server.broker.turn.turns == seen and not server.broker.closed:
                await asyncio.sleep(0)
            assert sent <= limits.TLS_HANDSHAKE_BYTES_MAX + 2 * len(record)
        assert server.broker.closed[-1].reason == "TLS Handshake Failure"

    run(scenario, options)


def test_any_bytes_instead_of_a_hello(options: TlsOptions, authority: Authority) -> None:
    """A real hello with bytes changed, cut or repeated: the connection ends or waits, the server goes on."""
    rng = random.Random(20)

    def hello() -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context(authority.ca_file).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        return outgoing.read()

    async def scenario(server: millpond.Server) -> None:
        for _ in range(150):
            data = bytearray(hello())
            for _ in range(rng.randrange(1, 5)):
                at = rng.randrange(len(data))
                data[at : at + rng.randrange(2)] = bytes([rng.randrange(256)])
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(bytes(data[: rng.randrange(1, len(data) + 1)]) + os.urandom(rng.randrange(50)))
            writer.close()
        while server.broker.sessions or len(server.broker.closed) < 150:
            await asyncio.sleep(0)
        assert {row.reason for row in server.broker.closed} == {"TLS Handshake Failure"}
        client = await Secured.open(server, client_context(authority.ca_file))
        await client.say(CONNECT + b"PING\r\n")
        assert await client.exactly(6) == b"PONG\r\n"

    run(scenario, options)


def test_a_broken_record_ends_its_connection(options: TlsOptions, authority: Authority) -> None:
    async def scenario(server: millpond.Server) -> None:
        client = await Secured.open(server, client_context(authority.ca_file))
        await client.say(CONNECT + b"PING\r\n")
        assert await client.exactly(6) == b"PONG\r\n"
        client.ssl.write(b"PING\r\n")
        record = bytearray(client.outgoing.read())
        record[-1] ^= 1
        client.writer.write(bytes(record))
        assert await closed_reason(server) == "Read Error"
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            await client.until_end()

    run(scenario, options)


def test_what_connections_hold_is_given_back(options: TlsOptions, authority: Authority) -> None:
    async def scenario(server: millpond.Server) -> None:
        before = server.broker.connections.used
        clients = [await Secured.open(server, client_context(authority.ca_file)) for _ in range(3)]
        clients.append(await Secured.open(server, client_context(authority.ca_file)))
        assert server.broker.connections.used > before + 4 * 5000
        for client in clients:
            client.writer.close()
        while server.broker.sessions:
            await asyncio.sleep(0)
        assert server.broker.connections.used < before + 4 * 500  # what /connz remembers of them

    run(scenario, options)


def test_sessions_without_tickets_are_not_remembered_without_end(options: TlsOptions, authority: Authority) -> None:
    async def scenario(server: millpond.Server) -> None:
        context = client_context(authority.ca_file, maximum_version=ssl.TLSVersion.TLSv1_2)
        context.options |= ssl.OP_NO_TICKET
        for _ in range(limits.TLS_SESSIONS_REMEMBERED_MAX + 40):
            client = await Secured.open(server, context)
            client.writer.close()
        while server.broker.sessions:
            await asyncio.sleep(0)
        remembered = server._listener.door.context.session_stats()["number"]
        assert 0 < remembered <= limits.TLS_SESSIONS_REMEMBERED_MAX

    run(scenario, options)


# --- clients, pages, embedding ---


def test_nats_py_with_everything(options: TlsOptions, authority: Authority, tmp_path: Path) -> None:
    verify = msgspec.structs.replace(options, verify=True)
    context = client_context(authority.ca_file, authority.client("someone"))

    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path), tls=verify, http_port=-1) as server:
            assert server.client_url.startswith("tls://")
            nc = await nats.connect(server.client_url, tls=context, tls_hostname="localhost")
            js = nc.jetstream()
            await js.add_stream(name="S", subjects=["s.>"])
            for number in range(50):
                assert (await js.publish("s.a", bytes(number * 1000))).seq == number + 1
            sub = await js.subscribe("s.>")
            sizes = [len((await sub.next_msg()).data) for _ in range(50)]
            assert sizes == [number * 1000 for number in range(50)]
            await nc.close()

    asyncio.run(main())


def test_nats_py_with_the_handshake_first(options: TlsOptions, authority: Authority) -> None:
    async def scenario(server: millpond.Server) -> None:
        nc = await nats.connect(
            server.client_url, tls=client_context(authority.ca_file), tls_hostname="localhost", tls_handshake_first=True
        )
        await nc.flush()
        await nc.close()

    run(scenario, msgspec.structs.replace(options, handshake_first=True))


def test_pages_over_https(options: TlsOptions, authority: Authority) -> None:
    verify = msgspec.structs.replace(options, verify=True)  # nobody is asked for a certificate here

    async def scenario(server: millpond.Server) -> None:
        assert server.monitor_url.startswith("https://")
        port = int(server.monitor_url.rpartition(":")[2])
        context = client_context(authority.ca_file)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        for _ in range(2):  # the connection is kept
            writer.write(b"GET /varz HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            page = json.loads(await reader.readexactly(size))
            assert page["https_port"] == -1 and page["tls_verify"]
        writer.close()
        plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", port)
        plain_writer.write(b"GET /varz HTTP/1.1\r\n\r\n")
        assert await plain_reader.read() == b""

    run(scenario, verify, https_port=-1)


def test_a_certificate_that_cannot_be_used_is_told_before_anything_listens(
    options: TlsOptions, authority: Authority
) -> None:
    other = authority.server("other")
    for wrong, text in (
        ({"cert_file": "/nothing.pem"}, "open /nothing.pem: no such file or directory"),
        ({"key_file": str(other.key_file)}, "tls: private key does not match public key"),
        ({"ca_file": str(other.key_file)}, "failed to parse root ca certificate"),
    ):
        server = millpond.Server(jetstream=False, tls=msgspec.structs.replace(options, **wrong))
        with pytest.raises(OptionError, match=text):
            asyncio.run(server.start())
        assert not server.is_running


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(
    options: TlsOptions, authority: Authority, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    pair, locked = authority.server("locked"), tmp_path / "locked.pem"
    locked.write_bytes(pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    asked = TlsOptions(cert_file=str(pair.cert_file), key_file=str(locked))
    with pytest.raises(OptionError, match="the private key is encrypted"):
        asyncio.run(millpond.Server(jetstream=False, tls=asked).start())


def test_who_is_verified_again_costs_no_turns_meanwhile(options: TlsOptions, authority: Authority) -> None:
    """Records that the kernel did not take wait for the verdict as well, and nobody asks for them all the time."""
    kept = User(name="p", password="x")

    async def scenario(server: millpond.Server) -> None:
        verdicts: list[Callable[[bool], None]] = []

        class Job:
            begun = True

        class Later:
            def verify(self, attempt: Any, ip: str, done: Callable[[bool], None]) -> Job:
                verdicts.append(done)
                return Job()

            def give_up(self, job: Any) -> None: ...

            def close(self) -> None: ...

        server.broker.verifier.close()
        server.broker.verifier = Later()
        context = client_context(authority.ca_file)
        h, p = await Secured.open(server, context), await Secured.open(server, context)
        await h.say(b'CONNECT {"user":"h","pass":"secret","verbose":false}\r\nSUB a 1\r\n')
        while not verdicts:
            await asyncio.sleep(0)
        verdicts.pop()(True)
        await p.say(b'CONNECT {"user":"p","pass":"x","verbose":false}\r\n')
        (session,) = [each for each in server.broker.sessions.values() if each.info(False).authorized_user == "h"]
        h.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while session.info(False).pending_bytes == 0:
            await p.say(publish(bytes(100_000)))
            await asyncio.sleep(0)
        hashed = User(name="h", password="$2b$04$" + "b" * 53)
        reload.apply(server, msgspec.structs.replace(server.asked, users=(hashed, kept)))
        assert session.verifying
        before = server.broker.turn.turns
        for _ in range(2000):
            await asyncio.sleep(0)
        assert server.broker.turn.turns - before < 100
        verdicts.pop()(True)
        h.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while session.info(False).pending_bytes:
            await h.more()

    users = (User(name="h", password="$2b$04$" + "a" * 53), kept)
    run(scenario, options, users=users, no_fast_producer_stall=True)
