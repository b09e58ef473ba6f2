"""The executable as a child process whose log is read line by line: waiting is always for a line or for the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WAIT_S = 20
MILLPOND = Path(sys.executable).with_name("millpond")


class Running:
    """A started server. `seen` is its log so far."""

    def __init__(self, *arguments: str, program: Path = MILLPOND, cwd: Path | None = None) -> None:
        command = [str(program), *(["serve"] if program == MILLPOND else []), *arguments]
        self.seen: list[str] = []
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=cwd, text=True, env={**os.environ})

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *unused: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process.wait(WAIT_S)

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self, words: str) -> str:
        """The next line of the log with `words` in it; fails when the log ends before."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.seen.append(line)
            if words in line:
                return line
        raise AssertionError(f"no line with {words!r} in:\n{''.join(self.seen)}")

    def ready(self) -> int:
        """Waits until it serves; the client port."""
        port = int(self.line("Listening for client connections on ").rpartition(":")[2])
        self.line("Server is ready")
        return port

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Waits for its end: (exit code, whole log)."""
        assert self.process.stderr is not None
        self.seen += self.process.stderr.readlines()
        return self.process.wait(WAIT_S), "".join(self.seen)
