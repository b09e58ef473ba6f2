"""Catalog: two copies, repaired; a save is told when it is durable."""

import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.store.catalog import Catalog, decode, encode, read_copies
from millpond.store.committer import Committer
from millpond.testing.faulty_disk import FaultyDisk
from millpond.testing.simulated_disk import SYNCED, WRITE, SimulatedDisk
from tests.unit.store.file_rig import rig

from millpond.base.errors import StoreError


def saved(tmp_path, *payloads, tier=1):
    committer = Committer(tier)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    told = []
    for payload in payloads:
        catalog.save(payload, lambda failure, payload=payload: told.append(failure or payload))
        committer.drain()
    assert told == list(payloads)
    catalog.close()
    committer.close()


def load(tmp_path):
    catalog = Catalog(str(tmp_path / "stream"), Committer(0))
    try:
        return catalog.load()
    finally:
        catalog.close()


@pytest.mark.parametrize("tier", [0, 1, "interval"])
def test_a_value_comes_back(tmp_path, tier):
    assert load(tmp_path) is None
    saved(tmp_path, b"one", b"a longer two", b"3", tier=tier)
    assert load(tmp_path) == b"3"
    for name in ("stream.0", "stream.1"):
        assert decode((tmp_path / name).read_bytes()) == (3, b"3")


def test_generations_go_on_after_reopening(tmp_path):
    saved(tmp_path, b"old" * 100)
    saved(tmp_path, b"new")
    assert load(tmp_path) == b"new"


@pytest.mark.parametrize("which", ["stream.0", "stream.1"])
def test_one_bad_copy_is_repaired(tmp_path, which):
    saved(tmp_path, b"value")
    good = (tmp_path / which).read_bytes()
    for damage in (b"", good[:10], good[:-1], bytes([good[0] ^ 1]) + good[1:], good[:-1] + b"x"):
        (tmp_path / which).write_bytes(damage)
        assert load(tmp_path) == b"value"
        assert (tmp_path / which).read_bytes() == good
    (tmp_path / which).unlink()
    assert load(tmp_path) == b"value"
    assert (tmp_path / which).read_bytes() == good


def test_a_torn_save_leaves_the_value_before(tmp_path):
    saved(tmp_path, b"before")
    image = encode(2, b"after that")
    for length in range(1, len(image)):
        before = (tmp_path / "stream.0").read_bytes()
        (tmp_path / "stream.0").write_bytes(image[:length] + before[length:])
        assert load(tmp_path) == b"before"
    (tmp_path / "stream.0").write_bytes(image)
    assert load(tmp_path) == b"after that"


def test_saves_during_a_sync_are_merged(tmp_path):
    committer = Committer(1)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    told = []
    catalog.save(b"1", lambda _: (told.append(1), catalog.save(b"3", lambda _: told.append(3))))
    catalog.save(b"2", lambda _: told.append(2))
    committer.drain()
    assert told == [1, 2, 3]
    catalog.close()
    assert load(tmp_path) == b"3"


@pytest.mark.parametrize("kind", ["write", "sync", "sync of the copy relied on"])
def test_a_save_that_fails_is_told_so_and_refuses_what_follows(tmp_path, monkeypatch, kind):
    disk = FaultyDisk(("write",), errno.EIO)
    committer = Committer(1, disk)
    saved(tmp_path, b"before")
    catalog = Catalog(str(tmp_path / "stream"), committer)
    assert catalog.load() == b"before"
    told = []
    if kind == "write":
        disk.first, disk.last = 1, 1 << 60
    elif kind == "sync":
        catalog.save(b"before")
        committer.drain()
    if kind != "write":
        replace_descriptors(monkeypatch, "/dev/null")  # what cannot be synced
    syncs = committer.syncs
    catalog.save(b"1", told.append)
    catalog.save(b"2", told.append)
    committer.drain()
    expected = 2 if kind == "write" else 1         # of the copy relied on, and of the names
    assert committer.syncs == syncs + expected, "no sync is tried again, and in no case is the loop the one that waits"
    assert len(told) == 2 and all(failure.startswith(f"cannot write {tmp_path}/stream.") for failure in told)
    catalog.when_kept(told.append)
    assert told[2] == told[0]
    with pytest.raises(StoreError, match="cannot write"):
        catalog.save(b"3")
    monkeypatch.undo()
    assert load(tmp_path) == b"before"


def refuse(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def replace_descriptors(monkeypatch, by):
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, mode=0: real(by, os.O_RDWR))


