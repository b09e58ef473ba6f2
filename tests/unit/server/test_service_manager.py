"""What systemd is told of a server that it started (sd_notify, `Type=notify-reload`), over a socket of its kind."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from process import WAIT_S, Running

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "millpond.service"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socket.socket]:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        if request.param == "path":
            listening.bind("notify")
            monkeypatch.setenv("NOTIFY_SOCKET", "notify")
        else:
            listening.bind(f"\0millpond-test-{os.getpid()}")
            monkeypatch.setenv("NOTIFY_SOCKET", f"@millpond-test-{os.getpid()}")
        listening.settimeout(WAIT_S)
        yield listening


def test_a_life_with_a_good_and_a_bad_reload(manager: socket.socket, tmp_path: Path) -> None:
    config = tmp_path / "nats.conf"
    config.write_text("host: 127.0.0.1\nport: -1\n")
    began_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    with Running("-c", str(config)) as running:
        running.ready()
        assert manager.recv(4096) == b"READY=1"
        for text in ("host: 127.0.0.1\nport: -1\ndebug: true\n", "no such key: 1\n"):
            config.write_text(text)
            running.signal(signal.SIGHUP)
            state, _, moment = manager.recv(4096).decode().partition("\nMONOTONIC_USEC=")
            assert state == "RELOADING=1"
            assert began_us < int(moment) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert manager.recv(4096) == b"READY=1"
        running.signal(signal.SIGTERM)
        assert manager.recv(4096) == b"STOPPING=1"
        code, log = running.end()
        assert code == 0
        assert "Failed to reload server configuration" in log


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nothing"))
    with Running("-a", "127.0.0.1", "-p", "-1") as running:
        running.ready()
        running.line("[WRN] Could not tell the service manager READY=1: No such file or directory")
        running.signal(signal.SIGTERM)
        assert running.end()[0] == 0


def test_the_unit_uses_what_there_is() -> None:
    lines = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#")
    assert lines["Type"] == "notify-reload"
    assert lines["ExecStartPre"].split()[1:-1] == ["check-config"]
    assert lines["ExecStart"].split()[1:-1] == ["serve", "-c"]
    assert lines["ExecStart"].split()[-1] == lines["ExecStartPre"].split()[-1]
