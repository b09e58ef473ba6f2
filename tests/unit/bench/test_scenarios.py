"""Every kind of load does what it says, on a server of ours in a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from millpond.bench.calls import LockCycle, StreamPublish
from millpond.bench.loop import LoadError

from millpond.bench import process
from millpond.bench.process import ServerError, StartedServer
from millpond.bench.report import as_json, describe, table
from millpond.bench.scenarios import KINDS, Bench, Load, run
from millpond.cli import bench

LOADS = [  # bounded by messages: on a busy machine any time is too short
    Load(kind="pub", size=0, messages=5000, seconds=60),
    Load(kind="pub", size=16_384, messages=50, seconds=60),
    Load(kind="fan", messages=5000, seconds=60),
    Load(kind="fan", receivers=4, messages=5000, seconds=60),
    Load(kind="fan", receivers=4, queue=True, messages=5000, seconds=60),
    Load(kind="fan", distinct=300, messages=5000, seconds=60),
    Load(kind="fan", size=2**20, messages=8, seconds=60),
    Load(kind="idle", connections=20),
    Load(kind="request", messages=200, seconds=60),
    Load(kind="request", window=64, connections=4, messages=500, seconds=60),
    Load(kind="js-publish", window=50, connections=7, messages=500, seconds=60),
    Load(kind="js-publish", window=50, distinct=300, messages=600, seconds=60),
    Load(kind="js-publish", window=50, distinct=300, filled=True, messages=600, seconds=60),
    Load(kind="js-publish", window=50, streams=7, messages=500, seconds=60),
    Load(kind="deliver", window=4, receivers=5, messages=500, seconds=60),
    Load(kind="deliver", window=4, receivers=5, apart=True, messages=500, seconds=60),
    Load(kind="fetch", batch=50, messages=500, seconds=60),
    Load(kind="fetch", batch=50, messages=500, seconds=60, acks=True),
    Load(kind="consume", messages=500, seconds=60),
    Load(kind="consume", messages=500, seconds=60, acks=True),
    Load(kind="kv-put", window=8, messages=500, seconds=60),
    Load(kind="kv-get", window=8, distinct=20, messages=500, seconds=60),
    Load(kind="kv-cas", window=8, messages=500, seconds=60),
    Load(kind="locks", window=8, messages=200, seconds=60),
    Load(kind="locks", window=8, messages=200, seconds=60, release="purge"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[StartedServer]:
    with StartedServer(process.own()) as started:
        yield started


@pytest.fixture(scope="module")
def secured() -> Iterator[StartedServer]:
    with StartedServer(process.own(tls=True)) as started:
        yield started


@pytest.fixture
def empty(server: StartedServer) -> Iterator[StartedServer]:
    """The server without streams; those that a test made are gone afterwards."""
    yield server
    bench = Bench(server, Load(kind="pub"))
    for name in bench.control.request("STREAM.NAMES", {})["streams"] or []:
        bench.drop(name)
    bench.close()


def test_every_kind_is_here() -> None:
    assert {load.kind for load in LOADS} == set(KINDS)


@pytest.mark.parametrize("load", LOADS, ids=lambda load: f"{load.kind}-{load.size}-{load.window}-{load.acks}")
def test_all_operations_succeed(empty: StartedServer, load: Load) -> None:
    result = run(empty, load)
    assert (result.failures, result.first_failure) == (0, "")
    copies = load.receivers if load.kind == "fan" and not load.queue else 1
    if load.kind in ("pub", "fan"):
        assert result.operations >= load.messages * copies
    elif load.kind == "idle":
        assert result.operations == load.connections
    else:
        assert result.operations == load.messages
    assert result.rate > 0
    assert result.cpu_ns and result.cpu_ns > 0
    assert result.rss_bytes and result.rss_bytes > 1_000_000


@pytest.mark.parametrize("load", [load for load in LOADS if load.kind in ("pub", "fan", "request")], ids=describe)
def test_the_same_over_tls(secured: StartedServer, load: Load) -> None:
    result = run(secured, load)
    assert (result.failures, result.first_failure) == (0, "")
    assert result.operations >= load.messages


def test_streams_are_made_over_tls(secured: StartedServer) -> None:
    assert run(secured, Load(kind="js-publish", window=50, messages=500, seconds=60)).operations == 500


def test_a_refused_publish_is_counted_and_named(empty: StartedServer) -> None:
    bench = Bench(empty, Load(kind="js-publish"))
    bench.stream("S", ["s.>"], max_msgs=3, discard="new")
    result = bench.measure(StreamPublish(bench.connect(), 1, 10, b"s.x", 8))
    bench.close()
    assert (result.operations, result.failures) == (10, 7)
    assert "maximum messages exceeded" in result.first_failure


def test_a_lock_that_is_taken_already_is_a_failure(empty: StartedServer) -> None:
    bench = Bench(empty, Load(kind="locks"))
    bench.stream("S", ["s.>"], max_msgs_per_subject=1, discard="new", discard_new_per_subject=True)
    bench.measure(StreamPublish(bench.connect(), 1, 1, b"s.x", 8, 1))
    result = bench.measure(LockCycle(bench.connect(), 1, 2, b"S", b"s.x", 8, False))
    bench.close()
    assert (result.operations, result.failures) == (2, 1)
    assert "maximum messages per subject exceeded" in result.first_failure


def test_nobody_to_answer_is_a_failure(server: StartedServer) -> None:
    bench = Bench(server, Load(kind="js-publish"))
    result = bench.measure(StreamPublish(bench.connect(), 1, 2, b"nobody.here", 8))
    bench.close()
    assert (result.operations, result.failures) == (2, 2)


def test_what_the_server_says_ends_the_measurement(server: StartedServer) -> None:
    bench = Bench(server, Load(kind="pub"))
    (conn,) = bench.connect()
    conn.send(b"what\r\n")
    with pytest.raises(LoadError, match=r"Unknown Protocol Operation|closed connection"):
        bench.loop.settle(conn)
    bench.close()


def test_a_table_has_a_ratio_and_json_has_everything(empty: StartedServer) -> None:
    load = Load(kind="pub", messages=5000)
    rows = [("one", run(empty, load)), ("two", run(empty, load))]
    text = table(load, rows)
    assert text.splitlines()[4].split()[0] == "ratio", text
    assert [row["server"] for row in json.loads(as_json(load, rows))["servers"]] == ["one", "two"]


def test_the_command_measures_a_running_server(server: StartedServer, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"nats://{server.host}:{server.port}"
    code = bench.main(["pub", "--messages", "1000", "--server", address, "--pid", str(server.pid), "--json"])
    row = json.loads(capsys.readouterr().out)["servers"][0]
    assert (code, row["server"]) == (0, address)
    assert row["operations"] >= 1000
    assert row["cpu_ns"] > 0


def test_wrong_words_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["nonsense"]) == 2
    with pytest.raises(SystemExit, match="2"):
        bench.main(["pub", "--window", "0"])
    assert bench.main(["pub", "--server", "127.0.0.1:1"]) == 1
    assert "start the server first" in capsys.readouterr().err


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ServerError, match="flag provided but not defined"):
        StartedServer(process.own("--no-such-flag"))
    with pytest.raises(ServerError, match="there is no no-such-server"):
        process.foreign("no-such-server")


def test_the_cpu_clock_of_a_process_that_is_gone() -> None:
    with StartedServer(process.own()) as started:
        before = started.cpu_ns()
        assert before and before > 0
    with pytest.raises(ServerError, match="ended during the measurement"):
        started.cpu_ns()
    assert not os.path.exists(f"/proc/{started.pid}/fd/0")