def test_the_copy_that_is_certain_is_not_touched_before_the_other_one_is(tmp_path):
    """Whatever a save leaves of the copy it writes, the value before is there; so it is right after it was told."""
    with rig(tmp_path) as r:
        catalog = Catalog(str(tmp_path / "stream"), r.committer)
        copies = [tmp_path / f"stream.{number}" for number in range(2)]
        before = b"0"
        catalog.save(before)
        r.commit()
        for value in (b"1", b"2", b"3"):
            told = []
            catalog.save(value, told.append)
            r.committer.run_now()
            (torn,) = [copy for copy in copies if decode(copy.read_bytes())[1] != before]
            whole = torn.read_bytes()
            torn.write_bytes(b"torn")
            assert max(filter(None, read_copies(str(tmp_path / "stream"))))[1] == before
            torn.write_bytes(whole)
            assert not told
            r.settle()
            assert told == [""]
            assert (tmp_path / "stream.0").read_bytes() == (tmp_path / "stream.1").read_bytes()
            before = value
        catalog.close()


def test_a_save_writes_first_to_the_copy_that_was_not_synced_last(tmp_path):
    """The two are the same when it begins, but only one of them is surely on disk."""
    disk = SimulatedDisk(str(tmp_path))
    committer = Committer("always", disk)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    done = []
    for value in (b"1", b"2", b"3"):
        catalog.save(value)
        committer.drain()
        names = {file: path[1:] for path, file in disk.files().items() if file is not None}
        steps = [step for step in disk.trace if step[0] in (WRITE, SYNCED)]
        done.append([(step[0], names[step[1]]) for step in steps if step[1] in names])
        disk.trace.clear()
    catalog.close()
    committer.close()
    for mine, other, steps in zip("010", "101", done, strict=True):
        assert steps == [(WRITE, f"stream.{mine}"), (SYNCED, f"stream.{mine}"), (WRITE, f"stream.{other}")]


def test_the_first_save_after_a_start_makes_the_names_durable(tmp_path):
    """The start before may have made a copy anew, and have been killed before its name was on disk."""
    saved(tmp_path, b"1", b"2")
    disk = SimulatedDisk(str(tmp_path))
    committer, told = Committer("always", disk), []
    catalog = Catalog(str(tmp_path / "stream"), committer)
    assert catalog.load() == b"2"
    for value, syncs in ((b"3", 1), (b"4", 0)):
        disk.trace.clear()
        catalog.save(value, lambda failure: told.append((failure, list(disk.trace))))
        committer.drain()
        failure, before = told.pop()
        assert failure == "" and len([step for step in before if step[:2] == (SYNCED, "")]) == syncs
    catalog.close()
    committer.close()


def test_a_first_save_takes_two_syncs_and_a_later_one_takes_one(tmp_path):
    """The directory and one copy; the other copy is written, and nobody waits for it."""
    committer = Committer(1)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    for value, syncs in ((b"1", 2), (b"2", 3), (b"3", 4)):
        catalog.save(value)
        committer.drain()
        assert committer.syncs == syncs
        assert (tmp_path / "stream.0").read_bytes() == (tmp_path / "stream.1").read_bytes()
    catalog.close()


def test_who_waits_for_a_catalog_that_is_discarded_is_told_and_nothing_is_written_any_more(tmp_path):
    with rig(tmp_path) as r:
        catalog = Catalog(str(tmp_path / "stream"), r.committer)
        told = []
        catalog.save(b"1", told.append)
        r.committer.run_now()
        catalog.save(b"2", told.append)
        catalog.discard()
        assert told == ["", ""]
        before = (tmp_path / "stream.0").read_bytes()
        assert r.committer.in_flight(), "nobody waited for the sync that runs"
        r.commit()
        assert (tmp_path / "stream.0").read_bytes() == before and told == ["", ""]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2**64 - 1), st.binary(max_size=200), st.integers(0, 10**6))
