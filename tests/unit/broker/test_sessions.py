"""Client sessions over real sockets: exact bytes in, exact bytes out (reference 01)."""

from __future__ import annotations

import asyncio
import json

import pytest
from session_rig import Wire, run

import millpond


def test_publish_reaches_plain_and_wildcard_subscribers_with_reply_and_headers() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        got = await wire.say(b"SUB a.* 1\r\nPUB a.b r 2\r\nhi\r\nHPUB a.c 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
        assert got == b"MSG a.b 1 r 2\r\nhi\r\nHMSG a.c 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"
        both = await wire.say(b"SUB > 2\r\nPUB a.d 2\r\nhi\r\n")
        assert sorted(both.split(b"hi\r\n")) == [b"", b"MSG a.d 1 2\r\n", b"MSG a.d 2 2\r\n"]

    run(scenario)


def test_second_info_follows_the_first_ping() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        assert "connect_info" not in wire.info
        wire.writer.write(b"PING\r\n")
        assert await wire.reader.readline() == b"PONG\r\n"
        second = json.loads((await wire.reader.readline())[5:])
        assert (second["connect_info"], second["remote_account"]) == (True, "$G")

    run(scenario)


@pytest.mark.parametrize(
    ("sent", "answer", "reason"),
    [
        (b"FOO\r\n", b"-ERR 'Unknown Protocol Operation'\r\n", "Protocol Violation"),
        (b"PUB a 2\r\nhixx", b"-ERR 'Unknown Protocol Operation'\r\n", "Protocol Violation"),
        (b"PUB a 99999999\r\n", b"-ERR 'Maximum Payload Violation'\r\n", "Maximum Message Payload Exceeded"),
        (
            b"SUB " + b"a" * 5000 + b" 1\r\n",
            b"-ERR 'maximum control line exceeded'\r\n",
            "Maximum Control Line Exceeded",
        ),
        (b"PUB a -1\r\n", b"", "Protocol Violation"),
        (b"SUB\r\n", b"-ERR 'Unknown Protocol Operation'\r\n", None),
        (b'CONNECT {"protocol":7}\r\n', b"-ERR 'invalid client protocol'\r\n", "Bad Client Protocol Version"),
        (b"CONNECT {nonsense\r\n", b"", "Protocol Violation"),
        (b"-ERR 'x'\r\n", b"", "Parse Error"),
    ],
)
def test_violations_close_the_connection(sent: bytes, answer: bytes, reason: str | None) -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        got = await wire.until_closed(sent)
        if reason is None:
            assert got in (answer, b"")
            return
        assert got == answer
        assert server.broker.closed[-1].reason == reason

    run(scenario)


def test_no_responders_names_the_subject() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        got = await wire.say(b"SUB inbox 9\r\nPUB nobody inbox 0\r\n\r\n")
        block = b"NATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n"
        assert got == b"HMSG inbox 9 %d %d\r\n%s\r\n" % (len(block), len(block), block)

    run(scenario)


def test_queue_groups_take_one_member_each() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        got = await wire.say(b"SUB q g 1\r\nSUB q g 2\r\nSUB q h 3\r\n" + b"PUB q 0\r\n\r\n" * 40)
        sids = [line.split()[2] for line in got.split(b"\r\n") if line.startswith(b"MSG")]
        assert sids.count(b"3") == 40
        assert sids.count(b"1") + sids.count(b"2") == 40
        assert {b"1", b"2"} <= set(sids)

    run(scenario)


def test_unsubscribe_after_counts_from_the_subscription() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        got = await wire.say(b"SUB a 1\r\nPUB a 0\r\n\r\nUNSUB 1 3\r\n" + b"PUB a 0\r\n\r\n" * 5)
        assert got.count(b"MSG a 1 0") == 3
        assert await wire.say(b"SUB a 1\r\nSUB b 1\r\nPUB b 0\r\n\r\nPUB a 0\r\n\r\n") == b"MSG a 1 0\r\n\r\n"

    run(scenario)


def test_echo_off_and_verbose_on() -> None:
    async def scenario(server: millpond.Server) -> None:
        quiet = await Wire.open(server, b'CONNECT {"verbose":false,"pedantic":false,"echo":false}\r\n')
        assert await quiet.say(b"SUB a 1\r\nPUB a 0\r\n\r\n") == b""
        loud = await Wire.open(server, b"CONNECT {}\r\n")
        assert (
            await loud.say(b"SUB b 1\r\nPUB b 0\r\n\r\nUNSUB 1\r\n") == b"+OK\r\n+OK\r\n+OK\r\nMSG b 1 0\r\n\r\n+OK\r\n"
        )
        assert await loud.say(b"PUB b..c 0\r\n\r\n") == b"-ERR 'Invalid Publish Subject'\r\n+OK\r\n"

    run(scenario)


def test_headers_are_stripped_for_those_who_did_not_ask() -> None:
    async def scenario(server: millpond.Server) -> None:
        plain = await Wire.open(server, b'CONNECT {"verbose":false}\r\n')
        await plain.say(b"SUB a 1\r\n")
        sender = await Wire.open(server)
        await sender.say(b"HPUB a 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n")
        assert await plain.say(b"") == b"MSG a 1 2\r\nhi\r\n"

    run(scenario)


@pytest.mark.parametrize(
    ("connect", "accepted"),
    [
        (b'CONNECT {"auth_token":"s3cret"}\r\n', True),
        (b'CONNECT {"auth_token":"wrong"}\r\n', False),
        (b"CONNECT {}\r\n", False),
        (b"PING\r\n", False),
        (b"SUB a 1\r\n", False),
        (b'CONNECT {"account":"x","auth_token":"s3cret"}\r\n', False),
    ],
)
def test_token(connect: bytes, accepted: bool) -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server, b"")
        assert wire.info["auth_required"] is True
        if accepted:
            assert await wire.say(connect) == b"+OK\r\n"
        else:
            assert await wire.until_closed(connect) == b"-ERR 'Authorization Violation'\r\n"
            assert server.broker.closed[-1].reason == "Authentication Failure"

    run(scenario, token="s3cret")


