"""`millpond store verify|dump|repair|backup DIR`: what lies in a store directory, and what can be done about it.

verify and dump never write, also when the store is in use; backup only reads it. repair needs it for itself.

Exit codes: 0 everything is sound, 1 something is damaged, 2 wrong usage, or it cannot be done.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base.errors import MillpondError
from millpond.cli.store_survey import (
    LOG,
    Finding,
    StoreReport,
    StreamReport,
    in_use_by,
    parts,
    slots,
    survey,
    survey_slot,
)

if TYPE_CHECKING:
    from millpond.cli.store_repair import RepairReport

EXAMPLES: Final = """examples:
  millpond store verify ./millpond-data
  millpond store dump ./millpond-data --stream ORDERS --json
  millpond store repair ./millpond-data --dry-run
  millpond store repair ./millpond-data --keep /mnt/other/damaged
  millpond store backup ./millpond-data /mnt/backups/monday
"""
SHOWN_BYTES: Final = 60


def main(argv: Sequence[str]) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        if options.command == "verify":
            return _verify(options.directory, options.json)
        if options.command == "repair":
            return _repair(options)
        if options.command == "backup":
            return _backup(options.directory, options.target, options.json)
        return _dump(options.directory, options.stream, options.json)
    except BrokenPipeError:
        return 0
    except (MillpondError, OSError) as error:
        print(f"millpond: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("millpond store", description=__doc__, epilog=EXAMPLES, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="say what is sound, torn or damaged, with sequences and offsets")
    dump = commands.add_parser("dump", help="print every record")
    repair = commands.add_parser("repair", help="make a stopped server's store sound, and name what is lost")
    backup = commands.add_parser("backup", help="copy a store, also while a server runs on it")
    for command in (verify, dump, repair, backup):
        command.add_argument("directory", type=Path, help="the store directory, as -sd names it")
        command.add_argument("--json", action="store_true", help="JSON instead of text")
    dump.add_argument("--stream", help="only this stream")
    repair.add_argument("--dry-run", action="store_true", help="say what would be done (on a copy of damaged streams)")
    keep = "where the damaged files go (default: damaged-<time> in the store directory)"
    repair.add_argument("--keep", type=Path, metavar="DIR", help=keep)
    aside = "move streams that cannot be opened there too, so that a server starts without them"
    repair.add_argument("--set-aside", action="store_true", help=aside)
    backup.add_argument("target", type=Path, help="a directory that is not there yet; a server can start on it")
    return parser


# --- verify ---


def _verify(directory: Path, as_json: bool) -> int:
    report = survey(directory)
    if as_json:
        print(msgspec.json.encode({"sound": report.sound, **msgspec.structs.asdict(report)}).decode())
    else:
        print("\n".join(_lines(report)))
    return 0 if report.sound else 1


def _lines(report: StoreReport) -> Iterator[str]:
    if report.in_use_by:
        yield f"{report.directory} is in use by process {report.in_use_by}: what is written meanwhile may look torn"
    for stream in report.streams:
        verdict = "damaged" if stream.damage else "sound"
        name = stream.name or "(no readable name)"
        size = sum(segment.bytes for segment in stream.segments)
        yield (
            f"{stream.account} {name}: {verdict}, {stream.messages} messages, {stream.first_seq}..{stream.last_seq}, "
            f"{len(stream.segments)} segments of {size} bytes, slot {stream.slot}"
            f"{'' if stream.orderly or not stream.segments else ', not stopped in order'}"
        )
        yield from (f"  damaged  {_finding(finding)}" for finding in stream.damage)
        yield from (f"  note     {_finding(finding)}" for finding in stream.notes)
    bad = sum(bool(stream.damage) for stream in report.streams)
    yield f"{bad} of {len(report.streams)} streams damaged" if bad else f"{len(report.streams)} streams, all sound"


def _finding(finding: Finding) -> str:
    where = f" at {finding.offset}, {finding.bytes} bytes" if finding.offset >= 0 else ""
    lost = f"; sequences {finding.lost[0]}..{finding.lost[1]} may be lost" if finding.lost else ""
    return f"{finding.file}{where}: {finding.what}{lost}"


# --- repair, backup ---


def _repair(options: argparse.Namespace) -> int:
    from millpond.cli import store_repair  # and an engine with it

    if options.dry_run:
        report = store_repair.dry_run(options.directory, options.set_aside)
    else:
        report = store_repair.repair(options.directory, options.keep, options.set_aside)
    if options.json:
        print(msgspec.json.encode(report).decode())
    else:
        print("\n".join(_repair_lines(report)))
    return 0 if report.sound else 1


def _repair_lines(report: RepairReport) -> Iterator[str]:
    for stream in report.streams:
        lost = ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in stream.lost)
        count = sum(last - first + 1 for first, last in stream.lost)
        verdict = f"{'would be ' if report.dry_run else ''}{stream.outcome}"
        yield (
            f"{stream.account} {stream.name or '(no readable name)'}: {verdict}, "
            f"{f'{count} messages lost: {lost}' if lost else 'no message lost'}, slot {stream.slot}"
        )
        yield from (f"  found    {_finding(finding)}" for finding in stream.found)
        yield from (f"  said     {line}" for line in stream.said)
        if stream.kept and not report.dry_run:
            yield f"  kept     {' '.join(stream.kept)}"
    if report.keep:
        yield f"what was damaged is in {report.keep}"
    if report.dry_run:
        yield "nothing was written" if report.streams else "nothing to repair"
    elif not report.streams:
        yield "nothing to repair"
    else:
        yield "the store is sound" if report.sound else "the store is not sound: see what is left above"


def _backup(directory: Path, target: Path, as_json: bool) -> int:
    from millpond.cli import store_backup

    report = store_backup.backup(directory, target)
    if as_json:
        print(msgspec.json.encode({"sound": report.sound, **msgspec.structs.asdict(report)}).decode())
    else:
        print("\n".join(_lines(report)))
    return 0 if report.sound else 1


# --- dump ---


def _dump(directory: Path, only: str | None, as_json: bool) -> int:
    holder, seen, sound = in_use_by(directory), False, True
    if holder:
        print(f"{directory} is in use by process {holder}: what is written meanwhile may look torn", file=sys.stderr)
    for account, slot in slots(directory):
        report = survey_slot(account, slot)
        if only is not None and report.name != only:
            continue
        seen, sound = True, sound and not report.damage
        for finding in report.damage:
            print(f"{report.name or slot.name}: {_finding(finding)}", file=sys.stderr)
        for row in _records(slot, report):
            print(json.dumps(row) if as_json else _text(row))
    if only is not None and not seen:
        print(f"millpond: there is no stream {only!r} in {directory}", file=sys.stderr)
        return 2
    return 0 if sound else 1


def _records(slot: Path, report: StreamReport) -> Iterator[dict[str, Any]]:
    """Every record of a log in its order; a damaged place is a row of its own."""
    names = sorted(path.name for path in slot.iterdir() if path.name.startswith(LOG))
    for name, scan, end in parts(slot, names, StreamReport(report.account, report.slot)):
        data = (slot / name).read_bytes()
        for record in scan.records:
            if record.offset >= end:
                break
            row = {"stream": report.name, "file": name, "offset": record.offset, "length": record.length}
            row |= {"kind": record.kind, "seq": record.seq}
            if record.flags:
                row["flags"] = list(record.flags)
            if record.kind == "message":
                row |= _message(record, data)
            elif record.removed:
                row["removed"] = list(record.removed)
            yield row


def _message(record: Any, data: bytes) -> dict[str, Any]:
    stop = record.offset + record.length
    body = data[stop - record.body_bytes : stop]
    headers = data[stop - record.body_bytes - record.header_bytes : stop - record.body_bytes]
    row = {"time": _time(record.ts_ns), "subject": record.subject.decode("utf-8", "backslashreplace")}
    if record.expires_ns:
        row["expires"] = _time(record.expires_ns) if record.expires_ns > 0 else "never"
    if headers:
        row["headers"] = base64.b64encode(headers).decode()
    return {**row, "data": base64.b64encode(body).decode()}


def _time(ts_ns: int) -> str:
    moment = datetime.fromtimestamp(ts_ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ts_ns % 10**9:09d}Z"


def _text(row: dict[str, Any]) -> str:
    words = [f"{row['stream']} {row['file']}:{row['offset']}", row["kind"], str(row["seq"])]
    words += [str(row[name]) for name in ("time", "subject") if name in row]
    if "expires" in row:
        words.append(f"expires {row['expires']}")
    for name in ("headers", "data"):
        if name in row:
            content = base64.b64decode(row[name])
            more = f" of {len(content)} bytes" if len(content) > SHOWN_BYTES else ""
            words.append(f"{content[:SHOWN_BYTES]!r}{more}")
    if "removed" in row:
        words.append(str(row["removed"]))
    return " ".join([*words, *row.get("flags", [])])
