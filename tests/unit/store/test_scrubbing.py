"""Scrubbing: damage behind a summary is found and named, and what is sound is read once and left alone."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from file_rig import START_NS, Rig, bodies, rig
from millpond.store.scan import scan_segment
from millpond.store.scrubbing import Scrub
from millpond.testing.faulty_disk import FaultyDisk

SEGMENT = 1 << 16


def filled(r: Rig, compress: bool = False) -> None:
    store = r.open(segment_bytes=SEGMENT)
    store.compress(compress)
    for number in range(600):
        store.append_message(b"a.%d" % (number % 7), b"%06d " % number * 60, ts_ns=START_NS + number)
        if number % 20 == 19:
            r.turn()
    store.remove_message(5)
    r.turn()
    r.summarise()


def scrubbed(r: Rig) -> int:
    """One round; returns how many bytes were read."""
    read: list[int] = []
    scrub = Scrub(r.store, read.append)
    while scrub.begin():
        r.cache.packer.drain()
        while scrub.is_suspicious:
            scrub.check_part()
    return sum(read)


def record_of(r: Rig, seq: int) -> tuple[Path, object]:
    for path in r.segments():
        for record in scan_segment(path).records:
            if record.seq == seq and record.kind == "message":
                return path, record
    raise AssertionError(seq)


def flip(path: Path, at: int, bits: int = 2) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(data)


@pytest.mark.parametrize("compress", [False, True])
def test_a_round_reads_every_sealed_segment_and_changes_nothing(tmp_path: Path, compress: bool) -> None:
    with rig(tmp_path, summaries=True) as r:
        filled(r, compress)
        expected, files = bodies(r.store), {path: path.read_bytes() for path in r.segments()}
        sealed = r.scans()[:-1]
        assert len(sealed) > 2
        cached = r.cache.bytes
        assert scrubbed(r) == sum(scan.end for scan in sealed)
        assert r.cache.bytes == cached, "it fills no cache"
        assert r.store.lost == 0 and {path: path.read_bytes() for path in r.segments()} == files
        assert bodies(r.store) == expected


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
def test_damage_is_found_and_named(
    tmp_path: Path, compress: bool, restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with rig(tmp_path, summaries=True) as r:
        filled(r, compress)
        path, record = record_of(r, 100)
        if restarted:
            r.store.close()
            flip(path, path.stat().st_size // 3 if compress else record.offset + 50, 6)
            r.open(tmp_path, SEGMENT)
        else:
            flip(path, path.stat().st_size // 3 if compress else record.offset + 50, 6)
        assert r.store.damage == [] and r.store.lost <= (restarted and compress)     # a start reads the first message
        scrubbed(r)
        lost = r.store.losses.sequences(10_000)
        assert 100 in lost if compress else lost == [100]
        assert f"{path.name}: a record does not verify" in caplog.text and "message 100 in" in caplog.text
        told = [event[1] for event in r.store.owner.told if event[0] == "removed"]
        assert set(lost) <= set(told)
        scrubbed(r)
        assert r.store.losses.sequences(10_000) == lost, "named once"
        r.store.close()
        r.store = None


def test_a_packed_segment_with_a_flipped_bit_is_written_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with rig(tmp_path, summaries=True) as r:
        filled(r, True)
        expected = bodies(r.store)
        path, _ = record_of(r, 100)
        flip(path, path.stat().st_size // 3)
        damaged = path.read_bytes()
        scrubbed(r)
        assert f"{path.name}: a flipped bit; it is mended" in caplog.text
        r.cache.packer.drain()
        assert path.read_bytes() != damaged and scan_segment(path).head["version"] == 1
        caplog.clear()
        scrubbed(r)
        assert caplog.text == "" and r.store.lost == 0 and bodies(r.store) == expected


def test_damage_to_what_was_removed_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with rig(tmp_path, summaries=True) as r:
        filled(r)
        path, record = record_of(r, 5)
        flip(path, record.offset + 40)             # type: ignore[attr-defined]
        scrubbed(r)
        assert r.store.lost == 0 and f"{path.name}: no message is lost" in caplog.text


def test_a_sector_that_cannot_be_read_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = FaultyDisk()
    with rig(tmp_path, disk=disk, summaries=True) as r:
        filled(r)
        path, _ = record_of(r, 100)
        shutil.copyfile(path, tmp_path / "kept")
        disk.unreadable = [(8192, 12288)]
        path.unlink()                              # the worker reads by a descriptor of its own: no file, no reading
        scrubbed(r)
        assert f"{path.name}: [Errno 2]" in caplog.text
        shutil.move(tmp_path / "kept", path)
        disk.unreadable = []


def test_a_store_that_ends_meanwhile(tmp_path: Path) -> None:
    with rig(tmp_path, summaries=True) as r:
        filled(r)
        read: list[int] = []
        scrub = Scrub(r.store, read.append)
        assert scrub.begin()
        r.store.close()
        r.store = None
        r.cache.packer.drain()
        assert not scrub.begin() and not scrub.check_part()
        scrub.close()


def test_a_segment_whose_erasure_was_cut_short_is_looked_at_when_that_is_done(tmp_path: Path, caplog) -> None:
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run", summaries=True) as r:
        filled(r)
        r.store.remove_message(10, True)
        r.commit()
        r.summarise()
        number, (erased, *_) = next(
            (path.name, found) for path in r.segments()
            if (found := [record for record in scan_segment(path).records if record.kind == "erased"])
        )  # fmt: skip
        shutil.copytree(tmp_path / "run", tmp_path / "cut")
    with open(tmp_path / "cut" / number, "r+b") as log:
        log.seek(erased.offset + 40)
        log.write(b"\xff")
    with caplog.at_level(logging.WARNING), rig(tmp_path / "cut", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        assert "an erasure was cut short" in caplog.text
        store.compress(False)                      # as a stream does when it is opened: the summaries are looked at
        r.summarise()
        before = scrubbed(r)
        for _ in range(3):
            r.commit()
            r.summarise()
        assert scrubbed(r) > before, "the segment was passed over, and is read now"
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert store.lost == 0 and 10 not in bodies(store)
