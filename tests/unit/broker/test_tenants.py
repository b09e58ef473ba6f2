"""A tenant cannot starve another: output, awaited answers, verification of passwords."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import threading
from pathlib import Path

import nats
import pytest
from session_rig import Wire
from tenants_rig import HASH, Later, client, connect, deaf, options, pub, run, session, turns, until

import millpond
from millpond.accounts import passwords
from millpond.base.limits import MIB
from millpond.server import reload

TWO = """
write_deadline: "60s"
accounts {
  A { users: [ { user: a, pass: x } ], exports: [ { stream: "news" } ] }
  B { users: [ { user: b, pass: x } ], imports: [ { stream: { account: A, subject: "news" } } ] }
}
"""
BULK = b"x" * 50_000


async def flooded(server: millpond.Server, user: str, subject: bytes, deaf_ones: int, senders: int) -> list[Wire]:
    """Senders of one account that are all held up, because nobody reads what they send."""
    for _ in range(deaf_ones):
        server.kept_open.append(await deaf(server, user, b"SUB %s 1\r\n" % subject))
    wires = [await client(server, user) for _ in range(senders)]
    for wire in wires:
        wire.writer.write(pub(subject, BULK) * 400)
    await until(lambda: all(session(server, wire).stalled for wire in wires))
    return wires


@pytest.fixture(autouse=True)
def kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(millpond.Server, "kept_open", [], raising=False)


# --- output ---


def test_slow_readers_of_one_account_do_not_stop_another(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        await flooded(server, "a", b"a", 4, 8)
        await turns(server)
        held = server.broker.accounts["A"].output.used
        assert held >= server.broker.output.bytes_max // 2
        b = await client(server, "b", b"SUB b 1\r\n")
        for _ in range(50):
            assert await b.say(pub(b"b", b"hello")) == b"MSG b 1 5\r\nhello\r\n"
        assert await b.say(pub(b"b", BULK) * 20) == (b"MSG b 1 50000\r\n" + BULK + b"\r\n") * 20
        assert server.broker.accounts["A"].output.used == held, "nothing is added for those who do not read"
        assert server.broker.output.used <= server.broker.output.bytes_max * 2

    run(tmp_path, TWO, scenario)


def test_a_slow_reader_stops_only_those_who_send_to_it(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        (sender,) = await flooded(server, "a", b"slow", 1, 1)
        fast, other = await client(server, "a", b"SUB fast 1\r\n"), await client(server, "a")
        for _ in range(50):
            assert await other.say(pub(b"fast", b"hello")) == b""
            assert await fast.say(b"") == b"MSG fast 1 5\r\nhello\r\n"
        assert session(server, sender).stalled
        server.kept_open.pop().close()
        assert await sender.say(b"") == b"", "it goes on when the reader is gone"

    run(tmp_path, TWO, scenario)


def test_who_reads_again_loses_nothing(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        await flooded(server, "a", b"a", 1, 1)
        sock, loop = server.kept_open[0], asyncio.get_running_loop()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        expected = (b"MSG a 1 50000\r\n" + BULK + b"\r\n") * 400
        got = bytearray()
        while len(got) < len(expected):
            got += await loop.sock_recv(sock, 1 << 20)
        assert got == expected
        await until(lambda: server.broker.output.used == 0)

    run(tmp_path, TWO, scenario)


def test_a_slow_reader_does_not_stop_another_accounts_senders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What it imports is not paced by it: it is a slow consumer when its account has no room for more."""

    async def scenario(server: millpond.Server) -> None:
        lazy = await deaf(server, "b", b"SUB news 1\r\n")
        a, keen = await client(server, "a"), await client(server, "a", b"SUB news 1\r\n")
        for _ in range(400):
            assert await a.say(pub(b"news", BULK)) == b""
            assert await keen.say(b"") == b"MSG news 1 50000\r\n" + BULK + b"\r\n"
        assert session(server, a).info(False).stalls == 0
        assert [row.reason for row in server.broker.closed] == ["Slow Consumer (Pending Bytes)"]
        assert server.broker.accounts["B"].output.used == 0
        lazy.close()

    with caplog.at_level(logging.INFO, "millpond"):
        run(tmp_path, TWO, scenario)
    (told,) = re.findall(r"Slow Consumer Detected: MaxPending of (\d+) Exceeded", caplog.text)
    assert 0 < int(told) < 2 * MIB


