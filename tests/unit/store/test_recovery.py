"""Recovery: torn ends, damage at every byte, missing files, and what must not come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from file_rig import SMALL, START_NS, Rig, bodies, by_generation, rig, written
from millpond.store.committer import Committer
from millpond.store.scan import scan_segment
from millpond.testing.faulty_disk import FaultyDisk
from millpond.testing.simulated_disk import MOVED, SYNCED, SimulatedDisk
from tests.readiness import readable

pytestmark = pytest.mark.usefixtures("quiet")


def opened(r: Rig, damaged: Path) -> dict[int, bytes]:
    """What a store makes of a damaged directory: always sound, never more than was there."""
    store = r.open(damaged)
    assert store.check() == []
    found = bodies(store)
    assert store.append_message(b"new") > max(found, default=0)
    r.commit()
    assert bodies(store) | found == bodies(store)
    r.close()
    return found


def test_a_log_torn_at_every_byte_keeps_its_prefix(tmp_path):
    expected = written(tmp_path / "whole", 24, 6)
    with rig(tmp_path) as r:
        r.open(tmp_path / "whole")
        ends = {record.offset + record.length: record for record in r.scans()[0].records}
        r.close()
        image = (tmp_path / "whole" / "log.0000").read_bytes()
        for cut in range(0, max(ends) + 1, 3):
            torn = tmp_path / "torn"
            torn.mkdir()
            (torn / "log.0000").write_bytes(image[:cut].ljust(len(image), b"\0"))
            whole = [record.seq for end, record in ends.items() if end <= cut and record.kind == "message"]
            if cut < 64:                           # no head, nothing else: an unused file
                whole = []
            found = opened(r, torn)
            assert found == {seq: expected[seq] for seq in whole}
            shutil.rmtree(torn)


def test_no_flipped_bit_is_ever_delivered(tmp_path):
    """Of one record at most: everything else comes back, and a stopped log says what it lost."""
    expected = written(tmp_path / "whole", 12, 4, b"yy")
    with rig(tmp_path) as r:
        r.open(tmp_path / "whole")
        end = r.scans()[0].end
        r.close()
        image = (tmp_path / "whole" / "log.0000").read_bytes()
        damaged = tmp_path / "damaged"
        damaged.mkdir()
        for at in range(end):
            flipped = bytearray(image)
            flipped[at] ^= 1 << at % 8
            (damaged / "log.0000").write_bytes(flipped)
            store = r.open(damaged)
            found = bodies(store)
            assert found.items() <= expected.items()
            assert len(found) >= len(expected) - 1
            lost = set(expected) - set(found)
            if lost:
                assert store.lost == 1 and store.damage
            assert store.check() == []
            r.close()
            for path in r.segments():
                path.unlink()


def patch(path: Path, at: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_flip_while_it_runs_is_found_by_the_reader(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 17)
        for number in range(1000):
            store.append_message(b"a", b"body %d." % number * 10)
        store = r.reopen(1 << 17)
        (path,) = r.segments()
        patch(path, path.read_bytes().index(b"body 900."), b"B")
        assert store.load_message(901) is None
        assert store.lost == 1
        assert [event[:2] for event in store.owner.told] == [("removed", 901)]
        assert not store.has(901) and store.next_message(901) == 902
        assert store.load_message(902)["body"] == b"body 901." * 10
        assert len(bodies(store)) == 999
        store = r.reopen(1 << 17)
        assert store.damage and store.lost == 1 and len(bodies(store)) == 999


def test_a_message_in_the_place_of_another_is_not_delivered(tmp_path):
    """As a disk leaves it that wrote to the wrong place: the record is whole, and not the one that was asked for."""
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 17)
        for number in range(1000):
            store.append_message(b"a", b"body %03d." % number * 10)
        store = r.reopen(1 << 17)
        (path,), (scan,) = r.segments(), r.scans()
        mine, other = (record for record in scan.records if record.seq in (901, 902))
        assert mine.length == other.length
        patch(path, mine.offset, path.read_bytes()[other.offset : other.offset + other.length])
        assert store.load_message(901) is None
        assert store.lost == 1 and not store.has(901)
        assert store.load_message(902)["body"] == b"body 901." * 10


def last_batch(root: Path, and_another: bool) -> Path:
    """Message 1 committed; then message 2 and the removal of message 1 in one write. Damages message 2."""
    root.mkdir()
    with rig(root) as r:
        store = r.open()
        store.append_message(b"k", b"old value")
        store.append_message(b"other", b"something")
        r.commit()
        store.append_message(b"k", b"new value")
        store.remove_message(1)
        r.commit()
        if and_another:
            store.append_message(b"other", b"later")
            r.commit()
        copied = root.with_name(root.name + ".crashed")
        shutil.copytree(root, copied)
        (copied / "witness").unlink()              # the power went before it was on disk, nor was the last write
        (scan,) = r.scans()
        (record,) = [record for record in scan.records if record.seq == 3]
        patch(copied / "log.0000", record.offset + 40, b"\xff\xff")
    return copied


def test_a_small_log_is_read_once(tmp_path):
    """However often it is gone through: thousands of streams are opened at a start."""
    with rig(tmp_path, disk=FaultyDisk()) as r:
        store = r.open(segment_bytes=1 << 17)
        store.append_message(b"a", b"1")
        r.close()
        size, before = r.segments()[0].stat().st_size, r.cache.disk.read_bytes
        r.open(segment_bytes=1 << 17)
        assert size <= r.cache.disk.read_bytes - before < 2 * size


def test_a_removal_in_a_torn_write_is_not_believed(tmp_path):
    """Its write was never answered; what it removed may have been replaced by what is torn."""
    crashed = last_batch(tmp_path / "a", False)
    with rig(tmp_path) as r:
        store = r.open(crashed)
        assert bodies(store) == {1: b"old value", 2: b"something"}
        assert store.lost == 0
        seq = store.append_message(b"other", b"later")
        for _ in range(2):                         # nor later, when more was written behind it
            store = r.reopen()
            assert bodies(store) == {1: b"old value", 2: b"something", seq: b"later"}


def test_damage_before_a_later_write_is_damage(tmp_path):
    crashed = last_batch(tmp_path / "a", True)
    with rig(tmp_path) as r:
        store = r.open(crashed)
        assert bodies(store) == {2: b"something", 4: b"later"}
        assert store.lost == 1
        assert "messages 3 to 3 are lost" in store.damage[0]


def test_a_missing_segment_is_reported_with_its_messages(tmp_path):
    expected = written(tmp_path / "whole", 200, 10)
    with rig(tmp_path) as r:
        r.open(tmp_path / "whole")
        files = by_generation(r)
        r.close()
        assert len(files) >= 4
        for number, path in enumerate(files[:-1]):
            copied = tmp_path / f"without{number}"
            shutil.copytree(tmp_path / "whole", copied)
            (copied / path.name).unlink()
            store = r.open(copied)
            found = bodies(store)
            assert any("is missing" in text for text in store.damage)
            assert found.items() <= expected.items() and len(found) > 100
            lost = sorted(set(expected) - set(found))
            assert lost == list(range(lost[0], lost[-1] + 1))
            if number:
                assert f"messages {lost[0]} to {lost[-1]} are lost" in store.damage[0]
            assert store.append_message(b"new") == 201
            r.close()


@pytest.mark.parametrize("copy", [0, 64])
def test_one_damaged_head_does_not_matter(tmp_path, copy):
    expected = written(tmp_path / "whole", 60, 10)
    with rig(tmp_path) as r:
        for path in (tmp_path / "whole").glob("log.*"):
            patch(path, copy, bytes(64))
        assert bodies(r.open(tmp_path / "whole")) == expected
        assert r.store.damage == []


def test_a_head_that_is_gone_is_concluded_from_its_neighbours(tmp_path):
    expected = written(tmp_path / "whole", 200, 10)
    with rig(tmp_path) as r:
        r.open(tmp_path / "whole")
        files = [path for path in by_generation(r) if any(record.seq for record in scan_segment(path).records[:-1])]
        r.close()
        assert len(files) > 3
        for number, path in enumerate(files):
            for lost_bytes in (128, SMALL // 2):
                copied = tmp_path / f"without{number}-{lost_bytes}"
                shutil.copytree(tmp_path / "whole", copied)
                patch(copied / path.name, 0, bytes(lost_bytes))
                store = r.open(copied)
                found = bodies(store)
                assert found.items() <= expected.items()
                assert (found == expected) == (lost_bytes == 128)
                concluded = f"{path.name}: its head cannot be read; it is generation"
                missing = "the newest segment (generation 5) is missing"       # all its records were in those bytes
                assert any(concluded in text or missing in text for text in store.damage)
                lost = sorted(set(expected) - set(found))
                assert store.lost == len(lost)
                assert not lost or f"messages {lost[0]} to {lost[-1]} are lost" in "".join(store.damage)
                assert store.append_message(b"new") == 201
                r.close()


def test_a_new_segment_torn_without_its_head_is_no_damage_where_the_oldest_has_left(tmp_path):
    """What was before the others is not missing: the log says that it has left."""
    with rig(tmp_path) as r:
        (tmp_path / "whole").mkdir()
        store = r.open(tmp_path / "whole")
        while len(r.segments()) < 2:
            store.append_message(b"a", b"x" * 100)
            r.turn()
        last = store.append_message(b"a", b"y")
        store.purge_messages(below=last)
        for _ in range(3):
            store.append_message(b"a", b"y")
            r.turn()
        shutil.copytree(tmp_path / "whole", tmp_path / "cut")
        (tmp_path / "cut" / "log.0000").unlink()    # as where there are enough spare ones
        (tmp_path / "cut" / "log.0007").write_bytes(bytes(SMALL // 2) + b"torn" * (SMALL // 8))
        store.close()
        assert r.open(tmp_path / "cut").damage == [] and not (tmp_path / "cut" / "log.0007").exists()


def test_a_file_whose_head_and_records_are_gone_is_left_alone(tmp_path):
    written(tmp_path / "whole", 200, 10)
    with rig(tmp_path) as r:
        r.open(tmp_path / "whole")
        path = by_generation(r)[1]
        r.close()
        patch(path, 0, b"garbage!" * (path.stat().st_size // 8))
        kept = path.read_bytes()
        store = r.open(tmp_path / "whole")
        assert any(f"{path.name}: its head cannot be read" in text for text in store.damage)
        for _ in range(300):
            store.append_message(b"a", b"x" * 100)
            r.turn()
        store.purge_messages()
        for _ in range(100):
            store.append_message(b"a", b"x" * 100)
            r.turn()
        assert path.read_bytes() == kept


def test_a_file_cut_short_loses_its_end_only(tmp_path):
    expected = written(tmp_path / "whole", 200, 10)
    with rig(tmp_path) as r:
        r.open(tmp_path / "whole")
        path = by_generation(r)[1]
        r.close()
        with open(path, "r+b") as file:
            file.truncate(2000)
        store = r.open(tmp_path / "whole")
        found = bodies(store)
        lost = sorted(set(expected) - set(found))
        assert 0 < len(lost) < 40 and lost == list(range(lost[0], lost[-1] + 1))
        assert any(f"messages {lost[0]} to {lost[-1]} are lost" in text for text in store.damage)


def test_a_page_of_zeros_is_damage_not_padding(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 16)
        for number in range(300):
            store.append_message(b"a", b"%04d" % number * 14)
            r.commit()
        expected = bodies(store)
        (scan,) = r.scans()
        assert scan.end > 5 * SMALL
        r.close()
        patch(tmp_path / "log.0000", 2 * SMALL, bytes(SMALL))
        store = r.open(segment_bytes=1 << 16)
        found = bodies(store)
        lost = sorted(set(expected) - set(found))
        assert SMALL // 96 - 1 <= len(lost) <= SMALL // 96 + 3
        assert store.lost == len(lost) and store.damage


def test_a_page_of_zeros_that_held_only_a_removal_is_told(tmp_path):
    """No sequence is missing around it; what it removed is there again."""
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 16)
        for number in range(9 * 64 - 2):           # up to the end of a page, with the segment's head
            store.append_message(b"a", b"%04d" % number + bytes(27))      # records of 64 bytes
        r.commit()
        expected = bodies(store)
        for seq in range(2, 2 + (SMALL - 32) // 8):
            store.remove_message(seq)
        r.commit()
        expected[store.append_message(b"a", b"another write")] = b"another write"
        r.commit()
        (removal,) = [record for record in r.scans()[0].records if record.kind == "remove"]
        assert (removal.offset, removal.length) == (9 * SMALL, SMALL)
        r.close()
        patch(tmp_path / "log.0000", removal.offset, bytes(SMALL))
        store = r.open(segment_bytes=1 << 16)
        assert bodies(store) == expected
        assert store.lost == 0 and f"bytes {removal.offset} to {removal.offset + SMALL} are damaged" in store.damage[0]


def test_zeros_within_a_write_are_damage_not_padding(tmp_path):
    """The end of a page is gone, and the next page begins with a record of the same write."""
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 16)
        for number in range(100):
            store.append_message(b"a", b"%04d" % number + bytes(91))      # records of 128 bytes
        r.commit()
        store.append_message(b"a", b"another write")
        r.commit()
        assert {record.offset % 128 for record in r.scans()[0].records} == {0}
        r.close()
        patch(tmp_path / "log.0000", 2 * SMALL - 512, bytes(512))
        store = r.open(segment_bytes=1 << 16)
        lost = sorted(set(range(1, 102)) - set(bodies(store)))
        assert lost == list(range(60, 64))
        assert store.lost == len(lost) and store.damage


def test_a_deleted_stream_leaves_nothing_that_comes_back(tmp_path):
    """Segments that have left the log may still be there as files; a store never takes them for its own."""
    with rig(tmp_path) as r:
        store = r.open()
        for number in range(300):
            store.append_message(b"a", b"first %d" % number)
            r.turn()
        store.purge_messages()
        r.turn()
        for number in range(20):
            store.append_message(b"a", b"second %d" % number)
            r.turn()
        assert len(r.segments()) > len(store.log.order_list())
        expected = bodies(store)
        assert bodies(r.reopen()) == expected


def test_expiry_of_its_own_comes_back(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        for number in range(10):
            store.append_message(b"a", b"%d" % number, ts_ns=START_NS, expires_ns=START_NS + 1000 * (number + 1))
        store = r.reopen()
        assert store.expire_messages(START_NS + 3000) == START_NS + 4000
        assert len(bodies(store)) == 7


def overwritten(r: Rig, log: Path, secret: bytes) -> bool:
    """Commits until the erasure is done; what has to be read from the disk first is awaited."""
    r.commit()
    while secret in log.read_bytes():
        if not readable(r.cache.event_fd, 10):
            return False
        r.cache.collect()
        r.commit()
    return True


def test_an_erasure_waits_for_a_record_behind_its_message(tmp_path):
    """Damage in the newest write may be a torn write: nothing is overwritten there, not even after a restart."""
    with rig(tmp_path) as r:
        store = r.open()
        store.append_message(b"a", b"secret")
        store.remove_message(1, True)
        r.turn()
        assert b"secret" in (tmp_path / "log.0000").read_bytes()
        store = r.crash(tmp_path / "crash")
        log = tmp_path / "crash" / "log.0000"
        r.committer.run_now()                      # the record that proves the write before is on its way
        assert b"secret" in log.read_bytes()
        r.settle()
        assert overwritten(r, log, b"secret")
        assert bodies(store) == {} and store.damage == []


def erasing(root: Path, behind: bool) -> tuple[bytes, bytes, int]:
    """The log before and after message 2, one of a write with a removal, is overwritten; and where it lies."""
    root.mkdir()
    with rig(root) as r:
        store = r.open(segment_bytes=1 << 16)
        for number in range(1, 5):
            store.append_message(b"k", b"secret %d." % number * 200)
        store.remove_message(1)
        store.remove_message(2, True)
        if behind:
            r.turn()
            store.append_message(b"k", b"later")
        r.turn()
        before = (root / "log.0000").read_bytes()
        r.commit()
        after = (root / "log.0000").read_bytes()
        (record,) = [record for record in r.scans()[0].records if record.kind == "erased"]
        assert b"secret 2." in before and b"secret 2." not in after
    end = record.offset + record.length
    # The overwriting began when what proves the write was on disk: only the record itself differs.
    return after[:record.offset] + before[record.offset : end] + after[end:], after, record.offset


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("part", ["first", "second", "none", "noise"])
def test_an_erasure_torn_anywhere_is_no_loss_and_is_done_again(tmp_path, behind, part):
    """Its removals are believed, nothing is reported as lost, and in the end nothing of the message is left."""
    before, after, offset = erasing(tmp_path / "whole", behind)
    for cut in range(offset, offset + 1800, 150):
        torn = {"first": after[:cut] + before[cut:], "second": before[:cut] + after[cut:], "none": before,
                "noise": after[:cut + 40] + b"\xff" + after[cut + 41:]}[part]  # fmt: skip
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        (crashed / "log.0000").write_bytes(torn)
        with rig(crashed) as r:
            store = r.open(segment_bytes=1 << 16)
            assert sorted(bodies(store)) == ([3, 4, 5] if behind else [3, 4])
            assert store.lost == 0 and store.damage == []
            assert overwritten(r, crashed / "log.0000", b"secret 2.")
            store = r.reopen(1 << 16)
            assert sorted(bodies(store)) == ([3, 4, 5] if behind else [3, 4])
            assert store.lost == 0 and store.damage == []
        shutil.rmtree(crashed)


def test_a_file_that_left_the_log_with_what_was_to_be_erased_is_not_used_again_after_a_kill(tmp_path):
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r:
        store = r.open()
        for number in range(60):
            store.append_message(b"a", b"secret %d " % number * 20)
        r.turn()
        for seq in range(1, 40):
            store.remove_message(seq, True)
        r.turn()                                   # the segments leave with the write that says so
        assert store.log.order_list()[0] > 0
        store = r.crash(tmp_path / "crash")
        for _ in range(3):
            store.append_message(b"b", b"x")
            r.turn()
        left = b"".join(path.read_bytes() for path in r.segments())
        assert not [number for number in range(20) if b"secret %d " % number in left]


def test_the_newest_of_several_copies_is_the_one_that_is_erased(tmp_path):
    """A kill takes the end of a write, with the record that lets the older copy's segment go: both are in the log."""
    run, killed = tmp_path / "run", tmp_path / "killed"
    run.mkdir()
    with rig(run) as r:
        store = r.open()
        store.configure(per_subject_max=1)
        store.append_message(b"s", b"secret" * 20)
        moves = 0
        while moves < 2:
            r.settle()
            before = store.figures()["copied_bytes"]
            store.append_message(b"a", b"x" * 200)
            r.committer.run_now()
            moves += store.figures()["copied_bytes"] > before
        shutil.copytree(run, killed)               # no file is used again yet
        newest, end = killed / by_generation(r)[-1].name, r.scans()[-1].records[-1]
    assert end.kind == "trim"
    patch(newest, end.offset, bytes(end.length))
    with rig(killed) as r:
        store = r.open()
        assert [record.flags for scan in r.scans() for record in scan.records if record.seq == 1] == [("copy",)] * 2
        assert store.load_message(1)["body"] == b"secret" * 20 and store.damage == []
        store.remove_message(1, True)
        assert overwritten(r, newest, b"secret")
        assert not any(b"secret" in path.read_bytes() for path in r.segments())


