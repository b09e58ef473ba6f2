"""The server's process: forked off this one, which has loaded its modules already, or started as users start it.

What a start does to the store is the same; a third of a second of imports, which touches no store, is left out. So this
process has one thread and no event loop. A forked server may be told beforehand at which of its system calls it is to
die (die_at.c, when this process was started with it).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..crash.model import Violation
from .link import Gone

READY: Final = b"Server is ready"
LISTENS: Final = b"Listening for client connections on "
START_S: Final = 60.0
UNFINISHED: Final = b"unless that was a write which was never finished"
"""A kill can cut a write short at a page. The journal says that it might be damage; what was confirmed is there."""
MOMENTS: Final = ("before", "after", "in the middle of")
KINDS: Final = {"w": "write", "s": "sync", "z": "length", "n": "name"}


@dataclass(frozen=True)
class Deadline:
    """The call at which a server dies: `nth` of those of `kinds` whose path has `part`."""

    kinds: str
    part: str
    nth: int
    moment: int

    def __str__(self) -> str:
        return f"{MOMENTS[self.moment]} call {self.nth} of {self.kinds} on {self.part}"


def can_die_at() -> bool:
    return hasattr(ctypes.CDLL(None), "die_at")


class Server:
    """One store directory, one process at a time. `prepare` is what the new process does first."""

    def __init__(self, folder: Path, sync: str, *, prepare: Callable[[], None] = lambda: None) -> None:
        self._arguments = ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(folder / "store"), "--sync", sync]
        self._prepare = prepare
        self.pid = self.port = 0
        self._said = b""
        self._pipe = -1
        self.start_s = 0.0
        self.killed = False
        """Did somebody mean it to die? Else its end is a violation."""

    def spawn(self, *, forked: bool = True, deadline: Deadline | None = None) -> None:
        assert not self.pid
        self._pipe, theirs = os.pipe()
        self._said, self.killed, self._began = b"", deadline is not None, time.monotonic()
        self.pid = os.fork()
        if self.pid:
            os.close(theirs)
            return
        try:
            os.dup2(theirs, 2)
            os.closerange(3, 1024)
            self._prepare()
            if forked:
                os._exit(_serve(self._arguments, deadline))
            environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
            command = [sys.executable, "-m", "millpond", "serve", *self._arguments]
            os.execve(sys.executable, command, environment)
        except BaseException as error:
            os.write(2, f"[FTL] the server's process: {error!r}\n".encode())
        finally:
            os._exit(70)

    def until_ready(self) -> None:
        """Raises Gone when it died and was meant to, Violation when it does not start."""
        while READY not in self._said:
            if not self._hear(self._began + START_S - time.monotonic()):
                self.reap()
                raise Gone
        self.start_s = time.monotonic() - self._began
        line = next(line for line in self._said.splitlines() if LISTENS in line)
        self.port = int(line.rpartition(b":")[2])
        self._check()

    def _hear(self, wait_s: float) -> bool:
        """False: it has nothing more to say. Raises Violation when it says nothing for so long."""
        if not select.select([self._pipe], [], [], max(0.0, wait_s))[0]:
            raise Violation(f"the server hangs:\n{self._said.decode()}")
        said = os.read(self._pipe, 1 << 16)
        self._said += said
        return bool(said)

    def _check(self) -> None:
        said = [line for line in self._said.splitlines() if UNFINISHED not in line]
        bad = [line for line in said if b"[ERR]" in line or b"[FTL]" in line or b"Traceback" in line]
        if bad:
            raise Violation(f"the server complains: {bad[:5]}\n{self._said.decode()[-2000:]}")

    def kill(self) -> None:
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        self.killed = True
        os.kill(self.pid, signal.SIGTERM)

    def reap(self) -> int:
        """Waits for its end. Returns the signal that ended it; 0: it stopped. Raises Violation."""
        try:
            while self._hear(START_S):
                pass
            _, status = os.waitpid(self.pid, 0)
            self.pid = 0
        finally:
            self.close()
        self._check()
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if not self.killed or ended_by not in (0, signal.SIGKILL) or (not ended_by and os.WEXITSTATUS(status)):
            raise Violation(f"the server ended by itself, with {status:#x}:\n{self._said.decode()[-2000:]}")
        return ended_by

    def close(self) -> None:
        """Whatever it does, it is over."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def _serve(arguments: list[str], deadline: Deadline | None) -> int:
    """In the new process: what `millpond serve` does."""
    from millpond.cli import serve

    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if deadline is not None:
        libc = ctypes.CDLL(None)
        libc.die_at(deadline.kinds.encode(), deadline.part.encode(), ctypes.c_long(deadline.nth), deadline.moment)
    code = serve.main(arguments)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return code


def load() -> None:
    """Everything that a server needs, once."""
    from millpond.cli import lean

    lean.load()
    import asyncio  # noqa: F401

    import millpond.cli.serve
    import millpond.server.lifecycle  # noqa: F401