def test_a_consumer_waits_for_its_own_receiver_only(tmp_path: Path) -> None:
    text = 'write_deadline: "60s", jetstream { store_dir: "STORE", max_mem: 20M }'

    async def scenario(server: millpond.Server) -> None:
        nc = await nats.connect(server.client_url)
        js = nc.jetstream()
        await js.add_stream(name="S", subjects=["s"], storage="memory")
        for _ in range(100):
            await js.publish("s", b"x" * 65_000)
        lazy = await deaf(server, "", b"SUB inbox.* 1\r\n")
        output = server.broker.everybody.output
        for name in ("one", "two", "three", "four", "five"):
            config = {"stream_name": "S", "config": {"durable_name": name, "ack_policy": "none"}}
            await nc.request(f"$JS.API.CONSUMER.CREATE.S.{name}", json.dumps(config).encode(), timeout=10)
            await nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.S.{name}", b'{"batch":100}', reply=f"inbox.{name}")
        await until(lambda: output.used >= output.share // 2)
        await turns(server)
        reader = await js.pull_subscribe("s", durable="reader")
        for _ in range(3):
            assert len(await reader.fetch(10, timeout=10)) == 10
        assert output.used >= output.share // 2, "the others still wait"
        lazy.close()
        await nc.close()

    run(tmp_path, text, scenario, 128 * MIB)


# --- input ---

SLOW = TWO.replace('"60s"', '"300ms"')


async def unfinished(server: millpond.Server, user: str, count: int) -> list[asyncio.StreamWriter]:
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(connect(user) + b"PUB a 1000000\r\n" + b"x" * 900_000)
        writers.append(writer)
    return writers


def test_frames_that_are_never_finished_take_a_share_and_end(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        a, b = await client(server, "a"), await client(server, "b", b"SUB b 1\r\n")
        account = server.broker.accounts["A"]
        writers = await unfinished(server, "a", 20)
        await until(lambda: account.input.over_share)
        big = b"x" * 600_000
        for _ in range(3):
            b.writer.write(pub(b"b", big))
            assert await b.reader.readexactly(600_018) == b"MSG b 1 600000\r\n" + big + b"\r\n"
        assert account.input.used <= server.broker.input.bytes_max
        assert await a.say(b"SUB a 1\r\n" + pub(b"a", b"hello")) == b"MSG a 1 5\r\nhello\r\n"
        await until(lambda: len(server.broker.closed) >= 5)
        assert {row.reason for row in server.broker.closed} == {"Stale Connection"}
        for writer in writers:
            writer.transport.abort()
        await until(lambda: len(server.broker.sessions) == 2)
        assert server.broker.input.used == 0

    run(tmp_path, SLOW, scenario)


def test_a_frame_may_take_its_time_while_there_is_room(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        (writer,) = await unfinished(server, "a", 1)
        a = await client(server, "a", b"SUB a 1\r\n")
        await asyncio.sleep(0.5)                     # longer than the deadline
        writer.write(b"x" * 100_000 + b"\r\n")
        expected = b"MSG a 1 1000000\r\n" + b"x" * 1_000_000 + b"\r\n"
        assert await a.reader.readexactly(len(expected)) == expected
        writer.close()

    run(tmp_path, SLOW, scenario)


# --- answers of imported services ---

SERVICES = """
accounts {
  EXP { users: [ { user: exp, pass: x } ], exports: [ { service: "ask", response: stream } ] }
  ONE { users: [ { user: one, pass: x } ], imports: [ { service: { account: EXP, subject: "ask" } } ] }
  TWO { users: [ { user: two, pass: x } ], imports: [ { service: { account: EXP, subject: "ask" } } ] }
}
"""


async def asked(wire: Wire, exporter: Wire, reply: bytes) -> bytes:
    """Asks, and returns where the answer is awaited."""
    await wire.say(pub(b"ask", b"q", reply))
    lines = (await exporter.say(b"")).split(b"\r\n")
    return next(line for line in lines if line.startswith(b"HMSG ask")).split()[3]


async def flood_of_requests(exporter: Wire, wire: Wire) -> None:
    for _ in range(40):
        await asyncio.gather(wire.say(pub(b"ask", b"", b"in" * 200) * 200), exporter.say(b""))
    await exporter.say(b"")


def test_requests_of_one_account_do_not_push_out_those_of_another(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        exporter = await client(server, "exp", b"SUB ask 1\r\n")
        two = await client(server, "two", b"SUB inbox 1\r\n")
        answer_to = await asked(two, exporter, b"inbox")
        one, sibling = await client(server, "one"), await client(server, "one", b"SUB inbox 1\r\n")
        sibling_answer_to = await asked(sibling, exporter, b"inbox")
        await flood_of_requests(exporter, one)
        answers = server.broker.answers
        assert answers.used <= answers.bytes_max
        assert len(server.broker.accounts["EXP"].responses.pending) < 8000
        await exporter.say(pub(answer_to, b"for two") + pub(sibling_answer_to, b"for the sibling"))
        assert await two.say(b"") == b"MSG inbox 1 7\r\nfor two\r\n"
        assert await sibling.say(b"") == b"MSG inbox 1 15\r\nfor the sibling\r\n"
        newest = await asked(one, exporter, b"inbox")
        await one.say(b"SUB inbox 1\r\n")
        await exporter.say(pub(newest, b"the newest"))
        assert await one.say(b"") == b"MSG inbox 1 10\r\nthe newest\r\n"

    run(tmp_path, SERVICES, scenario)


def test_nothing_is_awaited_of_accounts_that_do_not_exchange_any_more(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        exporter = await client(server, "exp", b"SUB ask 1\r\n")
        two, one = await client(server, "two"), await client(server, "one")
        await asked(two, exporter, b"inbox")
        await asked(one, exporter, b"inbox")
        held = server.broker.answers.used
        without_one = SERVICES[: SERVICES.index("  ONE")] + SERVICES[SERVICES.index("  TWO") :]
        reload.apply(server, options(tmp_path, without_one))
        assert 0 < server.broker.answers.used < held
        assert len(server.broker.accounts["EXP"].responses.pending) == 1
        reload.apply(server, options(tmp_path, "accounts { EXP { users: [ { user: exp, pass: x } ] } }"))
        assert (server.broker.answers.used, server.broker.answers.holders) == (0, 0)
        assert server.broker.accounts["EXP"].responses is None

    run(tmp_path, SERVICES, scenario)


FORGED = [
    b"A: b\nNats-Request-Info: forged", b"A: b\rNats-Request-Info: forged", b"nats-request-info: forged",
    b"NATS-REQUEST-INFO:forged", b"Nats-Request-Info : forged", b" Nats-Request-Info: forged",
    b"A: b\r\n\tNats-Request-Info: forged", b"Nats-Request-Info: forged\nNats-Request-Info: forged",
    b"Nats-Request-Info\n: forged", b"A: b\n\nNats-Request-Info: forged", b"A: b\r\n\r\nNats-Request-Info: forged",
]  # fmt: skip


@pytest.mark.parametrize("line", FORGED)
@pytest.mark.parametrize("start", [b"NATS/1.0\r\n", b"NATS/1.0\n", b"NATS/1.0 100 x\r", b""])
@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n", b"", b"ab"])
def test_nobody_forges_who_asks(tmp_path: Path, start: bytes, line: bytes, end: bytes) -> None:
    from millpond.broker.request_info import with_info

    block = with_info(start + line + end, b'{"acc":"ONE"}')
    assert block.endswith(b'\r\nNats-Request-Info: {"acc":"ONE"}\r\n\r\n')
    readers = (
        block.split(b"\r\n"), block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), block.splitlines(),
    )  # fmt: skip
    for lines in readers:
        told = [part.partition(b":") for part in lines]
        values = [value.strip() for key, _, value in told if key.strip().lower() == b"nats-request-info"]
        assert values == [b'{"acc":"ONE"}']
        assert b"" not in lines[: lines.index(b'Nats-Request-Info: {"acc":"ONE"}')], "readers stop at an empty line"


def test_a_responder_is_told_the_truth(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        exporter, one = await client(server, "exp", b"SUB ask 1\r\n"), await client(server, "one")
        block = b"NATS/1.0\r\nA: b\nNats-Request-Info: forged\r\n\r\n"
        await one.say(b"HPUB ask inbox %d %d\r\n%s\r\n" % (len(block), len(block), block))
        got = await exporter.say(b"")
        assert b"forged" not in got and b"A: b\r\n" in got and b'{"acc":"ONE"' in got

    run(tmp_path, SERVICES, scenario)


def test_a_trace_destination_gets_no_more_than_the_sender_may_send(tmp_path: Path) -> None:
    text = 'authorization { users = [ { user: s, pass: x, permissions { publish: "ok" } }, { user: all, pass: x } ] }'

    async def scenario(server: millpond.Server) -> None:
        heard, sender = await client(server, "all", b"SUB > 1\r\n"), await client(server, "s")
        block = b"NATS/1.0\r\nNats-Trace-Dest: forbidden.place\r\n\r\n"
        answer = await sender.say(b"HPUB ok %d %d\r\n%s\r\n" % (len(block), len(block), block))
        got = await heard.say(b"")
        assert not re.search(rb"^H?MSG forbidden", got, re.M)
        assert got.startswith(b"HMSG ok 1 ") or b"Permissions Violation" in answer

    run(tmp_path, text, scenario)


# --- passwords ---

HASHED = f'authorization {{ users = [ {{ user: h, pass: "{HASH}" }}, {{ user: p, pass: x }} ] }}'


def test_a_flood_of_wrong_passwords_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    gate = threading.Semaphore(0)

    def compare(hashed: str, password: str) -> bool:
        compared.append(password)
        gate.acquire(timeout=10)
        return password == "s3cr3t"

    async def scenario(server: millpond.Server) -> None:
        server.broker.verifier.close()
        server.broker.verifier = passwords.PasswordVerifier(asyncio.get_running_loop().call_soon_threadsafe, threads=1)
        wrong = []
        for number in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=("127.0.0.9", 0))
            writer.write(connect("h", f"wrong {number}"))
            wrong.append((reader, writer))
        await until(lambda: len(server.broker.verifier._line) == 99)  # and one is being compared
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(connect("h", "s3cr3t") + b"PING\r\n")
        await until(lambda: len(server.broker.verifier._line) == 100)
        gate.release(101)
        assert b"PONG" in await reader.readuntil(b"PONG\r\n")
        assert compared.index("s3cr3t") <= 2
        for other, _ in wrong:
            assert (await other.read()).endswith(b"-ERR 'Authorization Violation'\r\n")

    monkeypatch.setattr(passwords, "verify", compare)
    run(tmp_path, HASHED, scenario)


def test_who_waits_too_long_is_told_so_but_not_who_is_at_it(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        later = Later(server)
        first = await Wire.open(server, connect("h", "s3cr3t"))
        await until(lambda: bool(later.waiting))
        second_job = Later.Job()
        second_job.begun = False
        later.verify = lambda attempt, ip, done: second_job
        second = await Wire.open(server, connect("h", "s3cr3t"))
        assert await second.until_closed(b"") == b"-ERR 'Authentication Timeout'\r\n"
        later.waiting[0](True)
        assert await first.say(b"") == b""

    run(tmp_path, HASHED.replace("{ users", "{ timeout: 0.1, users"), scenario)


OTHER = HASHED.replace(HASH, "$2b$04$YAaW1YG8Cb0uvVKOyOQxfObGsBAGURwi1NnOlLQSzn4eISwFUzESi")


@pytest.mark.parametrize("right", [True, False, None])
def test_nothing_reaches_who_is_verified_again(tmp_path: Path, right: bool | None) -> None:
    async def scenario(server: millpond.Server) -> None:
        later = Later(server)
        wire = await Wire.open(server, connect("h", "s3cr3t") + b"SUB a 1\r\n")
        await until(lambda: bool(later.waiting))
        later.waiting.pop()(True)
        await wire.say(b"")
        reload.apply(server, options(tmp_path, OTHER))
        p = await client(server, "p")
        await p.say(b"SUB a 1\r\n" + pub(b"a", b"secret"))
        if right:
            wire.writer.write(pub(b"a", b"injected"))
        await turns(server)
        assert await p.say(b"") == b""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 0.05)
        later.waiting.pop()(right)
        if right:
            assert await wire.say(b"") == b"MSG a 1 6\r\nsecret\r\nMSG a 1 8\r\ninjected\r\n"
        else:
            error = b"Authorization Violation" if right is False else b"Authentication Timeout"
            assert await wire.until_closed(b"") == b"-ERR '" + error + b"'\r\n"
            assert await p.say(b"") == b""

    run(tmp_path, HASHED, scenario)


def test_what_waited_before_a_reload_is_still_owed(tmp_path: Path) -> None:
    """A frame is not cut in two by the end of its connection's rights."""

    async def scenario(server: millpond.Server) -> None:
        later = Later(server)
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", server.port))
        await loop.sock_sendall(sock, connect("h", "s3cr3t") + b"SUB a 1\r\n")
        await until(lambda: bool(later.waiting))
        later.waiting.pop()(True)
        p = await client(server, "p")
        (h,) = [each for each in server.broker.sessions.values() if each.info(False).authorized_user == "h"]
        await until(lambda: h.info(False).num_subscriptions == 1)
        sent = 0
        while h.info(False).pending_bytes == 0:
            await p.say(pub(b"a", BULK))
            sent += 1
        reload.apply(server, options(tmp_path, OTHER))
        await p.say(pub(b"a", b"secret"))
        later.waiting.pop()(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        got = b""
        while not got.endswith(b"secret\r\n"):
            got += await loop.sock_recv(sock, 1 << 20)
        bulk = b"MSG a 1 50000\r\n" + BULK + b"\r\n"
        assert got[got.index(b"MSG a ") :] == bulk * sent + b"MSG a 1 6\r\nsecret\r\n"
        sock.close()

    run(tmp_path, HASHED, scenario)


def test_a_stall_that_ends_reads_nothing_from_who_is_verified(tmp_path: Path) -> None:
    lasting = '\nwrite_deadline: "60s"'

    async def scenario(server: millpond.Server) -> None:
        later = Later(server)
        h = await Wire.open(server, connect("h", "s3cr3t"))
        await until(lambda: bool(later.waiting))
        later.waiting.pop()(True)
        await h.say(b"")
        slow = await deaf(server, "p", b"SUB a 1\r\n")
        mine = session(server, h)
        h.writer.write(pub(b"a", BULK) * 400)
        await until(lambda: mine.stalled)
        reload.apply(server, options(tmp_path, OTHER + lasting))
        assert mine.verifying
        before = server.broker.statistics()["in_msgs"]
        slow.close()
        await asyncio.sleep(0.02)                    # four times as long as a stall
        await turns(server)
        assert server.broker.statistics()["in_msgs"] == before < 400
        later.waiting.pop()(True)
        await h.say(b"")
        assert server.broker.statistics()["in_msgs"] == 400

    run(tmp_path, HASHED + lasting, scenario)


def test_a_deadline_for_those_who_came_before_authorization(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        silent = await Wire.open(server, b"")
        await until(lambda: bool(server.broker.sessions))
        reload.apply(server, options(tmp_path, HASHED.replace("{ users", "{ timeout: 0.05, users")))
        with contextlib.suppress(ConnectionError):
            assert await silent.until_closed(b"") == b"-ERR 'Authentication Timeout'\r\n"

    run(tmp_path, "", scenario)
