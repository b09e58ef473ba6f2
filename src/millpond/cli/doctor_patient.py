"""Who is looked at by `millpond doctor`: a process, a memory group, a monitoring address, or who runs here."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from millpond.base import cgroup, process_memory
from millpond.base.errors import MillpondError
from millpond.cli.doctor_diagnosis import MIB
from millpond.monitor import memory_report
from millpond.monitor.memory_report import MemoryReport

URL_TIMEOUT_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 0.5
GREETING_TIMEOUT_S: Final = 0.1
PORTS_PROBED_MAX: Final = 8
ACCEPTS: Final = "00010000"
"""The flags of a listening socket in /proc/net/unix (__SO_ACCEPTCON)."""
LISTENING: Final = "0A"
"""The state of a listening socket in /proc/net/tcp."""
TOLD_APART: Final = (("named", ("n", "name", "server_name")), ("data in", ("sd", "store_dir")))
"""Flags that tell servers apart."""


class DoctorError(MillpondError):
    """What was asked for cannot be looked at; the text says why and what to do."""


class Patient(msgspec.Struct, kw_only=True):
    """What is looked at: `look` gives one report."""

    subject: str
    look: Callable[[], MemoryReport]
    program: str = ""
    data_dir: str = ""
    address: str = ""
    """Where a Millpond tells its budgets, http://host:port; empty: nowhere."""
    mute: bool = False
    """A Millpond without monitoring: its budgets are not to be had."""
    found: str = ""
    """How it was chosen, when the user did not say."""


def choose(given: argparse.Namespace) -> Patient:
    """Raises DoctorError, CgroupError, ProcessLookupError, PermissionError."""
    if given.url:
        return _by_url(given.url)
    if sys.platform != "linux":
        raise DoctorError("processes and groups can be looked at on Linux only; --server works everywhere")
    if given.cgroup:
        directory = str(Path(given.cgroup).resolve())
        cgroup.group_at(directory)
        return Patient(
            subject=f"group {directory}",
            look=lambda: memory_report.report(cgroup=directory),
            program=_program_of_group(directory),
            data_dir=given.data_dir or "",
        )
    if given.pid is not None:
        return _by_pid(given.pid, given.data_dir)
    servers = find_servers()
    if len(servers) > 1:
        listed = "\n".join(f"  --pid {pid}   {shown(pid, command)}" for pid, command in servers.items())
        raise DoctorError(f"several servers run here, choose one:\n{listed}")
    for pid in servers:
        patient = _by_pid(pid, given.data_dir)
        patient.found = "the only server that runs here"
        return patient
    own = cgroup.group_of()
    return Patient(
        subject=f"group {own.directory}",
        look=lambda: memory_report.report(cgroup=own.directory),
        data_dir=given.data_dir or "",
        found="no server runs here, so this is the group of this command",
    )


def _by_pid(pid: int, data_dir: str | None) -> Patient:
    if pid < 1:
        raise DoctorError(f"{pid} is not a process id")
    process_memory.read(pid)
    command = process_memory.command_of(pid)
    program = process_memory.name_of(pid)
    ours = is_server(command) and "nats-server" not in command[0]
    address = monitoring_address(pid) if ours else ""
    return Patient(
        subject=f"{'millpond' if ours else program} (pid {pid})",
        look=lambda: memory_report.report(pid=pid),
        program="millpond" if ours else program,
        data_dir=data_dir or store_dir_of(pid),
        address=address,
        mute=ours and not address,
    )


def _by_url(url: str) -> Patient:
    address = url if "://" in url else f"http://{url}"
    address = address.rstrip("/").removesuffix("/varz").removesuffix("/memz")
    if not address.startswith(("http://", "https://")):
        raise DoctorError(f"{url} is not an http address")

    def look() -> MemoryReport:
        values = fetch(f"{address}/varz")
        memory = values.get("memory")
        if not isinstance(memory, dict):
            name, version = values.get("server_name", "the server"), values.get("version", "?")
            raise DoctorError(
                f"{address}/varz has no memory object: {name} ({version}) reports only its RSS, "
                f"{int(values.get('mem', 0)) / MIB:.1f} MiB. Run this where it runs: millpond doctor memory --pid N"
            )
        return memory_report.from_varz(memory)

    return Patient(subject=f"millpond at {address}", look=look, program="millpond", address=address)


