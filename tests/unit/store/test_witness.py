"""What only the witness knows, and to which log a file belongs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from file_rig import START_NS, bodies, by_generation, rig, written
from millpond.store.scan import scan_segment
from millpond.testing.faulty_disk import FaultyDisk

from millpond.base.errors import StoreError

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("how", ["deleted", "cut", "cut behind a record", "rolled back", "zeros"])
def test_the_newest_segment_is_missed(tmp_path, how):
    """Its sequences are named, and not issued again."""
    with rig(tmp_path / "whole") as r:
        (tmp_path / "whole").mkdir()
        store = r.open()
        for number in range(60):
            store.append_message(b"a", b"%03d" % number * 20, ts_ns=START_NS + number)
            if number % 10 == 9:
                r.commit()
            if number == 49:
                shutil.copytree(tmp_path / "whole", tmp_path / "early")
        expected = bodies(store)
        path = max(r.segments(), key=lambda path: (scan_segment(path).head or {}).get("generation", 0))
        early = (tmp_path / "early" / path.name).read_bytes()
        r.close()
    image = path.read_bytes()
    assert early != image
    if how == "deleted":
        path.unlink()
    else:
        record = scan_segment(path).records[2]
        behind = image[: record.offset + (record.length + 7) // 8 * 8]
        files = {"cut": image[:500], "cut behind a record": behind, "rolled back": early, "zeros": bytes(len(image))}
        path.write_bytes(files[how])
    with rig(tmp_path) as r:
        store = r.open(tmp_path / "whole")
        found = bodies(store)
        lost = sorted(set(expected) - set(found))
        assert lost[-1] == 60 and found == {seq: expected[seq] for seq in found}
        assert f"messages {lost[0]} to 60 are lost" in "".join(store.damage) and store.lost == len(lost)
        assert store.append_message(b"new") == 61


def test_a_segment_of_another_log_is_not_taken(tmp_path):
    for name in ("one", "two"):
        written(tmp_path / name, 200, 10, name.encode() * 10)
    with rig(tmp_path) as r:
        one = bodies(r.open(tmp_path / "one"))
        (*_, path, _) = by_generation(r)
        r.close()
        shutil.copyfile(tmp_path / "two" / path.name, path)
        kept = path.read_bytes()
        store = r.open(tmp_path / "one")
        found = bodies(store)
        assert found.items() < one.items() and len(found) > 100
        assert any(f"{path.name}: it is of another log" in text for text in store.damage)
        assert store.lost == len(one) - len(found)
        for _ in range(100):
            store.append_message(b"a", b"x" * 100)
        store.purge_messages()
        r.turn()
        assert path.read_bytes() == kept


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_log_of_a_server_without_identities_goes_on(tmp_path, version):
    """Its segments stay, those that follow have one; afterwards nothing older than they are is taken without."""
    shutil.copytree(Path(__file__).parents[2] / "data" / "stores" / version, tmp_path / "s")
    (tmp_path / "s" / "expected.json").unlink()
    with rig(tmp_path) as r:
        store = r.open(tmp_path / "s")
        before, last = bodies(store), store.state_dict()["last_seq"]
        for number in range(120):
            store.append_message(b"new", b"%03d" % number * 30)
            if number % 10 == 9:
                r.turn()
        expected = bodies(store)
        assert before.items() < expected.items()
        store = r.reopen()
        assert store.damage == [] and bodies(store) == expected
        identities = {scan.head["identity"] for scan in r.scans() if scan.head["last_seq"] >= last}
        assert len(identities) == 1 and 0 not in identities


def test_the_witness_knows_what_was_committed_not_where_the_log_goes_on(tmp_path):
    """The last page is not in memory any more, so the next record begins at the next one; nothing lies between."""
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a") as r:
        store = r.open(segment_bytes=1 << 17)
        store.append_message(b"a", b"1")
        r.turn()
        assert r.committer.testify(0), "it is owed"
        r.cache.resize(0)
        store.append_message(b"a", b"2")
        r.testify()
        store = r.crash(tmp_path / "b", segment_bytes=1 << 17)
        assert store.damage == [] and bodies(store) == {1: b"1"}


@pytest.mark.parametrize("more", [False, True])
def test_what_the_witness_says_is_committed_need_not_be_proven(tmp_path, more):
    """And what came behind it has to be."""
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a") as r:
        store = r.open(segment_bytes=1 << 17)
        for number in range(3):
            store.append_message(b"a", b"%d" % number)
            r.turn()
        r.testify()
        if more:
            store.append_message(b"a", b"3")
            r.turn()
        shutil.copytree(tmp_path / "a", tmp_path / "b")    # as a kill leaves it
    disk = FaultyDisk()
    with rig(tmp_path / "b", disk=disk) as r:
        store = r.open(segment_bytes=1 << 17)
        assert len(bodies(store)) == (4 if more else 3)
        assert [len(disk.written), r.committer.syncs] == ([1, 2] if more else [0, 0])     # and its names
        r.testify()
        shutil.copytree(tmp_path / "b", tmp_path / "c")    # another kill, before anything is written
        assert store.append_message(b"a", b"next") == (5 if more else 4)
    disk = FaultyDisk()
    with rig(tmp_path / "c", disk=disk) as r:
        assert len(bodies(r.open(segment_bytes=1 << 17))) == (4 if more else 3)
        assert [len(disk.written), r.committer.syncs] == [0, 0]      # it was proven once


def test_a_start_does_not_testify_to_what_is_torn(tmp_path):
    """Else the next one would call it damage."""
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a") as r:
        store = r.open(segment_bytes=1 << 17)
        store.append_message(b"a", b"0")
        r.turn()
        r.testify()
        for body in (b"1" * 5000, b"2" * 5000, b"3"):
            store.append_message(b"a", body)
        r.turn()
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    log = tmp_path / "b" / "log.0000"
    data = bytearray(log.read_bytes())
    at = data.index(b"1" * 5000) + 2000
    data[at : at + 512] = bytes(512)
    log.write_bytes(data)
    for _ in range(3):
        with rig(tmp_path / "b") as r:
            store = r.open(segment_bytes=1 << 17)
            assert (store.damage, store.torn_seq) == ([], 2) and sorted(bodies(store)) == [1, 3, 4]
            r.testify()
            shutil.copytree(tmp_path / "b", tmp_path / "killed")
        shutil.rmtree(tmp_path / "b")
        (tmp_path / "killed").rename(tmp_path / "b")


def test_a_segment_ends_with_its_records_when_the_next_one_begins_instead_of_its_last_page(tmp_path):
    """Its last page was not in memory any more, and the file has none behind it."""
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a") as r:
        store = r.open(segment_bytes=1 << 17)
        body = bytes(1000)
        while store.figures()["log_bytes"] < 1 << 17 or r.scans()[0].end < (1 << 17) - 2000:
            store.append_message(b"a", body)
            r.turn()
        r.cache.resize(0)
        for _ in range(3):
            store.append_message(b"a", body)
            r.turn()
        first, second = r.scans()
        assert second.head["before_end"] == first.end
        assert first.end % 4096, "else there is nothing to see"
        store = r.crash(tmp_path / "b", segment_bytes=1 << 17)
        assert store.damage == []


def test_one_segment_against_the_witness_is_not_judged(tmp_path):
    for name in ("one", "two"):
        written(tmp_path / name, 5, 5)
    shutil.copyfile(tmp_path / "two" / "log.0000", tmp_path / "one" / "log.0000")
    with rig(tmp_path) as r, pytest.raises(StoreError, match="of different logs"):
        r.open(tmp_path / "one")


# --- sectors that cannot be read ---


@pytest.mark.parametrize("sector", [0, 1, 3])
def test_a_sector_that_cannot_be_read_costs_what_is_in_it(tmp_path, sector):
    """At the start and while it runs, and no more than that."""
    (tmp_path / "s").mkdir()
    with rig(tmp_path / "s") as r:
        store = r.open(segment_bytes=1 << 16)
        for number in range(400):
            store.append_message(b"a", b"%03d" % number * 10, ts_ns=START_NS + number)
            if number % 50 == 49:
                r.commit()
        store.append_message(b"a", b"x" * 40000)   # and another segment
        r.commit()
        expected = bodies(store)
        records = [record for scan in r.scans() for record in scan.records]
        r.close()
    begin, end = sector * 4096, sector * 4096 + 4096
    hit = {record.seq for record in records if record.offset < end and begin < record.offset + record.length}
    assert len(hit) > 30
    for recovers in (True, False) if sector else (False,):     # of every file: no head would be left to go by
        disk = FaultyDisk()
        with rig(tmp_path / "s", disk=disk) as r:
            disk.unreadable = [(begin, end)] if recovers else []
            r.open(segment_bytes=1 << 16)
            disk.unreadable = [(begin, end)]
            store = r.store
            r.cache.resize(0)                      # what the start has read
            r.cache.resize(1 << 22)
            found = {seq: store.load_message(seq) for seq in expected}
            gone = {seq for seq, message in found.items() if message is None}
            assert gone == hit
            assert store.lost == len(gone) and set(store.losses.sequences(1000)) == gone
            assert all(found[seq]["body"] == expected[seq] for seq in found if seq not in gone)
            disk.unreadable = []
            r.store.close()
            r.store = None
