"""Millpond and nats-server as processes, started, killed and asked in the same way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

READY_S: Final = 60.0
STOP_S: Final = 30.0


class Kind(NamedTuple):
    """A server and how it is set. `settings`: lines of its `jetstream` block."""

    name: str
    program: tuple[str, ...]
    settings: str
    promises: bool
    """Does it say that what it acknowledges survives a power cut?"""
    is_ours: bool = False


OURS: Final = Kind("Millpond", (sys.executable, "-m", "millpond", "serve"), "sync: always", True, True)


def reference() -> list[Kind]:
    """nats-server 2.15.1 as it comes, and with a sync for each message; empty when it is not installed."""
    beside = Path(sys.executable).with_name("nats-server")
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        return []
    return [
        Kind("nats-server", (program,), "", False),
        Kind("nats-server, sync_interval: always", (program,), "sync_interval: always", True),
    ]


class NotReady(Exception):
    """It does not start; the text is the end of its log."""


class Running:
    """One server on the store directory `store`."""

    def __init__(self, kind: Kind, folder: Path, store: Path, more: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config, self._log = folder / "server.conf", folder / "server.log"
        block = "\n  ".join([f"store_dir: {json.dumps(str(store))}", kind.settings, more])
        config.write_text(f"listen: 127.0.0.1:-1\njetstream {{\n  {block}\n}}\n")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([*kind.program, "-c", str(config)], stdout=log, stderr=log)
        self.port = 0
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def _wait(self) -> None:
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            text = self._log.read_text(errors="replace")
            for line in text.splitlines():
                if "Listening for client connections on " in line:
                    self.port = int(line.rpartition(":")[2])
            if self.port and "Server is ready" in text:
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.01)                       # nothing else tells when it is ready
        raise NotReady(self._log.read_text(errors="replace")[-500:])

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def freeze(self) -> None:
        """It does nothing more, and does not know."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(STOP_S)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def running(kind: Kind, folder: Path, store: Path, more: str = "") -> Iterator[Running]:
    """Killed at the end, if it is there then."""
    server = Running(kind, folder, store, more)
    try:
        yield server
    finally:
        server.kill()
