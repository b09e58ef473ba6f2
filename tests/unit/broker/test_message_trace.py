"""Which messages ask for their trace, and where it may be told."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest
from millpond.wire.headers import py_asks_for_trace
from tenants_rig import client, options, run

import millpond
from millpond.broker import message_trace
from millpond.broker.message_trace import headers_that_ask, is_sampled

PARENT = b"traceparent: 00-a-b-01"


def block(*lines: bytes) -> bytes:
    return b"NATS/1.0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@pytest.mark.parametrize(
    ("lines", "parents", "asks"),
    [
        ((b"Nats-Trace-Dest: t",), False, True), ((b"Nats-Trace-Dest:t",), False, True),
        ((b"A: b", b"Nats-Trace-Dest: t"), False, True), ((b"T-T: -Trace-Dest:", b"Nats-Trace-Dest: t"), False, True),
        ((b"nats-trace-dest: t",), True, False), ((b"XNats-Trace-Dest: t",), True, False),
        ((b"A: Nats-Trace-Dest: t",), True, False), ((b"Nats-Trace-Desti: t",), True, False),
        ((b"Nats-Trace-Only: true",), True, False), ((b"Nats-TTL: 1s",), True, False), ((), True, False),
        ((PARENT,), True, True), ((PARENT,), False, False), ((b"TraceParent: 00-a-b-01",), True, True),
        ((b"A: b", b"B: c", PARENT), True, True), ((b"atraceparent: 00-a-b-01",), True, False),
        ((b"traceparen: 00-a-b-01-1",), True, False),
    ],
)  # fmt: skip
def test_the_cheap_test(lines: tuple[bytes, ...], parents: bool, asks: bool) -> None:
    assert py_asks_for_trace(block(*lines), parents) == asks


@pytest.mark.parametrize("size", range(60))
def test_a_block_that_is_cut_short_anywhere(size: int) -> None:
    """What is behind it is not looked at: the sanitizers see to that."""
    head = block(b"A: b", b"Nats-Trace-Dest: tttt", PARENT)[:size]
    assert py_asks_for_trace(head, True) or not headers_that_ask(head)


def test_headers_as_they_are_told() -> None:
    head = block(b"Nats-Trace-Dest:\t t ", b"A: 1", b"a:2", b"A:3", b"Empty: ", b": x", b"B : c")
    assert headers_that_ask(head) == {
        b"Nats-Trace-Dest": [b"t"], b"A": [b"1", b"3"], b"a": [b"2"], b"B ": [b"c"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("parent", "sampled"),
    [(b"00-a-b-01", True), (b"00-a-b-00", False), (b"00-a-b-7f", True), (b"00-a-b-81", False), (b"---+1", True),
     (b"00-a-b-1", False), (b"00-a-b-0x", False), (b"00-a-b- 1", False), (b"00-a-b-01-", False), (b"", False)],
)  # fmt: skip
def test_sampled_parents(parent: bytes, sampled: bool) -> None:
    assert is_sampled(parent) is sampled


SAMPLED = """
accounts {
  A { users: [ { user: a, pass: x } ], msg_trace: { dest: told, sampling: 30 } }
  SYS { users: [ { user: sys, pass: x } ] }
}
system_account: SYS
"""


def test_some_of_the_parents_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chances = iter((0, 29, 30, 99))
    monkeypatch.setattr(message_trace, "random_below", lambda bound: next(chances))

    async def scenario(server: millpond.Server) -> None:
        heard, sender = await client(server, "a", b"SUB told 1\r\nSUB foo 2\r\n"), await client(server, "a")
        head = block(PARENT)
        await sender.say((b"HPUB foo %d %d\r\n%s\r\n" % (len(head), len(head), head)) * 4)
        got = await heard.say(b"")
        assert got.count(b"MSG told 1 ") == 2
        assert got.count(b"\r\n%s" % head) == 2, "what is told goes on as it is"
        assert got.count(b"Nats-Trace-Dest: trace disabled") == 2, "the rest says so, to whoever it comes to"

    run(tmp_path, SAMPLED, scenario)


def test_a_reload_moves_the_destination(tmp_path: Path) -> None:
    def text(settings: str) -> str:
        return SAMPLED.replace("msg_trace: { dest: told, sampling: 30 }", settings)

    async def scenario(server: millpond.Server) -> None:
        heard, sender = await client(server, "a", b"SUB * 1\r\n"), await client(server, "a")
        head = block(PARENT)
        for settings in ("trace_dest: one", "trace_dest: two", ""):
            server.broker.reload(options(tmp_path, text(settings)))
            await sender.say(b"HPUB foo %d %d\r\n%s\r\n" % (len(head), len(head), head))
        got = await heard.say(b"")
        assert [line.split()[1] for line in got.splitlines() if line.startswith(b"MSG")] == [b"one", b"two"]

    run(tmp_path, text(""), scenario)


MAPPED = SAMPLED.replace("msg_trace:", 'mappings: { "foo.>": "bar.>" }, msg_trace:')


def test_a_session_keeps_nothing_of_what_it_published(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        sender = await client(server, "a")
        subject = b"foo." + b"x" * 3000
        head = block(b"Nats-Trace-Dest: t", b"Nats-Trace-Origin-Account: B", b"A: " + b"x" * 40_000)
        message = b"HPUB %s %d %d\r\n%s\r\n" % (subject, len(head), len(head), head)
        await sender.say(message)
        gc.collect()
        tracemalloc.start()
        try:
            await sender.say(message)
            kept = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*broker*")])
            assert [stat for stat in kept.statistics("lineno") if stat.size > 2500] == []
        finally:
            tracemalloc.stop()

    run(tmp_path, MAPPED, scenario)


def test_a_mapped_subject_is_told_as_it_was_sent(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        heard, sender = await client(server, "a", b"SUB told 1\r\n"), await client(server, "a")
        head = block(b"Nats-Trace-Dest: told")
        await sender.say(b"HPUB foo.x %d %d\r\n%s\r\n" % (len(head), len(head), head))
        got = await heard.say(b"")
        assert b'"subj":"foo.x"' in got and b'"to":"bar.x"' in got

    run(tmp_path, MAPPED, scenario)


DENYING = SAMPLED.replace("pass: x } ]", 'pass: x, permissions: { publish: { deny: "no" } } } ]', 1)


def test_what_is_denied_is_in_the_log_beside_what_asks_in_vain(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(server: millpond.Server) -> None:
        sender = await client(server, "a")
        head = block(b"Nats-Trace-Dest: a..b")
        await sender.say(b"HPUB foo %d %d\r\n%s\r\n" % (len(head), len(head), head))
        await sender.say(b"PUB no 0\r\n\r\n")

    run(tmp_path, DENYING, scenario)
    lines = [record.message for record in caplog.records]
    assert len([line for line in lines if "trace events" in line]) == 1
    assert len([line for line in lines if "Publish Violation" in line]) == 1


def test_one_line_in_the_log_for_a_client_that_asks_in_vain(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(server: millpond.Server) -> None:
        sender = await client(server, "a")
        for line in (b"Nats-Trace-Dest: a..b", b"Nats-Trace-Dest: > \xff\"x"):
            head = block(line)
            await sender.say(b"HPUB foo %d %d\r\n%s\r\n" % (len(head), len(head), head))

    run(tmp_path, SAMPLED, scenario)
    (line,) = [record.message for record in caplog.records if "trace events" in record.message]
    assert line.endswith(' - Destination "a..b" is not valid, won\'t be able to trace events')