def fetch(address: str, timeout_s: float = URL_TIMEOUT_S) -> dict[str, Any]:
    """A JSON object over HTTP. Raises DoctorError."""
    try:
        with urllib.request.urlopen(address, timeout=timeout_s) as answer:  # http(s) only, checked by the callers
            values = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise DoctorError(f"{address} answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise DoctorError(f"{address} cannot be reached: {getattr(error, 'reason', error)}") from None
    except ValueError:
        raise DoctorError(f"{address} does not answer with JSON: is it a monitoring port?") from None
    if not isinstance(values, dict):
        raise DoctorError(f"{address} does not answer with a JSON object: is it a monitoring port?")
    return values


# --- processes ---


def find_servers() -> dict[int, list[str]]:
    """NATS servers among the processes that we may see: pid -> command line."""
    servers = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            command = process_memory.command_of(int(name))
            if is_server(command):
                servers[int(name)] = command
    return servers


def shown(pid: int, command: list[str]) -> str:
    """A server in a list: its name and what tells it from others."""
    name = "nats-server" if "nats-server" in os.path.basename(command[0]) else "millpond"
    facts = [f"port {port}" for port in listening_ports(pid)[:1]]
    facts += [f"{word} {value}" for word, flags in TOLD_APART if (value := flag_value(command, flags))]
    return f"{name}  {', '.join(facts)}".rstrip()


def is_server(command: list[str]) -> bool:
    """nats-server, `millpond serve`, `python -m millpond serve`, or what `millpond shim` has written."""
    if not command:
        return False
    names = [os.path.basename(word) for word in command[:3]]
    if names[0] == "nats-server" or ("python" in names[0] and names[1:] == ["-I", "nats-server"]):
        return True
    for at, word in enumerate(command[:-1]):
        if os.path.basename(word) == "millpond" and command[at + 1] == "serve":
            return at == 0 or command[at - 1] == "-m" or "python" in os.path.basename(command[0])
    return False


def store_dir_of(pid: int) -> str:
    """The directory given by --store_dir, as we can reach it; empty when it is not on the command line."""
    path = flag_value(process_memory.command_of(pid), ("sd", "store_dir"))
    if not path:
        return ""
    try:
        path = os.path.join(os.readlink(f"/proc/{pid}/cwd"), path)
    except OSError:
        return path if os.path.isabs(path) and os.path.isdir(path) else ""
    for place in (f"/proc/{pid}/root{path}", path):  # the first is right in its container too
        if os.path.isdir(place):
            return place
    return ""


def flag_value(command: list[str], names: tuple[str, ...]) -> str:
    """The value of a flag in Go's style: `-sd DIR`, `--store_dir=DIR`; empty when it is not there."""
    for at, word in enumerate(command):
        flag, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and flag in names:
            return value if equals else (command[at + 1] if at + 1 < len(command) else "")
    return ""


def listening_ports(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """TCP ports that the process listens on, ascending; none where that cannot be seen."""
    sockets = _sockets(pid, proc)
    ports = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / str(pid) / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for words in map(str.split, lines):
            if len(words) > 9 and words[3] == LISTENING and words[9] in sockets:
                ports.add(int(words[1].rpartition(":")[2], 16))
    return sorted(ports)


def listening_paths(pid: int, proc: Path = Path("/proc")) -> list[str]:
    """Unix sockets in the file system that the process listens on; none where that cannot be seen."""
    sockets, found = _sockets(pid, proc), []
    try:
        lines = (proc / str(pid) / "net" / "unix").read_text(errors="surrogateescape").splitlines()[1:]
    except OSError:
        return []
    for line in lines:
        words = line.split(maxsplit=7)
        if len(words) > 7 and words[3] == ACCEPTS and words[6] in sockets and words[7].startswith("/"):
            found.append(words[7])
    return sorted(found)


def _sockets(pid: int, proc: Path) -> set[str]:
    """The numbers of its sockets, as the tables of the kernel have them."""
    found = set[str]()
    try:
        entries = list(os.scandir(proc / str(pid) / "fd"))
    except OSError:
        return found
    for entry in entries:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            link = os.readlink(entry.path)
            if link.startswith("socket:["):
                found.add(link[8:-1])
    return found


def monitoring_address(pid: int) -> str:
    """Which of its ports is a Millpond's monitoring; empty: none, or it is in another network namespace."""
    try:
        if os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"):
            return ""
    except OSError:
        return ""
    for port in listening_ports(pid)[:PORTS_PROBED_MAX]:
        address = f"http://127.0.0.1:{port}"
        try:
            if _greets(port):
                continue
            if isinstance(fetch(f"{address}/varz", PROBE_TIMEOUT_S).get("memory"), dict):
                return address
        except (DoctorError, OSError):
            continue
    return ""


def _greets(port: int) -> bool:
    """Whether it speaks first, as a client port does with INFO: a request there would be an error in its log."""
    with socket.create_connection(("127.0.0.1", port), PROBE_TIMEOUT_S) as connection:
        connection.settimeout(GREETING_TIMEOUT_S)
        try:
            return bool(connection.recv(1))
        except TimeoutError:
            return False


def _program_of_group(directory: str) -> str:
    """The server's name when one runs in the group."""
    for pid in cgroup.pids(cgroup.group_at(directory)):
        if is_server(process_memory.command_of(pid)):
            return process_memory.name_of(pid)
    return ""
