"""Clients that come before the server is ready wait for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.server.process import WAIT_S, Running

from millpond.config.options import JetStreamOptions, Options
from millpond.server import early
from millpond.transport.binding import wrapped


def options(store_dir: Path | None = None, port: int = -1) -> Options:
    jetstream = JetStreamOptions(store_dir=str(store_dir)) if store_dir is not None else None
    return Options(host="127.0.0.1", port=port, jetstream=jetstream)


def test_a_client_is_taken_before_there_is_a_server() -> None:
    found = early.listen(options())
    assert found is not None
    with wrapped(found) as listening, socket.create_connection(listening.getsockname()) as client:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.close()
        assert listening.accept()[0].recv(1) == b""


@pytest.mark.parametrize(("streams", "listens"), [(0, True), (early.STREAMS_MAX, True), (early.STREAMS_MAX + 1, False)])
def test_where_many_streams_are_to_be_recovered_it_does_not_listen(tmp_path: Path, streams: int, listens: bool) -> None:
    (tmp_path / "jetstream" / "lock").parent.mkdir()
    (tmp_path / "jetstream" / "lock").touch()
    for number in range(streams):
        (tmp_path / "jetstream" / "AB"[number % 2] / "streams" / f"{number:04}").mkdir(parents=True)
    listening = early.listen(options(tmp_path))
    assert (listening is not None) is listens
    if listening is not None:
        listening.close()


def test_what_cannot_be_had_or_read_is_the_servers_to_tell(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert early.listen(options(port=taken.getsockname()[1])) is None
    (tmp_path / "jetstream" / "A").mkdir(parents=True)
    assert early.listen(options(tmp_path)) is None  # no directory of streams in there


def test_a_store_that_is_not_there_yet_has_nothing_to_recover(tmp_path: Path) -> None:
    listening = early.listen(options(tmp_path / "new"))
    assert listening is not None
    listening.close()


HELD_UP = """
import os, sys
from millpond.cli import main
from millpond.server import early
from millpond.transport.binding import wrapped
listen = early.listen
def told(options):
    found = listen(options)
    print(found.getsockname()[1], flush=True)
    sys.stdin.readline()
    return found
early.listen = told
sys.exit(main.main(["serve", "-a", "127.0.0.1", "-p", "-1", *sys.argv[1:]]))
"""


def test_a_client_that_comes_early_is_served(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELD_UP, "-js", "-sd", str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            with socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as client:
                client.sendall(b"CONNECT {}\r\nPING\r\n")
                process.stdin.write("go on\n")
                process.stdin.flush()
                client.settimeout(WAIT_S)
                with client.makefile("rb") as file:
                    assert file.readline().startswith(b'INFO {"server_id":"N')
                    assert [file.readline(), file.readline()] == [b"+OK\r\n", b"PONG\r\n"]
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.stderr.read()
    assert process.returncode == 0, said


def test_a_signal_that_comes_early_waits(tmp_path: Path) -> None:
    """Starters take a port that answers for a server that can be told to reload."""
    (tmp_path / "conf").write_text('listen: "127.0.0.1:-1"\n')
    with subprocess.Popen(
        [sys.executable, "-c", HELD_UP.replace('"-a", "127.0.0.1", "-p", "-1", ', ""), "-c", str(tmp_path / "conf")],
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.stdin.write("go on\n")
        process.stdin.flush()
        told = next((line for line in process.stderr if "Reloaded server configuration" in line), "")
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert told, "it has ended without"
    assert process.returncode == 0


def test_a_taken_port_is_told_as_ever(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Running("-a", "127.0.0.1", "-p", str(port), cwd=tmp_path) as running:
            line = running.line("[FTL]")
            assert running.process.wait(WAIT_S) == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; try --port -1" in line


def test_signals_that_come_together_all_arrive(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Running("-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(tmp_path), "-l", str(log)) as running:
        while not list(tmp_path.glob("*.ports")):
            assert running.process.poll() is None
            time.sleep(0.01)
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
            os.kill(running.pid, number)
        assert running.process.wait(WAIT_S) == 0
    said = log.read_text()
    for name in ("user defined signal 1", "hangup", "terminated"):
        assert f'Trapped "{name}" signal' in said
