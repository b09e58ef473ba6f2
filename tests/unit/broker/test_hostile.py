"""Clients that mean harm: none of them ends the server, holds it up, or makes it hold more than its share.

The classes follow the advisories of the NATS project: crash or memory before authentication, crash and resource
exhaustion behind it, injection, disclosure.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket

import pytest
from session_rig import CONNECT, Wire, run

import millpond
from millpond.base import limits

SECRETS = {"username": "CANARY-user", "password": "CANARY-password"}
GOOD = b'CONNECT {"user":"CANARY-user","pass":"CANARY-password","verbose":false}\r\n'


async def deaf(server: millpond.Server, data: bytes) -> socket.socket:
    """A connection that has said `data` and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", server.port))
    await loop.sock_sendall(sock, data)
    return sock


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0)


# --- output that nobody reads ---


@pytest.mark.parametrize(
    "flood",
    [
        b"PING\r\n",
        b"SUB a 1\r\n",  # verbose: +OK for each
        b"SUB a.. 1\r\n",
        b"PUB nobody inbox 0\r\n\r\n",  # 503 for each
        b"PUB a..b 0\r\n\r\n",
    ],
)
def test_answers_that_are_not_read_are_bounded(flood: bytes) -> None:
    async def scenario(server: millpond.Server) -> None:
        loop = asyncio.get_running_loop()
        sock = await deaf(server, b'CONNECT {"headers":true,"no_responders":true}\r\nSUB inbox 9\r\n')
        await until(lambda: server.broker.sessions)
        (session,) = server.broker.sessions.values()
        with pytest.raises(ConnectionError):
            while True:
                await loop.sock_sendall(sock, flood * 2000)
        assert session.output_allocated == 0
        assert server.broker.closed[-1].reason == "Slow Consumer (Pending Bytes)"

    run(scenario, max_pending=200_000, max_payload=100_000)


def test_a_reader_that_stays_nearly_full_does_not_stop_producers() -> None:
    """It may slow them down, by a few milliseconds for each 64 KiB, however small their messages are."""

    async def scenario(server: millpond.Server) -> None:
        slow = await deaf(server, CONNECT + b"SUB a 1\r\n")
        fast = await Wire.open(server)
        big = b"PUB a 50000\r\n" + b"x" * 50_000 + b"\r\n"
        while server.broker.statistics()["stalled_clients"] == 0:
            await fast.say(big)
        before = server.broker.statistics()["stalled_clients"]
        small = b"PUB a 10\r\n0123456789\r\n"
        await fast.say(small * 4000)
        stalls = server.broker.statistics()["stalled_clients"] - before
        assert stalls <= len(small) * 4000 // 65_536 + 2
        slow.close()

    run(scenario, max_pending=4_000_000)


# --- work that nobody can wait for ---


def test_one_that_makes_much_work_lets_others_in() -> None:
    async def scenario(server: millpond.Server) -> None:
        crowd = await Wire.open(server)
        await crowd.say(b"".join(b"SUB a %d\r\n" % n for n in range(2000)))
        busy, other = await Wire.open(server), await Wire.open(server)
        await other.say(b"")
        frames = 2000
        busy.writer.write(b"PUB a 0\r\n\r\n" * frames)
        drain = asyncio.ensure_future(crowd.reader.read(1 << 30))
        await until(lambda: server.broker.statistics()["in_msgs"] > 0)
        await other.say(b"")
        assert server.broker.statistics()["in_msgs"] < frames, "the other one had to wait for all of it"
        drain.cancel()

    run(scenario)


def test_many_busy_connections_are_all_heard() -> None:
    async def scenario(server: millpond.Server) -> None:
        crowd = await Wire.open(server)
        await crowd.say(b"".join(b"SUB a %d\r\n" % n for n in range(300)))
        drain = asyncio.ensure_future(crowd.reader.read(1 << 30))
        wires = [await Wire.open(server) for _ in range(20)]
        for wire in wires:
            wire.writer.write(b"PUB a 0\r\n\r\n" * 200)
        await asyncio.gather(*(wire.say(b"") for wire in wires))
        assert server.broker.statistics()["in_msgs"] == 200 * len(wires)
        drain.cancel()

    run(scenario)


def test_one_with_many_subscriptions_leaves_in_portions() -> None:
    async def scenario(server: millpond.Server) -> None:
        count = 3 * limits.SUBSCRIPTIONS_REMOVED_PER_TURN + 1
        sublist = server.broker.router.sublist
        own = sublist.statistics()["subscriptions"]
        crowd, other = await Wire.open(server), await Wire.open(server)
        await crowd.say(b"".join(b"SUB a 1%d\r\n" % n for n in range(count)))
        await other.say(b"SUB a 1\r\n")
        session = min(server.broker.sessions.items())[1]
        session.close("Kicked")
        left = []
        while not left or left[-1] > 1:
            left.append(sublist.statistics()["subscriptions"] - own)
            server.broker.turn.finish_now()
        assert left[:2] == [count + 1, count + 1 - limits.SUBSCRIPTIONS_REMOVED_PER_TURN]
        assert await other.say(b"PUB a 0\r\n\r\n") == b"MSG a 1 0\r\n\r\n"

    run(scenario)


# --- any operation in any state ---

