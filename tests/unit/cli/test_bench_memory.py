"""The lock load against a server made for these tests, and what becomes of the samples."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from millpond.base import cgroup
from millpond.cli import bench, bench_memory_result
from millpond.cli.bench_memory_load import LoadError, LoadResult, LockLoad, Mode
from millpond.cli.bench_memory_result import CsvFile, Sample, Series, sample_of, table, trend, verdict
from millpond.cli.bench_memory_target import Fence, Running, Target, TargetError, is_memory_backed, other
from millpond.monitor.memory_report import MemoryReport

MIB = 1024 * 1024
Answer = Callable[[str, bytes, int], bytes | None]


def right_answer(subject: str, body: bytes, number: int) -> bytes | None:
    """What a server says to each request of the load."""
    if subject.startswith("locks."):
        return b'{"stream":"LOCKS_1","seq":%d}' % number
    if ".PURGE." in subject:
        assert re.fullmatch(rb'\{"filter":"locks\.LOCKS_\d\.[0-9a-f-]+"\}', body)
        return b'{"type":"t","success":true,"purged":1}'
    if ".DELETE." in subject:
        assert json.loads(body)["seq"] > 0
        return b'{"type":"t","success":true}'
    if ".INFO." in subject:
        return b'{"state":{"messages":0}}'
    assert ".CREATE." in subject
    assert json.loads(body)["discard_new_per_subject"] is True
    return b'{"config":{}}'


class FakeServer:
    """Enough of the protocol to answer requests by a function; None: no answer."""

    def __init__(self, answer: Answer, headers: bytes = b"") -> None:
        self._answer = answer
        self._headers = headers
        self.writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"headers":true}\r\nPING\r\n')
        number = 0
        while line := await reader.readline():
            words = line.split()
            if words[0] == b"PING":
                writer.write(b"PONG\r\n")
            elif words[0] == b"PUB":
                body = (await reader.readexactly(int(words[-1]) + 2))[:-2]
                number += 1
                said = self._answer(words[1].decode(), body, number)
                if said == b"CLOSE":
                    break
                if said == b"ERR":
                    writer.write(b"-ERR 'Authorization Violation'\r\n")
                elif self._headers:
                    size = len(self._headers)
                    writer.write(b"HMSG %b 1 %d %d\r\n%b\r\n" % (words[2], size, size, self._headers))
                elif said is not None:
                    writer.write(b"MSG %b 1 %d\r\n%b\r\n" % (words[2], len(said), said))
        writer.close()


async def run_load(answer: Answer, mode: Mode, rate: int = 1000, enough: int = 40) -> LoadResult:
    """Load until the server has answered `enough` publishes or releases, then finish."""
    stop = asyncio.Event()
    seen = 0

    def counted(subject: str, body: bytes, number: int) -> bytes | None:
        nonlocal seen
        seen += not subject.startswith("$JS.API.STREAM.CREATE")
        if seen >= enough:
            stop.set()
        return answer(subject, body, number)

    async with FakeServer(counted) as port:
        load = LockLoad(mode, rate)
        try:
            await load.connect(port)
            await load.run(stop)
            return await load.finish()
        finally:
            load.close()


@pytest.mark.parametrize("mode", ["purge", "delete"])
def test_every_lock_is_taken_and_released(mode: Mode) -> None:
    result = asyncio.run(run_load(right_answer, mode))
    assert result.failed == 0, result.errors
    assert result.published == result.released >= 20
    assert 0 < result.p50_us <= result.p99_us <= result.max_us


def test_expiry_releases_nothing() -> None:
    result = asyncio.run(run_load(right_answer, "expiry"))
    assert (result.failed, result.released) == (0, 0)
    assert result.published >= 39


def test_a_refused_publish_is_a_failure() -> None:
    def answer(subject: str, body: bytes, number: int) -> bytes | None:
        if subject.startswith("locks.") and number % 10 == 0:
            return b'{"error":{"code":400,"err_code":10077,"description":"too many"},"stream":"LOCKS_1","seq":0}'
        return right_answer(subject, body, number)

    result = asyncio.run(run_load(answer, "expiry"))
    assert result.failed >= 3
    assert "10077" in result.errors[0]


def test_a_purge_that_purged_nothing_is_a_failure() -> None:
    def answer(subject: str, body: bytes, number: int) -> bytes | None:
        if ".PURGE." in subject:
            return b'{"success":true,"purged":0}'
        return right_answer(subject, body, number)

    result = asyncio.run(run_load(answer, "purge"))
    assert result.released == 0
    assert result.failed == result.published


def test_answers_that_never_come_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millpond.cli.bench_memory_load.ANSWER_TIMEOUT_S", 0.2)

    def answer(subject: str, body: bytes, number: int) -> bytes | None:
        return None if ".DELETE." in subject else right_answer(subject, body, number)

    result = asyncio.run(run_load(answer, "delete"))
    assert result.failed == result.published > 0
    assert "no answer in 0.2 s" in result.errors[0]


def test_locks_left_behind_are_failures() -> None:
    def answer(subject: str, body: bytes, number: int) -> bytes | None:
        return b'{"state":{"messages":3}}' if ".INFO." in subject else right_answer(subject, body, number)

    result = asyncio.run(run_load(answer, "purge", enough=10))
    assert result.failed == 15
    assert "15 locks are still there" in result.errors[0]


@pytest.mark.parametrize(("said", "words"), [(b"CLOSE", "closed the connection"), (b"ERR", "Authorization Violation")])
def test_a_lost_connection_ends_the_load(said: bytes, words: str) -> None:
    def answer(subject: str, body: bytes, number: int) -> bytes | None:
        return said if number > 15 else right_answer(subject, body, number)

    with pytest.raises(LoadError, match=words):
        asyncio.run(run_load(answer, "purge", enough=1000))


def test_a_server_without_jetstream_is_said_plainly() -> None:
    async def scenario() -> None:
        async with FakeServer(right_answer, headers=b"NATS/1.0 503\r\n\r\n") as port:
            load = LockLoad("purge", 100)
            try:
                await load.connect(port)
            finally:
                load.close()

    with pytest.raises(LoadError, match="is JetStream on"):
        asyncio.run(scenario())


def test_answers_in_pieces() -> None:
    """A chunk may end anywhere."""

    async def scenario() -> LockLoad:
        load = LockLoad("expiry", 100)
        load._take()
        load._take()
        answers = b""
        for number in (0, 1):
            body = b'{"stream":"LOCKS_1","seq":7}'
            answers += b"MSG %b%d 1 %d\r\n%b\r\n" % (load._inbox, number, len(body), body)
        for at in range(len(answers)):
            load.data_received(answers[at : at + 1])
        return load

    load = asyncio.run(scenario())
    assert load.result.published == 2
    assert not load._pending


# --- samples, table, picture ---


def sample(t_s: float, **changed: int) -> Sample:
    values = dict.fromkeys(Sample.__struct_fields__[1:], 0) | changed
    return Sample(t_s=t_s, **values)


def climbing(server: str, mode: str = "purge", fenced: bool = True) -> Series:
    samples = [sample(float(t), rss=20 * MIB, kernel=t * 1000, working_set=10 * MIB + t * 1000) for t in range(301)]
    return Series(server=server, mode=mode, fenced=fenced, samples=samples, load=LoadResult(published=5, seconds=300))


def test_trend_counts_from_two_minutes_on() -> None:
    seen = trend(climbing("nats-server"), "kernel")
    assert seen is not None
    assert (seen.settled_s, seen.settled, seen.end, seen.growth) == (120, 120_000, 300_000, 180_000)
    assert seen.slope_per_hour == pytest.approx(3_600_000)


def test_without_a_group_nothing_is_said_about_groups() -> None:
    series = climbing("nats-server", fenced=False)
    assert trend(series, "working_set") is None
    assert trend(series, "kernel") is None
    assert trend(series, "rss") is not None
    shared = MemoryReport(rss=5, working_set=99, kernel=9, active_file=3, inactive_file=4, page_cache_own=2)
    taken = sample_of(shared, fenced=False, t_s=0, load=LoadResult())
    assert (taken.rss, taken.working_set, taken.kernel, taken.page_cache) == (5, 0, 0, 2)
    assert sample_of(shared, fenced=True, t_s=0, load=LoadResult()).page_cache == 7


def test_table_and_csv(tmp_path: Path) -> None:
    runs = [climbing("millpond"), climbing("nats-server"), climbing("millpond", "expiry")]
    text = table(runs)
    assert "| purge | nats-server | Kernel memory | 0.0 | 0.1 | 0.3 | +0.2 | +3.4 MiB/h |" in text
    assert text.index("| purge |") < text.index("| expiry |")
    with CsvFile(tmp_path / "m.csv") as written:
        for series in runs:
            for one in series.samples:
                written.add(series, one)
        with (tmp_path / "m.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 903, "nothing waits for the end"
    assert rows[300]["kernel"] == "300000"
    said = verdict([*runs, climbing("other", fenced=False)])
    assert "nats-server, purge: working set 10.3 MiB at most; after 120 s it moved by +0.2 MiB" in said
    assert "other" not in said


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bench_memory_result.draw(tmp_path / "m.png", [climbing("millpond"), climbing("nats-server")], "title")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


# --- servers and groups ---


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        target = Target("broken", ["/bin/sh", "-c", "echo the reason; exit 3"])
        server = Running(target, tmp_path / "lane", None)
        try:
            await server.wait_until_ready()
        finally:
            server.stop()

    with pytest.raises(TargetError, match="ended with 3: the reason"):
        asyncio.run(scenario())
    with pytest.raises(TargetError, match="no no-such-server in PATH"):
        other("no-such-server")


def test_a_server_whose_end_is_seen_late_is_not_taken_for_a_lost_connection(tmp_path: Path) -> None:
    """A killed process closes its sockets first; it can be waited for only after that."""

    async def scenario() -> str:
        os.mkfifo(tmp_path / "door")
        server = Running(Target("late", ["/bin/sh", "-c", f"cat {tmp_path}/door; kill -9 $$"]), tmp_path / "lane", None)
        try:
            asked = asyncio.create_task(server.died_soon())
            await asyncio.sleep(0)
            assert not asked.done(), "it runs, so the answer waits"
            (tmp_path / "door").write_text("go")
            return await asked
        finally:
            server.stop()

    assert asyncio.run(scenario()).startswith("late ended during the run (signal SIGKILL")


def test_fence_v2_needs_a_group_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.procs").write_text("1\n2\n")
    monkeypatch.setattr(cgroup, "group_of", lambda: cgroup.MemoryGroup(2, str(tmp_path)))
    fence = Fence()
    assert "other processes share our group" in fence.why
    assert "systemd-run" in fence.why
    assert fence.group("x") is None
    monkeypatch.setattr(cgroup, "group_of", lambda: cgroup.MemoryGroup(2, str(tmp_path), exact=False))
    assert "not delegated" in Fence().why


def test_fence_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "group_of", lambda: cgroup.MemoryGroup(1, str(tmp_path)))
    fence = Fence()
    assert "has no memory controller" in fence.why, "an ordinary directory makes no groups"
    assert list(tmp_path.iterdir()) == []


def test_fence_on_this_machine() -> None:
    fence = Fence()
    try:
        if fence.why:
            pytest.skip(fence.why)
        group = fence.group("test")
        assert group is not None
        assert cgroup.read(group).usage < MIB
    finally:
        fence.close()
    assert not Path(group.directory).exists()


def test_memory_backed_directories() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm here")
    assert is_memory_backed(Path("/dev/shm"))
    assert not is_memory_backed(Path("/proc"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--minutes", "0"], "--minutes must be above 0"),
        (["--rate", "1"], "--rate must be"),
        (["--without-millpond"], "needs --against"),
        (["--against", "no-such-server"], "there is no no-such-server"),
    ],
)
def test_wrong_options(arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["memory", "--out", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert bench.main(["speed"]) == 2
    assert bench.main(["--help"]) == 0