def test_user_and_password() -> None:
    async def scenario(server: millpond.Server) -> None:
        good = await Wire.open(server, b'CONNECT {"user":"derek","pass":"pw","verbose":false}\r\n')
        assert await good.say(b"") == b""
        bad = await Wire.open(server, b"")
        assert (
            await bad.until_closed(b'CONNECT {"user":"derek","pass":"PW"}\r\n') == b"-ERR 'Authorization Violation'\r\n"
        )

    run(scenario, username="derek", password="pw")


def test_before_authentication_a_connection_holds_little() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server, b"")
        got = await wire.until_closed(b"CONNECT {" + b" " * 20_000)
        assert b"-ERR" in got

    run(scenario, token="s3cret")


def test_silent_connections_are_dropped_at_the_authentication_timeout() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server, b"")
        assert await wire.until_closed(b"") == b"-ERR 'Authentication Timeout'\r\n"

    run(scenario, token="s3cret", auth_timeout_ns=50_000_000)


def test_a_peer_that_answers_no_ping_is_stale() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        got = await wire.until_closed(b"")
        assert got == b"PING\r\nPING\r\n-ERR 'Stale Connection'\r\n"

    run(scenario, ping_interval_ns=20_000_000)


def test_limits_of_connections_and_subscriptions() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        assert await wire.say(b"SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n") == b"-ERR 'maximum subscriptions exceeded'\r\n"
        reader, _ = await asyncio.open_connection("127.0.0.1", server.port)
        assert (await reader.read()).endswith(b"-ERR 'maximum connections exceeded'\r\n")

    run(scenario, max_subscriptions=2, max_connections=1)


def test_a_big_message_in_small_pieces_and_many_small_ones_in_a_big_piece() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        body = bytes(range(256)) * 2000
        await wire.say(b"SUB big 1\r\n")
        assert (await wire.reader.readline()).startswith(b"INFO")
        frame = b"PUB big %d\r\n%s\r\n" % (len(body), body)
        for start in range(0, len(frame), 7000):
            wire.writer.write(frame[start : start + 7000])
            await wire.writer.drain()
        head = b"MSG big 1 %d\r\n" % len(body)
        assert await wire.reader.readexactly(len(head) + len(body) + 2) == head + body + b"\r\n"
        many = await wire.say(b"PUB big 1\r\nx\r\n" * 5000)
        assert many == b"MSG big 1 1\r\nx\r\n" * 5000

    run(scenario)


