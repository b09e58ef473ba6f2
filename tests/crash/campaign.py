"""The server's executable, as the crash tests start and stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from .model import Violation

WAIT_S: Final = 60


class Server:
    """The executable on one store directory. `expected`: an error that says so is no complaint."""

    def __init__(self, folder: Path, sync: str, expected: str = "", more: tuple[str, ...] = ()) -> None:
        self._expected = expected
        self._log = folder / "log"
        command = [sys.executable, "-m", "millpond", "serve", "-a", "127.0.0.1", "-p", "-1", "-js"]
        self._command = [*command, "-sd", str(folder / "store"), "--sync", sync, *more]
        self._process: subprocess.Popen[str] | None = None
        self.port = self.http_port = 0

    def spawn(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)

    def start(self) -> None:
        """Returns when it serves. Raises Violation when it cannot start any more."""
        self.spawn()
        assert self._process is not None
        assert self._process.stderr is not None
        seen = []
        for line in self._process.stderr:
            seen.append(line)
            if "Listening for client connections on " in line:
                self.port = int(line.rpartition(":")[2])
            if "Starting http monitor on " in line:
                self.http_port = int(line.rpartition(":")[2])
            if self._is_bad(line) or "[FTL]" in line:
                raise Violation(f"the server complains at its start:\n{''.join(seen)}")
            if "Server is ready" in line:
                return
        raise Violation(f"the server did not start:\n{''.join(seen)}")

    def _is_bad(self, line: str) -> bool:
        return "[ERR]" in line and not (self._expected and self._expected in line)

    def kill(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self.reap()

    def reap(self) -> None:
        """Waits for its end; what it had left to say is part of a failure."""
        if self._process is None:
            return
        if self._process.poll() is None and sys.exc_info()[0] is not None:
            self._process.kill()
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            bad = [line for line in stderr if self._is_bad(line) or "Traceback" in line]
        self._process.wait(WAIT_S)
        self._process = None
        if bad:
            raise Violation("the server complained: " + "".join(bad[:5]))
