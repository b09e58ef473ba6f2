"""`millpond doctor memory`: what Kubernetes counts for a process or group, made up of what, and where it goes."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from millpond.base import cgroup, process_memory
from millpond.base.errors import MillpondError
from millpond.cli.doctor_diagnosis import MIB, Diagnosis, budget_words, diagnose, mib
from millpond.cli.doctor_patient import DoctorError, Patient, choose, fetch
from millpond.monitor import memory_report
from millpond.monitor.memory_report import MemoryReport

LABEL_WIDTH: Final = 42
TEXT_WIDTH: Final = 100
SAMPLES_MAX: Final = 3600
FILES_MAX: Final = 100_000


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 looked, 1 could not look, 2 wrong usage, 130 interrupted."""
    parser = _parser()
    given = parser.parse_args(argv)
    if not 0 <= given.seconds <= 7 * 86400:
        parser.error("--seconds must be between 0 and 604800")
    try:
        patient = choose(given)
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
        "  millpond doctor memory --server http://127.0.0.1:8222 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--pid", type=int, metavar="N", help="a process, and the memory group it is in")
    target.add_argument("--cgroup", metavar="PATH", help="a memory group: its directory below /sys/fs/cgroup")
    target.add_argument(
        "--server", "--url", dest="url", metavar="URL", help="a Millpond's monitoring address, http://host:port"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to look for a trend (default 10)")
    parser.add_argument("--data-dir", metavar="DIR", help="also count the page cache of the files below DIR")
    parser.add_argument("--json", action="store_true", help="print the diagnosis as JSON (sizes in bytes)")
    return parser


# --- looking ---


def _examine(patient: Patient, seconds: float) -> Diagnosis:
    """Sample once a second (less often for more than an hour), and conclude."""
    interval = max(1.0 if seconds >= 4 else max(0.1, seconds / 4), seconds / SAMPLES_MAX)
    began = time.monotonic()
    reports = [(0.0, _with_budgets(patient.look(), patient))]
    while seconds and (now := time.monotonic() - began) < seconds:
        _show_waiting(now, seconds)
        time.sleep(max(0.0, min(interval, seconds - now)))
        reports.append((time.monotonic() - began, patient.look()))
    _show_waiting(None, seconds)
    at, last = reports[-1]
    if patient.data_dir:
        own_pages = process_memory.file_cache(patient.data_dir, FILES_MAX).cached
        last = msgspec.structs.replace(last, page_cache_own=own_pages)
    reports[-1] = (at, _with_budgets(last, patient))
    return diagnose(patient.subject, reports, patient.data_dir, _doctor_itself(last), patient.program)


def _with_budgets(seen: MemoryReport, patient: Patient) -> MemoryReport:
    """What only the server knows; that it does not tell is noted, not an error."""
    if patient.mute:
        return msgspec.structs.replace(seen, note=seen.note or "its budgets are not known: monitoring is off (-m)")
    if not patient.address:
        return seen
    try:
        page = fetch(f"{patient.address}/memz")
        return memory_report.with_memz(seen, page)
    except (DoctorError, msgspec.ValidationError) as error:
        return msgspec.structs.replace(seen, note=seen.note or f"its budgets are not known: {error}")


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
    if seen.streams:
        biggest = ", ".join(f"{name} {mib(size)}" for name, size in list(seen.streams.items())[:3])
        lines += _wrapped("Biggest: ", biggest)
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
            bound = f"budget {mib(share.max)}" if share.max else ""
            rows.append((_label(name, seen.counts), share.used, bound))
        rest = max(0, seen.anon - seen.budgets_used)
        rows.append(("heap that no budget names", rest, "free memory inside of it, mostly"))
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


COUNTED: Final = {
    "connections": "connections",
    "subjects": "subjects",
    "messages": "messages",
    "dedupe": "message_ids",
    "consumers": "consumers",
}
"""Budget -> the count that goes with it."""
UNITS: Final = {"subjects": " subjects", "messages": " messages", "message_ids": " ids"}


def _label(budget: str, counts: dict[str, int]) -> str:
    count = COUNTED.get(budget, "")
    if count not in counts:
        return budget_words(budget)
    return f"{budget_words(budget)} ({counts[count]:,}{UNITS.get(count, '')})"


def _row(label: str, size: int, note: str) -> str:
    return f"{label:<{LABEL_WIDTH}}{size / MIB:8.1f} MiB   {note}".rstrip()


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, TEXT_WIDTH, initial_indent=head, subsequent_indent=" " * len(head))


def _plain(error: Exception) -> str:
    if isinstance(error, PermissionError) and error.filename:
        return f"no permission to read {error.filename}; try as root"
    return str(error)