def test_a_receiver_that_does_not_read_is_a_slow_consumer() -> None:
    async def scenario(server: millpond.Server) -> None:
        slow = await Wire.open(server)
        await slow.say(b"SUB a 1\r\n")
        fast = await Wire.open(server)
        frame = b"PUB a 60000\r\n" + b"x" * 60000 + b"\r\n"
        while server.broker.statistics()["slow_consumers"] == 0:
            fast.writer.write(frame * 10)
            await fast.writer.drain()
            await asyncio.sleep(0)
        assert server.broker.closed[-1].reason == "Slow Consumer (Pending Bytes)"
        assert await fast.say(b"") == b""

    run(scenario, max_pending=100_000, max_payload=100_000)


def test_without_stalls_a_full_receiver_misses_messages_and_stays() -> None:
    async def scenario(server: millpond.Server) -> None:
        full = await Wire.open(server)
        await full.say(b"SUB a 1\r\n")
        fast = await Wire.open(server)
        frame, sent = b"PUB a 60000\r\n" + b"x" * 60000 + b"\r\n", 0
        while sent < 400:  # far more than the kernel and max_pending hold
            await fast.say(frame * 10)
            sent += 10
        statistics = server.broker.statistics()
        assert (statistics["slow_consumers"], statistics["stalled_clients"]) == (0, 0)
        assert 0 < statistics["out_msgs"] < sent
        assert len(server.broker.sessions) == 2

    run(scenario, max_pending=2_000_000, no_fast_producer_stall=True)


def test_a_503_is_not_counted_by_an_auto_unsubscribe() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        got = await wire.say(b"SUB inbox 1\r\nUNSUB 1 1\r\nPUB none inbox 0\r\n\r\nPUB inbox 2\r\nhi\r\n")
        assert got.endswith(b"MSG inbox 1 2\r\nhi\r\n")

    run(scenario)


def test_refused_connections_and_repeated_sids_at_the_limit() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        assert await wire.say(b"SUB a 1\r\nSUB a 1\r\n") == b"-ERR 'maximum subscriptions exceeded'\r\n"
        refused = await Wire.open(server, b"")  # it is told who it talks to before it is turned away
        assert await refused.until_closed(b"") == b"-ERR 'maximum connections exceeded'\r\n"
        assert server.broker.closed[-1].reason == "Maximum Connections Exceeded"

    run(scenario, max_subscriptions=1, max_connections=1)


def test_the_queue_of_servers_is_refused() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        expected = b'-ERR \'Permissions Violation for Subscription to "a" using queue "_sys_"\'\r\n'
        assert await wire.say(b"SUB a _sys_ 1\r\nPUB a 0\r\n\r\n") == expected

    run(scenario)


def test_a_peer_that_talks_is_not_stale_whatever_it_left_unanswered() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        pings = 0
        while pings < 2:  # both stay unanswered; a third silent interval would end the connection
            pings += await wire.reader.readline() == b"PING\r\n"
        timer = server.broker.turn.timers
        for _ in range(3):
            before = timer.next_deadline()
            while timer.next_deadline() == before:
                await wire.say(b"")
        assert len(server.broker.sessions) == 1

    run(scenario, ping_interval_ns=200_000_000)


def test_an_idle_connection_holds_no_output_buffer() -> None:
    async def scenario(server: millpond.Server) -> None:
        wire = await Wire.open(server)
        await wire.say(b"SUB a 1\r\n" + b"PUB a 100\r\n" + b"x" * 100 + b"\r\n")
        (session,) = server.broker.sessions.values()
        assert session.output_allocated == 0

    run(scenario)


def test_everything_is_given_back_when_connections_close() -> None:
    async def scenario(server: millpond.Server) -> None:
        sublist = server.broker.router.sublist
        own = sublist.statistics()["subscriptions"]
        wires = [await Wire.open(server) for _ in range(50)]
        for wire in wires:
            await wire.say(b"SUB a 1\r\nSUB b.> q 2\r\n")
        for wire in wires:
            wire.writer.close()
        probe = await Wire.open(server)
        while len(server.broker.sessions) > 1:
            await probe.say(b"")
        assert sublist.statistics()["subscriptions"] == own

    run(scenario)
