"""Pages that are gone, or hold another place's records: what was in them is named, whatever was removed behind them."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest
from file_rig import START_NS, bodies, rig
from millpond.store.checksum import checksum
from millpond.store.scan import scan_segment
from millpond.testing.disk_image import DiskImage
from millpond.testing.simulated_disk import MOVED, SimulatedDisk

from millpond.store.consumer_file import AGAIN, NAMES, JournalFiles

PAGE = 4096
SEGMENT = 1 << 14


def filled(root: Path, segment: int, stopped: bool) -> dict[int, bytes]:
    """Messages, each few of them with removals behind; what is there in the end."""
    root.mkdir()
    with rig(root) as r:
        store = r.open(segment_bytes=segment)
        for number in range(1, 37):
            body = b"%03d." % number * (15, 40, 130)[number % 3]
            store.append_message(b"s.%d" % (number % 5), body, ts_ns=START_NS + number)
            if number % 3 == 0:
                r.turn()
                store.remove_message(number - 2, number % 2 == 0)
                store.remove_message(number // 2, True)
                r.turn()
        r.commit()
        r.testify()
        expected = bodies(store)
        if not stopped:
            shutil.copytree(root, root.with_name("killed"))
    if not stopped:
        shutil.rmtree(root)
        root.with_name("killed").rename(root)
    return expected


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("how", ["zeros", "garbage", "page before", "page behind"])
def test_what_a_page_held_is_named(tmp_path: Path, how: str, stopped: bool) -> None:
    expected = filled(tmp_path / "whole", SEGMENT, stopped)
    path = next(iter(sorted((tmp_path / "whole").glob("log.*"))))
    whole = path.read_bytes()
    for page in range(len(whole) // PAGE):
        begin, end = page * PAGE, page * PAGE + PAGE
        other = {"page before": begin - PAGE, "page behind": end}.get(how, begin)
        if not 0 <= other < len(whole):
            continue
        there = {"zeros": bytes(PAGE), "garbage": b"\xee" * PAGE}.get(how, whole[other : other + PAGE])
        shutil.copytree(tmp_path / "whole", tmp_path / "hit")
        (tmp_path / "hit" / path.name).write_bytes(whole[:begin] + there + whole[end:])
        with rig(tmp_path / "hit") as r:
            store = r.open(segment_bytes=SEGMENT)
            found = bodies(store)
            missing = set(expected) - set(found)
            assert all(expected.get(seq, body) == body for seq, body in found.items())
            assert missing <= set(store.losses.sequences(1000)), f"page {page}: {store.damage}"
            assert not set(store.losses.sequences(1000)) & set(found)
        shutil.rmtree(tmp_path / "hit")


def test_a_file_that_is_cut_anywhere_is_sound_in_itself(tmp_path: Path) -> None:
    filled(tmp_path / "whole", SEGMENT, False)
    path = next(iter(sorted((tmp_path / "whole").glob("log.*"))))
    whole = path.read_bytes()
    for length in range(128, 1200, 5):
        shutil.copytree(tmp_path / "whole", tmp_path / "cut")
        (tmp_path / "cut" / path.name).write_bytes(whole[:length])
        with rig(tmp_path / "cut") as r:
            assert r.open(segment_bytes=SEGMENT).check() == []
            r.store.append_message(b"s.1", b"more")
            r.commit()
            assert r.reopen(SEGMENT).check() == []
        shutil.rmtree(tmp_path / "cut")


@pytest.mark.parametrize("left", ["nothing", "garbage"])
def test_the_newest_segment_is_known_by_its_later_writes(tmp_path: Path, left: str) -> None:
    """No later segment misses it, and the witness is older."""
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a") as r:
        store, number = r.open(), 0
        while len(r.segments()) < 3:
            number += 1
            store.append_message(b"s", b"early" * 140)
            r.turn()
        r.testify()
        witness = (tmp_path / "a" / "witness").read_bytes()
        before = set(r.segments())
        while set(r.segments()) == before or number % 10 != 3:
            number += 1
            store.append_message(b"s", b"%d" % (number % 10) * 200)
            r.turn()
        expected = bodies(store)
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "witness").write_bytes(witness)
    newest = max((tmp_path / "b").glob("log.*"), key=lambda path: scan_segment(path).head["generation"])
    records = [record for record in scan_segment(newest).records if record.kind == "message"]
    data, first = newest.read_bytes(), records[1].offset
    assert len(records) > 2, "writes behind the first one"
    newest.write_bytes((bytes(first) if left == "nothing" else b"\xee" * first) + data[first:])
    with rig(tmp_path / "b") as r:
        store = r.open()
        missing = set(expected) - set(bodies(store))
        assert missing and missing <= set(store.losses.sequences(100)) and store.damage
        assert store.append_message(b"s", b"next") == max(expected) + 1


@pytest.mark.parametrize("second", ["log.0009", "log.0000.again"])
def test_a_segment_that_has_its_name_twice_is_one(tmp_path: Path, second: str) -> None:
    """It was moved, and neither name was certain."""
    expected = filled(tmp_path / "a", SEGMENT, False)
    path = next(iter(sorted((tmp_path / "a").glob("log.*"))))
    shutil.copyfile(path, path.with_name(second))
    with rig(tmp_path / "a") as r:
        store = r.open(segment_bytes=SEGMENT)
        assert bodies(store) == expected and store.damage == [] and not path.with_name(second).exists()
    shutil.copyfile(path, path.with_name(second))
    with open(path.with_name(second), "r+b") as other:
        other.seek(PAGE)
        other.write(b"another")
    with rig(tmp_path / "a") as r:
        name, _, what = r.open(segment_bytes=SEGMENT).damage[0].partition(": ")
        assert "another file has the same generation" in what and path.with_name(name).exists()


def test_a_name_made_anew_moves_no_file_over_another(tmp_path: Path) -> None:
    """Two starts have done so, and what is on disk of their moves nobody knows."""
    (tmp_path / "disk").mkdir()
    disk, moved_away = SimulatedDisk(str(tmp_path / "disk")), 0
    with rig(tmp_path / "disk", disk=disk) as r:
        store = r.open()
        while len(r.segments()) < 2:
            store.append_message(b"s", b"a" * 500)
            r.turn()
        r.commit()
        expected = bodies(store)
        image = DiskImage({"": None}, {}, Random(0))
        store.log.name_again([0, 1])
        store.log.name_again([1])
        for step in disk.trace:
            image.feed(step)
    for seed in range(40):
        (tmp_path / "cut").mkdir()
        for name, data in image.image(Random(seed), "some").items():
            if data is not None:
                (tmp_path / f"cut{name}").write_bytes(data)
        moved_away += any((tmp_path / "cut").glob("*.again"))
        with rig(tmp_path / "cut") as r:
            store = r.open()
            assert bodies(store) == expected and store.damage == []
            assert not any((tmp_path / "cut").glob("*.again"))
        shutil.rmtree(tmp_path / "cut")
    assert moved_away


def test_a_journal_makes_the_name_of_a_file_that_it_found_anew_before_it_relies_on_it(tmp_path: Path) -> None:
    """The sync of that name may have failed."""
    files = JournalFiles(str(tmp_path), checksum)
    for generation in (1, 2):
        files.swap(generation)
        files.append(b"checkpoint")
        files.synced()
    files.close()
    disk = SimulatedDisk(str(tmp_path))
    files = JournalFiles(str(tmp_path), checksum, disk=disk)
    assert files.recover()[0] == 2
    for generation, moved in ((3, 2), (4, 2), (5, 0)):
        disk.trace.clear()
        files.swap(generation)
        files.append(b"checkpoint")
        files.synced()
        assert [step[0] for step in disk.trace].count(MOVED) == moved
    files.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    (tmp_path / AGAIN).touch()
    files = JournalFiles(str(tmp_path), checksum)
    assert files.recover()[0] == 5 and not (tmp_path / AGAIN).exists()
    files.close()