OPERATIONS = [
    b"PUB a 1\r\nx\r\n", b"HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n", b"HPUB a 0 0\r\n\r\n", b"SUB a 1\r\n",
    b"SUB a q 1\r\n", b"UNSUB 1\r\n",
    b"UNSUB 1 1\r\n", b"CONNECT {}\r\n", b"CONNECT null\r\n", GOOD, b'CONNECT {"protocol":9}\r\n', b"PING\r\n",
    b"PONG\r\n", b"INFO {}\r\n",
    b"INFO null\r\n", b"INFO []\r\n", b"+OK\r\n", b"-ERR 'x'\r\n", b"MSG a 1 0\r\n\r\n", b"HMSG a 1 0 0\r\n\r\n",
    b"RS+ a b\r\n", b"LS+ a\r\n", b"A- x\r\n",
    b"\r\n", b"\x00" * 100, b"PUB a 999999999\r\n", b"PUB a r 1 \r\n", b"CONNECT " + b"[" * 4000 + b"\r\n",
    b"SUB " + b"a." * 2000 + b"> 1\r\n",
]  # fmt: skip
STATES = [
    b"", CONNECT, GOOD, b"PUB a 10\r\nhalf", b"HPUB a 12 20\r\nNATS/1.0\r\n", b"SUB a 1\r\nUNSUB 1 1\r\n", b"SU",
    b"PING", b"CONNECT", b"CONNECT {",
    b'CONNECT {"echo":false,"verbose":true}\r\nSUB > 1\r\n', b"PONG\r\nPONG\r\n",
]  # fmt: skip


@pytest.mark.parametrize("settings", [{}, SECRETS], ids=["open", "guarded"])
def test_every_operation_in_every_state(settings: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: millpond.Server) -> None:
        sublist = server.broker.router.sublist
        own = sublist.statistics()["subscriptions"]
        for state, operation in itertools.product(STATES, OPERATIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(state + operation)
            writer.write_eof()
            await reader.read()
            writer.close()
        probe = await Wire.open(server, GOOD if settings else CONNECT)
        assert await probe.say(b"PUB a 0\r\n\r\n") == b""
        await until(lambda: len(server.broker.sessions) == 1)
        assert sublist.statistics()["subscriptions"] == own

    with caplog.at_level(logging.DEBUG, "millpond"):
        run(scenario, **settings)
    assert "Traceback" not in caplog.text, "an input made the server fail inside"


# --- memory before authentication ---


@pytest.mark.parametrize("first", [b"CONNECT {", b"CONNECT" + b" " * 100_000 + b"{",
b'CONNECT {"name":"' + b"a" * 4000])
def test_a_stranger_makes_us_hold_little(first: bytes) -> None:
    async def scenario(server: millpond.Server) -> None:
        empty = server.broker.connections.used
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        used = server.broker.connections.used
        writer.write(first)
        await writer.drain()
        for _ in range(5):                           # what came before is read
            other = await Wire.open(server, GOOD)
            await other.say(b"")
            assert server.broker.connections.used - used <= 8192 + 5 * (used - empty)
            other.writer.close()
        await until(lambda: len(server.broker.sessions) == 1)
        assert server.broker.connections.used - used <= 8192
        writer.close()

    run(scenario, **SECRETS)


# --- injection ---


@pytest.mark.parametrize("subject", [b"a\rPING", b"a\x00b", b"\x0ba", b"-ERR", b"a\xffb"])
def test_no_publish_forges_a_frame_for_others(subject: bytes) -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        assert await wire.say(b"SUB > 1\r\nPUB " + subject + b" 2\r\nhi\r\n") == b"MSG " + subject + b" 1 2\r\nhi\r\n"
        bad = await Wire.open(server)
        await bad.until_closed(b"PUB \na 2\r\nhi\r\n")
        assert await wire.say(b"") == b""

    run(scenario)


# --- disclosure ---


def test_secrets_are_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the server's own nor those that clients send, right, wrong or in a broken CONNECT."""
    heard = b""

    async def scenario(server: millpond.Server) -> None:
        nonlocal heard
        for line in (
            GOOD, b'CONNECT {"user":"CANARY-user","pass":"CANARY-wrong"}\r\n',
            b'CONNECT {"auth_token":"CANARY-token"}\r\n',
            b'CONNECT {"pass":"CANARY-broken"\r\n', b'CONNECT {"pass":["CANARY-list"]}\r\n',
            b"PUB CANARY-early 5\r\n",
            b'CONNECT {"jwt":"CANARY-jwt","sig":"CANARY-sig","nkey":"CANARY-nkey"}\r\n',
            b'CONNECT {"pass":"CANARY-' + b"x" * 5000,
        ):  # fmt: skip
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(line + b"PING\r\n")
            writer.write_eof()
            heard += await reader.read()
        infos = [*server.broker.closed, *(session.info(True) for session in server.broker.sessions.values())]
        heard += repr(infos).replace("CANARY-user", "<shown in connz>").encode()
        heard += json.dumps(server.broker.info).encode()

    with caplog.at_level(0, "millpond"):
        run(scenario, debug=True, trace=True, **SECRETS)
    assert b"auth_required" in heard
    assert b"CANARY" not in heard
    assert "CANARY-password" not in caplog.text
    assert "CANARY-" not in caplog.text.replace("CANARY-user", "")
