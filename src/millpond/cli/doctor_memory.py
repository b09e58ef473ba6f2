"""`millpond doctor memory`: what Kubernetes counts for a process or group, made up of what, and where it goes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from millpond.base import cgroup, process_memory
from millpond.base.errors import MillpondError
from millpond.cli.doctor_diagnosis import MIB, Diagnosis, diagnose
from millpond.monitor import memory_report
from millpond.monitor.memory_report import MemoryReport

LABEL_WIDTH: Final = 42
TEXT_WIDTH: Final = 100
URL_TIMEOUT_S: Final = 5.0
SAMPLES_MAX: Final = 3600
FILES_MAX: Final = 100_000


class DoctorError(MillpondError):
    """What was asked for cannot be looked at; the text says why and what to do."""


class Patient(msgspec.Struct, kw_only=True):
    """What is looked at: `look` gives one report."""

    subject: str
    look: Callable[[], MemoryReport]
    program: str = ""
    data_dir: str = ""
    varz: str = ""
    """Where a Millpond that is looked at from outside tells its budgets; empty: nowhere."""
    found: str = ""
    """How it was chosen, when the user did not say."""


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 looked, 1 could not look, 2 wrong usage, 130 interrupted."""
    parser = _parser()
    given = parser.parse_args(argv)
    if not 0 <= given.seconds <= 7 * 86400:
        parser.error("--seconds must be between 0 and 604800")
    try:
        patient = _patient(given)
        diagnosis = _examine(patient, given.seconds)
    except (MillpondError, ProcessLookupError, PermissionError) as error:
        print(f"millpond doctor memory: {_plain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if given.json:
        print(msgspec.json.encode(diagnosis).decode())
    else:
        print(render(diagnosis, patient.found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="millpond doctor memory",
        description="Says what Kubernetes counts as the memory of a process or container, what it is made of, "
        "whether it grows, and what to do. Without a target: the NATS server that runs here, or else the "
        "group of this command.",
        epilog="Examples:\n  millpond doctor memory --pid $(pidof nats-server) --seconds 60\n"
        "  millpond doctor memory --url http://127.0.0.1:8222 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--pid", type=int, metavar="N", help="a process, and the memory group it is in")
    target.add_argument("--cgroup", metavar="PATH", help="a memory group: its directory below /sys/fs/cgroup")
    target.add_argument("--url", metavar="URL", help="a Millpond's monitoring address, http://host:port")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to look for a trend (default 10)")
    parser.add_argument("--data-dir", metavar="DIR", help="also count the page cache of the files below DIR")
    parser.add_argument("--json", action="store_true", help="print the diagnosis as JSON (sizes in bytes)")
    return parser


# --- choosing ---


def _patient(given: argparse.Namespace) -> Patient:
    if given.url:
        return _by_url(given.url)
    if sys.platform != "linux":
        raise DoctorError("processes and groups can be looked at on Linux only; --url works everywhere")
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
        listed = "; ".join(f"--pid {pid} ({' '.join(command)[:60]})" for pid, command in servers.items())
        raise DoctorError(f"several servers run here, choose one: {listed}")
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
    if is_server(command) and "nats-server" not in command[0]:
        program = "millpond"
    return Patient(
        subject=f"{program} (pid {pid})",
        look=lambda: memory_report.report(pid=pid),
        program=program,
        data_dir=data_dir or store_dir_of(pid),
        varz=_varz_of(command) if program == "millpond" else "",
    )


def _by_url(url: str) -> Patient:
    address = url if "://" in url else f"http://{url}"
    address = address.rstrip("/")
    address = address if address.endswith("/varz") else f"{address}/varz"
    if not address.startswith(("http://", "https://")):
        raise DoctorError(f"{url} is not an http address")

    def look() -> MemoryReport:
        values = _fetch(address)
        memory = values.get("memory")
        if not isinstance(memory, dict):
            name, version = values.get("server_name", "the server"), values.get("version", "?")
            raise DoctorError(
                f"{address} has no memory object: {name} ({version}) reports only its RSS, "
                f"{int(values.get('mem', 0)) / MIB:.1f} MiB. Run this where it runs: millpond doctor memory --pid N"
            )
        return memory_report.from_varz(memory)

    return Patient(subject=address, look=look)


def _fetch(address: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(address, timeout=URL_TIMEOUT_S) as answer:  # http(s) only, checked above
            values = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise DoctorError(f"{address} answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise DoctorError(f"{address} cannot be reached: {getattr(error, 'reason', error)}") from None
    except ValueError:
        raise DoctorError(f"{address} does not answer with JSON: is it a monitoring port?") from None
    if not isinstance(values, dict):
        raise DoctorError(f"{address} does not answer with a JSON object: is it a monitoring port?")
    return values


def find_servers() -> dict[int, list[str]]:
    """NATS servers among the processes that we may see: pid -> command line."""
    servers = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            command = process_memory.command_of(int(name))
            if is_server(command):
                servers[int(name)] = command
    return servers


def is_server(command: list[str]) -> bool:
    """nats-server, `millpond serve`, `python -m millpond serve`."""
    if not command:
        return False
    if os.path.basename(command[0]) == "nats-server":
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


def _varz_of(command: list[str]) -> str:
    """The /varz of a Millpond with a fixed monitoring port on its command line."""
    port = flag_value(command, ("m", "http_port"))
    if not port.isdigit() or int(port) == 0:
        return ""
    host = flag_value(command, ("a", "addr", "net"))
    return f"http://{host if host not in ('', '0.0.0.0', '::') else '127.0.0.1'}:{port}/varz"


def _program_of_group(directory: str) -> str:
    """The server's name when one runs in the group."""
    for pid in cgroup.pids(cgroup.group_at(directory)):
        if is_server(process_memory.command_of(pid)):
            return process_memory.name_of(pid)
    return ""


# --- looking ---


def _examine(patient: Patient, seconds: float) -> Diagnosis:
    """Sample once a second (less often for more than an hour), and conclude."""
    interval = max(1.0 if seconds >= 4 else max(0.1, seconds / 4), seconds / SAMPLES_MAX)
    began = time.monotonic()
    reports = [(0.0, patient.look())]
    while seconds and (now := time.monotonic() - began) < seconds:
        _show_waiting(now, seconds)
        time.sleep(max(0.0, min(interval, seconds - now)))
        reports.append((time.monotonic() - began, patient.look()))
    _show_waiting(None, seconds)
    at, last = reports[-1]
    if patient.data_dir:
        own_pages = process_memory.file_cache(patient.data_dir, FILES_MAX).cached
        last = msgspec.structs.replace(last, page_cache_own=own_pages)
    if patient.varz:
        last = _with_budgets(last, patient.varz)
    reports[-1] = (at, last)
    return diagnose(patient.subject, reports, patient.data_dir, _doctor_itself(last), patient.program)


def _with_budgets(seen: MemoryReport, address: str) -> MemoryReport:
    """What only the server knows; that it does not tell is noted, not an error."""
    try:
        memory = _fetch(address).get("memory")
    except DoctorError as error:
        return msgspec.structs.replace(seen, note=f"its budgets are not known: {error}")
    if not isinstance(memory, dict):
        return msgspec.structs.replace(seen, note=f"its budgets are not known: {address} has no memory object")
    return msgspec.structs.replace(seen, budgets=memory_report.from_varz(memory).budgets)


def _show_waiting(now: float | None, seconds: float) -> None:
    if sys.stderr.isatty() and seconds >= 2:
        text = "" if now is None else f"looking for {seconds:.0f} s ... {now:.0f}"
        print("\r" + text.ljust(40) + ("\r" if now is None else ""), end="", file=sys.stderr, flush=True)


def _doctor_itself(seen: MemoryReport) -> int:
    """Our own memory when we run in the group that we look at (as with kubectl exec)."""
    if not seen.group:
        return 0
    try:
        own = cgroup.group_of().directory
    except MillpondError:
        return 0
    inside = own == seen.group or own.startswith(seen.group.rstrip("/") + "/")
    return process_memory.read().anon if inside and seen.pid != os.getpid() else 0


# --- saying ---


def render(diagnosis: Diagnosis, found: str = "") -> str:
    """The diagnosis as text for people."""
    seen = diagnosis.last
    lines = [diagnosis.subject + (f": {found}" if found else "")]
    if seen.group:
        lines.append(f"memory group {seen.group} (cgroup v{seen.group_version})")
    if seen.note:
        lines.append(f"note: {seen.note}")
    made_of = (
        f"= usage {seen.cgroup_current / MIB:.1f} - inactive_file {seen.inactive_file / MIB:.1f}"
        if seen.cgroup_current
        else "no memory group: RSS stands for it"
    )
    lines += ["", _row("What Kubernetes sees (working set)", seen.working_set, made_of)]
    lines += [_row("  " + label, size, note) for label, size, note in _parts(diagnosis) if size >= 0.05 * MIB]
    lines.append("")
    whose = "Process" if seen.pid or not seen.group else "Processes"
    lines.append(_row(f"{whose}, resident (RSS)", seen.rss, "heap and the mapped pages of programs"))
    lines.append(_row("Not counted: page cache, inactive", seen.inactive_file, "used once; first to be taken back"))
    if diagnosis.data_dir or seen.page_cache_own:
        where = f"files below {diagnosis.data_dir}" if diagnosis.data_dir else "its data files"
        lines.append(_row("Page cache, own data, all", seen.page_cache_own, where))
    if seen.cgroup_limit:
        lines.append(_row("Limit", seen.cgroup_limit, f"{seen.cgroup_current / seen.cgroup_limit:.0%} used"))
    lines += ["", *_wrapped("Verdict: ", diagnosis.verdict)]
    for cause in diagnosis.causes:
        lines += _wrapped("Why:     ", cause)
    for advice in diagnosis.advice:
        lines += _wrapped("Advice:  ", advice)
    return "\n".join(lines)


def _parts(diagnosis: Diagnosis) -> list[tuple[str, int, str]]:
    """The rows that make up the working set: label, bytes, note."""
    seen = diagnosis.last
    rows = []
    if seen.budgets:
        for name, share in sorted(seen.budgets.items(), key=lambda item: -item[1].used):
            bound = f"budget {share.max / MIB:.0f}" if share.max else ""
            rows.append((name.replace("_", " "), share.used, bound))
        rest = max(0, seen.anon - seen.budgets_used)
        rows.append(("interpreter and what no budget counts", rest, ""))
    else:
        rows.append(("process memory (heap, stacks)", seen.anon, ""))
    doctor = diagnosis.doctor_itself if seen.pid else 0
    others = max(0, seen.anon_group - seen.anon - doctor)
    rows.append(("other processes of the group", others, ""))
    rows.append(("this command itself", doctor, "gone in a moment"))
    if not seen.cgroup_current:
        return rows
    rows.append(("shared memory and tmpfs", seen.shmem, "cannot be taken back"))
    rows.append(("page cache, active", seen.active_file, "used twice or more; the kernel can take it back"))
    about = "" if seen.group_version == 2 or not seen.group_version else "estimated; "
    rows.append(("kernel: slab", seen.slab, f"{about}names and inodes of files; mostly can be taken back"))
    rows.append(("kernel: stacks, page tables, other", max(0, seen.kernel - seen.slab), ""))
    if seen.group_version != 1:
        rows.append(("socket buffers", seen.sock, ""))
    explained = sum(size for _, size, _ in rows)
    rows.append(("unexplained", max(0, seen.working_set - explained), "the kernel charges in batches"))
    return rows


def _row(label: str, size: int, note: str) -> str:
    return f"{label:<{LABEL_WIDTH}}{size / MIB:8.1f} MiB   {note}".rstrip()


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, TEXT_WIDTH, initial_indent=head, subsequent_indent=" " * len(head))


def _plain(error: Exception) -> str:
    if isinstance(error, PermissionError) and error.filename:
        return f"no permission to read {error.filename}; try as root"
    return str(error)
