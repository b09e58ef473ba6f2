"""Kill -9, start again, check; over and over with one store directory.

    start -> verify what the last crash left -> load -> kill at some answer -> ...
                                                 (or, now and then, during the start)

At the end the consumer must get everything that was not confirmed, and an orderly stop must change nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from .check import consumer_info, create, verify
from .load import Worker, Writer
from .model import Model, Violation

ANSWERS_MAX: Final = 4000
KILL_IN_START_OF: Final = 8
"""One start in so many is killed as well."""
START_S: Final = 0.4
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
        self._process = subprocess.Popen(
            self._command, stderr=subprocess.PIPE, text=True,
            preexec_fn=self.prepare,  # noqa: PLW1509 - this process has one thread
        )  # fmt: skip

    def prepare(self) -> None:
        """What the new process does first."""

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


class Campaign:
    """A row of crashes. `seed` decides what is sent and when it is killed, up to the operating system's whims."""

    def __init__(self, folder: Path, seed: int, sync: str = "always", server: Server | None = None) -> None:
        self._rng = random.Random(seed)
        self._server = server or Server(folder, sync)
        self._models: list[Model] = []
        self._writers: list[Writer] = []
        self._worker = Worker(self._rng)
        self._issued: dict[str, dict[int, bytes]] = {}
        """Every sequence that was ever acknowledged, by stream, with what it stood for."""
        self.answers = 0

    def run(self, kills: int) -> None:
        """Raises Violation at the first broken promise."""
        try:
            for number in range(kills):
                if number and self._rng.randrange(KILL_IN_START_OF) == 0:
                    self._kill_in_start()
                self._server.start()
                asyncio.run(asyncio.wait_for(self._crash(), WAIT_S))
                self._server.reap()
            self._server.start()
            asyncio.run(asyncio.wait_for(self._drain(), WAIT_S))
            self._server.stop()
            self._server.start()
            asyncio.run(asyncio.wait_for(self._check(), WAIT_S))
            self._server.stop()
        finally:
            self._server.reap()

    def _kill_in_start(self) -> None:
        self._server.spawn()
        time.sleep(self._rng.uniform(0, START_S))
        self._server.kill()
        self._server.reap()

    async def _check(self) -> None:
        """The streams as the last writers left them, and the writers for what comes next."""
        port = self._server.port
        self._models = await verify(port, self._writers, self._worker) if self._writers else await create(port)
        self._writers = [Writer(model, self._rng) for model in self._models]

    async def _crash(self) -> None:
        await self._check()
        left = self._rng.randint(1, ANSWERS_MAX)

        def count() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._server.kill()

        self._worker.on_confirmed = count
        for writer in self._writers:
            writer.on_answer = count
        port = self._server.port
        await asyncio.gather(self._worker.run(port), *(writer.run(port) for writer in self._writers))
        for writer in self._writers:
            self._check_sequences(writer)

    def _check_sequences(self, writer: Writer) -> None:
        issued = self._issued.setdefault(writer.before.name, {})
        for seq, number in writer.acked_seqs.items():
            body = getattr(writer.operations[number], "payload", b"")
            if issued.setdefault(seq, body) != body:
                raise Violation(f"{writer.before.name}: sequence {seq} was issued twice")
        self.answers += len(writer.answered)

    async def _drain(self) -> None:
        """Everything that was not acknowledged comes again, until nothing is left."""
        await self._check()
        port, worker = self._server.port, self._worker
        work = next(model for model in self._models if model.name == "WORK")
        worker.confirm_all = True
        while True:
            await worker.run(port, until=lambda: set(work.messages) <= worker.acknowledged)
            info = await consumer_info(port)
            if (info["num_pending"], info["num_ack_pending"]) == (0, 0):
                return
            # An acknowledgement that was on its way at a crash was lost: its message comes again.
            pulls = worker.pulls
            await worker.run(port, until=lambda pulls=pulls: worker.pulls > pulls)