def test_one_flipped_bit_is_noticed(generation, payload, where):
    image = encode(generation, payload)
    assert decode(image) == (generation, payload)
    at = where % (len(image) * 8)
    flipped = bytearray(image)
    flipped[at // 8] ^= 1 << at % 8
    try:
        assert decode(bytes(flipped)) is None
    except StoreError:
        pytest.fail("a damaged version is damage, not another version")


@pytest.mark.parametrize("tier", [1, "interval"])
def test_the_first_save_after_a_start_makes_sure_of_the_copy_that_it_relies_on(tmp_path, monkeypatch, tier):
    """After a kill the kernel may be the only one who has it. The loop does not wait for that."""
    saved(tmp_path, b"before")
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("a sync on the loop"))
    with rig(tmp_path, sync="always" if tier == 1 else tier) as r:
        catalog = Catalog(str(tmp_path / "stream"), r.committer)
        assert catalog.load() == b"before"
        told = []
        catalog.save(b"after", told.append)
        r.committer.run_now()
        assert values(tmp_path) == [b"before", b"before"] and r.committer.in_flight() == 1
        r.settle()
        r.committer.run_now()
        assert sorted(values(tmp_path)) == [b"after", b"before"] and not told
        assert r.committer.in_flight() == 2, "its name, too"
        r.settle()
        assert values(tmp_path) == [b"after", b"after"] and told == [""]
        catalog.save(b"later")
        r.committer.run_now()
        assert sorted(values(tmp_path)) == [b"after", b"later"], "one round from here"
        r.settle()
        catalog.close()


def values(tmp_path):
    """Of the copies."""
    return [payload for _, payload in read_copies(str(tmp_path / "stream"))]


def test_where_nothing_is_synced_a_first_save_is_not_either(tmp_path):
    saved(tmp_path, b"before")
    committer = Committer("never")
    catalog = Catalog(str(tmp_path / "stream"), committer)
    assert catalog.load() == b"before"
    catalog.save(b"after")
    committer.run_now()
    assert values(tmp_path) == [b"after", b"after"] and committer.syncs == 0
    catalog.close()
    committer.close()


@pytest.mark.parametrize("newer", [0, 1])
def test_a_start_makes_sure_of_the_newer_copy_before_it_writes_over_the_older_one(tmp_path, monkeypatch, newer):
    """Before that the older one is the only one that is surely on disk."""
    saved(tmp_path, b"older")
    paths = [tmp_path / "stream.0", tmp_path / "stream.1"]
    paths[newer].write_bytes(encode(7, b"newer"))
    inodes = {path.stat().st_ino: path.name for path in (*paths, tmp_path)}
    done = []

    def recorded(name, act):
        def call(fd, *rest):
            done.append((name, inodes.get(os.fstat(fd).st_ino, paths[1 - newer].name)))  # or made anew
            return act(fd, *rest)

        return call

    monkeypatch.setattr(os, "fsync", recorded("sync", os.fsync))
    monkeypatch.setattr(os, "pwrite", recorded("write", os.pwrite))
    assert load(tmp_path) == b"newer"
    mine, other = paths[newer].name, paths[1 - newer].name
    names = ("sync", tmp_path.name)                # as they are, and when one of them was moved
    assert done == [("write", mine), ("sync", mine), names, names, ("write", other)]
    assert values(tmp_path) == [b"newer", b"newer"]


def test_without_a_descriptor_a_save_is_refused_and_the_next_one_is_not(tmp_path, monkeypatch):
    committer = Committer(1)
    saved(tmp_path, b"before")
    catalog = Catalog(str(tmp_path / "stream"), committer)
    assert catalog.load() == b"before"
    real = os.open
    for free in (0, 1):
        left = iter(range(free))

        def few(path, *rest, left=left, **more):
            if next(left, None) is None:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
            return real(path, *rest, **more)

        monkeypatch.setattr(os, "open", few)
        with pytest.raises(OSError, match="Too many open files"):
            catalog.save(b"refused", lambda _: pytest.fail("told"))
        monkeypatch.undo()
    told = []
    catalog.save(b"after", told.append)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("what a save needs, it has"))
    committer.drain()
    monkeypatch.undo()
    assert told == [""] and not catalog.failure and load(tmp_path) == b"after"
    catalog.close()
    committer.close()


def test_a_new_value_is_not_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "listdir", refuse)
    committer, told = Committer(1), []
    catalog = Catalog(str(tmp_path / "stream"), committer, new=True)
    catalog.save(b"first", told.append)
    committer.drain()
    assert told == [""]
    catalog.close()
    committer.close()


def test_who_asks_when_a_value_is_kept_is_told_with_the_save_that_runs(tmp_path):
    with rig(tmp_path) as r:
        catalog = Catalog(str(tmp_path / "stream"), r.committer)
        told = []
        catalog.when_kept(lambda failure: told.append("before"))
        catalog.save(b"1")
        catalog.when_kept(lambda failure: told.append("1"))
        r.committer.run_now()
        catalog.when_kept(lambda failure: told.append("1 again"))
        assert told == ["before"]
        r.settle()
        assert told == ["before", "1", "1 again"]
        catalog.close()