def test_files_with_earlier_copies_of_what_was_erased_are_not_used_again_after_a_restart(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        store.append_message(b"keep", b"secret" * 20)
        for number in range(400):
            store.append_message(b"a", b"%d" % number * 30)
            if number:
                store.remove_message(number + 1)
            r.turn()
        for _ in range(20):
            store.append_message(b"b", b"x" * 100)
            r.turn()
        assert store.figures()["copied_bytes"]
        store.remove_message(1, True)
        r.commit()
        store = r.reopen()
        for number in range(400):
            store.append_message(b"c", b"%d" % number * 30)
            store.remove_message(store.next_message(0))
            r.turn()
        assert not any(b"secret" in path.read_bytes() for path in r.segments())


def test_the_last_write_is_written_again_before_it_is_believed(tmp_path):
    """After a sync that failed it can be read, and may not be on disk: a sync alone would not put it there."""
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a") as r:
        store = r.open(segment_bytes=1 << 17)
        for number in range(1, 4):
            store.append_message(b"a", b"%d" % number + bytes(9000))
            r.commit()
        (scan,) = r.scans()
        start = max(record.offset for record in scan.records if "batch" in record.flags)
        shutil.copytree(tmp_path / "a", tmp_path / "b")    # as a kill leaves it
    (tmp_path / "b" / "witness").unlink()                  # a kill comes before it was written, or so
    disk = FaultyDisk()
    with rig(tmp_path / "b", disk=disk) as r:
        store = r.open(segment_bytes=1 << 17)
        offset, size = disk.written[0]
        assert offset == start - start % 4096
        assert offset + size >= scan.end > offset + size - 4096
        assert sorted(bodies(store)) == [1, 2, 3]
        store.append_message(b"a", b"4")
        r.commit()
        r.close()
        disk.written.clear()
        assert sorted(bodies(r.open(segment_bytes=1 << 17))) == [1, 2, 3, 4]
        assert disk.written == [], "an orderly stop leaves nothing to be written again"


def test_an_orderly_stop_is_no_damage_when_a_power_cut_takes_its_record(tmp_path):
    """Nobody syncs it; the next segment must not say that it was there."""
    with rig(tmp_path) as r:
        store = r.open()
        store.append_message(b"a", b"kept")
        r.commit()
        (path,) = r.segments()
        before = path.read_bytes()
        store = r.reopen()
        assert path.read_bytes() != before, "the record of the stop"
        store.append_message(b"a", b"later")
        r.commit()
        path.write_bytes(before)
        store = r.crash(tmp_path / "cut")
        assert bodies(store) == {1: b"kept", 2: b"later"}
        assert not store.damage


def test_names_of_a_write_that_was_not_proven_are_made_anew(tmp_path):
    """The sync of the directory may have failed before the kill: one that succeeds later would say nothing of them."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    with rig(first) as r:
        store = r.open()
        store.append_message(b"a", b"kept")
        r.turn()                                             # the witness does not know of it yet
        shutil.copytree(first, second)
    disk = SimulatedDisk(str(second))
    with rig(second, disk=disk) as r:
        r.committer = Committer("always", disk)
        assert bodies(r.open()) == {1: b"kept"}
        assert [step[1:] for step in disk.trace if step[0] == MOVED] == [
            ("/log.0000", "/log.0000.again"), ("/log.0000.again", "/log.0000"),
        ]  # fmt: skip
        assert [step[1] for step in disk.trace if step[0] == SYNCED][-1] == "", "the directory"


def test_a_packed_segment_is_never_written_again(tmp_path: Path) -> None:
    """The write that proved it is gone (no sync between the two with `interval`): the write before it is the last."""
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a", sync="interval") as r:
        store = r.open(segment_bytes=1 << 18)
        store.compress(True)
        for number in range(1100):
            store.append_message(b"a", b"%d-" % number * 150)
        r.turn()
        store.append_message(b"proof", b"")
        r.turn()
        r.cache.packer.drain()
        assert store.figures()["packed"] == store.figures()["segments"] - 1 > 1
        expected = bodies(store)
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    newest = max((tmp_path / "b").glob("log.*"))
    files = {path: path.read_bytes() for path in (tmp_path / "b").glob("log.*") if path != newest}
    newest.unlink()
    with rig(tmp_path / "b") as r:
        found = bodies(r.open(segment_bytes=1 << 18))
        assert r.store.lost == 0 and len(found) > 500 and found.items() <= expected.items()
        assert {path: path.read_bytes() for path in files} == files
