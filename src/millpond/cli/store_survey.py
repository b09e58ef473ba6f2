"""What is in a store directory, read without writing a byte (store/FORMAT.md).

A survey walks the slots of a directory. Of each log it takes the segments that belong to it, in order of their
generation, and what lies before each one's end; whatever does not verify there is damage, and the sequences of
the whole messages around it say which may be lost. Nothing is locked: a store that is in use can be surveyed,
but its newest segment may then be in the middle of a write.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from millpond.base.errors import StoreError
from millpond.store import consumer_file
from millpond.store.catalog import read_copies
from millpond.store.checksum import checksum
from millpond.store.directory import CATALOG, LOCK, MARKS, RELEASED, REPACKED, WITNESS, is_unfinished
from millpond.store.packed import mended_blocks
from millpond.store.scan import SegmentScan, read_witness, scan_segment

LOG: Final = "log."
FLIPPED: Final = "blocks with a flipped bit, which is mended when they are read"
PACKED: Final = 2
"""The version of a packed segment's head."""
FIXED_NAMES: Final = (
    f"{CATALOG}.0", f"{CATALOG}.1", *consumer_file.NAMES, consumer_file.AGAIN, *MARKS, REPACKED, WITNESS,
)  # fmt: skip


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is not as it should be. `lost`: sequences that it may have taken, both ends included. `mendable`:
    nothing is lost, and a repair would put it in order."""

    file: str
    what: str
    offset: int = -1
    bytes: int = 0
    lost: tuple[int, int] | None = None
    mendable: bool = False


class Segment(msgspec.Struct, frozen=True):
    """One file of a log. `end`: where its records end."""

    file: str
    generation: int
    records: int
    end: int
    bytes: int


class StreamReport(msgspec.Struct):
    """One slot. `damage` is what was lost or may be; `notes` is harmless."""

    account: str
    slot: str
    name: str = ""
    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0
    orderly: bool = False
    """The log ends with the record of an orderly stop."""
    segments: list[Segment] = msgspec.field(default_factory=list)
    damage: list[Finding] = msgspec.field(default_factory=list)
    notes: list[Finding] = msgspec.field(default_factory=list)


class StoreReport(msgspec.Struct):
    """A whole directory. `in_use_by`: a process id, 0: nobody."""

    directory: str
    in_use_by: int
    streams: list[StreamReport]

    @property
    def sound(self) -> bool:
        return not any(stream.damage for stream in self.streams)


def base_of(directory: Path) -> Path:
    """Where its accounts are. Raises StoreError when it is no store directory."""
    base = directory / "jetstream" if (directory / "jetstream").is_dir() else directory
    if not (base / LOCK).exists():
        raise StoreError(f"{directory} is not a store directory: there is no {base / LOCK}. Name what -sd names")
    return base


def slots(directory: Path) -> Iterator[tuple[str, Path]]:
    """(account, slot) of a store directory. Raises StoreError when it is none."""
    base = base_of(directory)
    for streams in sorted(base.glob("*/streams")):
        for slot in sorted(path for path in streams.iterdir() if path.is_dir() and path.name.isdigit()):
            if any(slot.iterdir()):
                yield unquote(streams.parent.name), slot


def in_use_by(directory: Path) -> int:
    """The process that holds the directory, as far as /proc/locks tells; 0: nobody."""
    base = directory / "jetstream" if (directory / "jetstream").is_dir() else directory
    inode = os.stat(base / LOCK).st_ino
    try:
        rows = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return 0
    for row in rows:
        words = row.split()
        if "FLOCK" in words and words[-3].rpartition(":")[2] == str(inode):
            return int(words[-4])
    return 0


def survey(directory: Path) -> StoreReport:
    """Raises StoreError when it is no store directory, OSError when it cannot be read at all."""
    found = list(slots(directory))
    return StoreReport(str(directory), in_use_by(directory), [survey_slot(account, slot) for account, slot in found])


def survey_slot(account: str, slot: Path) -> StreamReport:
    report = StreamReport(account, slot.name)
    names = sorted(path.name for path in slot.iterdir())
    if not set(MARKS).isdisjoint(names):
        report.notes.append(Finding(RELEASED, "the stream was deleted; the next start removes what is left of it"))
        return report
    _catalog(slot, report)
    _consumers(slot, names, report)
    _Log(slot, report).survey([name for name in names if name.startswith(LOG)])
    for name in names:
        if name not in FIXED_NAMES and not name.startswith(LOG):
            report.notes.append(Finding(name, "not a file of the store", mendable=True))
    return report


def _catalog(slot: Path, report: StreamReport) -> None:
    try:
        copies = read_copies(str(slot / CATALOG))
        unfinished = not any(copies) and is_unfinished(slot)
    except (StoreError, OSError) as error:
        report.damage.append(Finding(CATALOG, str(error)))
        return
    if unfinished:
        report.notes.append(Finding(CATALOG, "the stream was never created; the next start removes what is left of it"))
        return
    whole = [copy for copy in copies if copy is not None]
    if not whole:
        report.damage.append(Finding(CATALOG, "neither copy of the configuration is whole"))
        return
    report.name = json.loads(max(whole)[1])["config"]["name"]
    for number, copy in enumerate(copies):
        if copy is None:
            what = "this copy is not whole; the other one is"
            report.notes.append(Finding(f"{CATALOG}.{number}", what, mendable=True))


def _consumers(slot: Path, names: list[str], report: StreamReport) -> None:
    best, best_name, there = consumer_file.Journal(), consumer_file.NAMES[0], False
    row = consumer_file.read_row(slot, checksum) if WITNESS in names else None
    for name in consumer_file.NAMES:
        if name not in names:
            continue
        try:
            found = consumer_file.read_journal((slot / name).read_bytes(), checksum)
        except (StoreError, OSError) as error:
            report.damage.append(Finding(name, str(error)))
            continue
        there = there or bool(found.size)
        if row is not None and found.identity not in (0, row.identity):
            report.damage.append(Finding(name, "it is of another stream"))
        elif found.generation > best.generation:
            best, best_name = found, name
    if not best.generation:
        if there or row is not None:
            no_checkpoint = "neither file of the consumers' journal has a whole checkpoint"
            report.damage.append(Finding(best_name, no_checkpoint))
    elif row is not None and row.generation > best.generation:
        missing = f"the journal's newest file, generation {row.generation}, is missing or damaged"
        report.damage.append(Finding(best_name, missing))
    elif row is not None and row.generation == best.generation and best.end < row.end:
        report.damage.append(Finding(best_name, "does not verify", best.end, row.end - best.end))
    elif best.end < best.size:
        unfinished = "an unfinished write behind the last whole frame"
        report.notes.append(Finding(best_name, unfinished, best.end, best.size - best.end))


class _Log:
    """The log of one slot, segment by segment."""

    def __init__(self, slot: Path, report: StreamReport) -> None:
        self._slot = slot
        self._report = report
        self._live: set[int] = set()
        self._last_original = 0
        self._first = 0

    def survey(self, names: list[str]) -> None:
        report, identities = self._report, {0}
        for name, scan, end in parts(self._slot, names, report):
            assert scan.head is not None
            identities.add(scan.head["identity"])
            if not report.segments and not any(finding.file == name for finding in report.damage):
                self._last_original = scan.head["last_seq"]        # what was before has left the log
            report.last_seq = max(report.last_seq, scan.head["last_seq"])
            self._segment(name, scan, end)
            count = sum(record.offset < end and record.kind != "damaged" for record in scan.records)
            report.segments.append(Segment(name, scan.head["generation"], count, end, scan.size))
            mended = mended_blocks((self._slot / name).read_bytes()) if scan.head["version"] == PACKED else 0
            if mended:
                report.notes.append(Finding(name, f"{FLIPPED}: {mended}", mendable=True))
        report.last_seq = max(report.last_seq, self._last_original, self._first - 1)
        witness = read_witness(self._slot / WITNESS) if (self._slot / WITNESS).exists() else None
        if witness is not None and witness["last_seq"] > report.last_seq and (
            witness["identity"] in identities or not report.segments
        ):
            lost = (report.last_seq + 1, witness["last_seq"])
            report.damage.append(Finding(WITNESS, "the log ends before what it knows of", lost=lost))
            report.last_seq = witness["last_seq"]
        report.messages = len(self._live)
        report.first_seq = min(self._live, default=report.last_seq + 1)

    def _segment(self, name: str, scan: SegmentScan, end: int) -> None:
        pending: list[tuple[int, int]] = []
        records = [record for record in scan.records if record.offset < end]
        for record in records:
            if record.kind == "damaged":
                pending.append((record.offset, record.length))
                continue
            is_original = record.kind == "message" and "copy" not in record.flags
            if is_original or (record.kind == "erased" and record.seq > self._last_original):     # not an erased copy
                self._original(name, record.seq, pending)
            self._apply(record)
        if scan.end < end and not (records and records[-1].kind == "damaged"):
            pending.append((scan.end, end - scan.end))
        for offset, length in pending:
            self._report.damage.append(Finding(name, "does not verify", offset, length))
        self._report.orderly = bool(records) and records[-1].kind == "clean"

    def _original(self, name: str, seq: int, pending: list[tuple[int, int]]) -> None:
        """Sequences ascend one by one through a log; what is missing between two whole messages was damaged."""
        before = max(self._last_original, self._first - 1)
        lost = (before + 1, seq - 1) if before and seq > before + 1 else None
        for offset, length in pending:
            self._report.damage.append(Finding(name, "does not verify", offset, length, lost))
        if lost and not pending:
            self._report.damage.append(Finding(name, "these sequences are nowhere in the log", lost=lost))
        pending.clear()
        self._last_original = seq

    def _apply(self, record: Any) -> None:
        if record.kind == "message":
            self._live.add(record.seq)
        elif record.kind == "remove":
            self._live.difference_update(record.removed)
            self._below_is_gone(record.seq)
        elif record.kind == "first":               # sequences before it may be passed over: nothing is removed
            self._first = max(self._first, record.seq)
        elif record.kind == "floor":
            self._below_is_gone(record.seq)

    def _below_is_gone(self, first_seq: int) -> None:
        if first_seq:
            self._first = max(self._first, first_seq)
            self._live = {seq for seq in self._live if seq >= first_seq}


def parts(slot: Path, names: list[str], report: StreamReport) -> Iterator[tuple[str, SegmentScan, int]]:
    """(file, scan, end of its records) of the segments that belong to the log, oldest first; what is wrong with the
    files as such goes into `report`. One segment is in memory at a time."""
    heads, trims = [], {}
    for name in names:
        try:
            scan = scan_segment(slot / name)
        except (StoreError, OSError) as error:
            report.damage.append(Finding(name, str(error)))
            continue
        if scan.head is not None:
            heads.append((scan.head["generation"], name, scan.head))
            trims[name] = max((record.seq for record in scan.records if record.kind == "trim"), default=0)
        elif any((slot / name).read_bytes()):
            report.damage.append(Finding(name, "no copy of the segment's head is whole", 0, scan.size))
        else:
            report.notes.append(Finding(name, "reserved and never used"))
    heads.sort(key=lambda row: row[0])
    witness = read_witness(slot / WITNESS) if (slot / WITNESS).exists() else None
    heads = _of_one_log(heads, witness, report)
    oldest = max((head["oldest"] for _, _, head in heads), default=0)
    if heads:
        oldest = max(oldest, trims[heads[-1][1]])      # heads know of earlier trims; the newest is not followed by one
    belonging = [row for row in heads if row[0] >= oldest]
    for number, (generation, name, head) in enumerate(belonging):
        if head["before"] >= oldest and head["before"] and (not number or belonging[number - 1][0] != head["before"]):
            report.damage.append(Finding(name, f"the segment before it, generation {head['before']}, is missing"))
        scan = scan_segment(slot / name)
        after = belonging[number + 1][2] if number + 1 < len(belonging) else None
        end = scan.end
        if after is not None and after["before"] == generation:
            end = after["before_end"]
        elif witness is not None and witness["generation"] == generation:
            end = max(end, witness["end"])
        yield name, scan, end


def _of_one_log(
    heads: list[tuple[int, str, dict[str, int]]], witness: dict[str, int] | None, report: StreamReport
) -> list[tuple[int, str, dict[str, int]]]:
    """Those of the identity that most files have; the others are of another stream. Older ones do not say."""
    votes = [head["identity"] for _, _, head in heads if head["identity"]]
    votes += [witness["identity"]] if witness is not None else []
    counts = Counter(votes).most_common(2)
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        report.damage.append(Finding(LOG + "*", "these are of different logs; nothing says which is the stream's"))
        return heads
    kept = []
    for row in heads:
        if row[2]["identity"] and row[2]["identity"] != counts[0][0]:
            report.damage.append(Finding(row[1], "it is of another log"))
        else:
            kept.append(row)
    return kept
