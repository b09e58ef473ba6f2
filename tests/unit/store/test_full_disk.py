"""A disk without room: an append is refused and has done nothing, removals go on or wait, nothing is lost or invented.

`FaultyDisk` refuses one call after the other of a script of operations, once or for good. What the store holds then,
after room came back, after reopening, and what a crash in between leaves, is compared with a dictionary.
"""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest
from file_rig import SMALL, Rig, bodies, rig
from millpond.store.catalog import Catalog
from millpond.store.checksum import checksum
from millpond.store.committer import Committer
from millpond.store.consumer_journal import ConsumerJournal
from millpond.testing.faulty_disk import NEVER, FaultyDisk

from millpond.base.errors import StoreError
from millpond.store.consumer_file import NAMES, JournalFiles
from millpond.store.space import NAME, Space, is_full

FULL = (errno.ENOSPC, errno.EDQUOT)


class Player:
    """Plays a script on a store and keeps what must be in it."""

    def __init__(self, r: Rig, per_subject_max: int) -> None:
        self.rig, self.store = r, r.open()
        self.store.configure(per_subject_max=per_subject_max)
        self.per_subject_max = per_subject_max
        self.model: dict[int, tuple[bytes, bytes]] = {}
        self.issued: dict[int, bytes] = {}
        self.refused: set[bytes] = set()
        self.certain: dict[int, bytes] = {}
        """Committed at the last look, and not removed since."""

    def put(self, subject: bytes, body: bytes) -> None:
        state = self.store.state_dict()
        try:
            seq = self.store.append_message(subject, body)
        except OSError as error:
            assert is_full(error)
            assert self.store.state_dict() == state, "a refused append has done nothing"
            self.refused.add(body)
            return
        assert seq not in self.issued, "a sequence is issued once"
        self.issued[seq] = body
        self.model[seq] = (subject, body)
        there = [old for old, (name, _) in self.model.items() if name == subject]
        if self.per_subject_max:
            self.forget(there[: -self.per_subject_max])

    def batch(self, bodies: list[bytes]) -> None:
        last_seq = self.store.state_dict()["last_seq"]
        try:
            self.store.promise_batch(sum(len(body) + 128 for body in bodies), max(map(len, bodies)) + 128)
        except OSError as error:
            assert is_full(error)
            self.refused.update(bodies)
            return
        self.store.batch(True)
        for body in bodies:
            self.put(b"batch", body)
        self.store.batch(False)
        assert self.store.state_dict()["last_seq"] == last_seq + len(bodies), "what was promised is whole"

    def forget(self, seqs: list[int]) -> None:
        for seq in seqs:
            self.model.pop(seq, None)
            self.certain.pop(seq, None)

    def remove(self, nth: int) -> None:
        if self.model:
            seq = sorted(self.model)[nth % len(self.model)]
            assert self.store.remove_message(seq, nth % 3 == 0)
            self.forget([seq])

    def purge(self, subject: bytes) -> None:
        gone = [seq for seq, (name, _) in self.model.items() if name == subject]
        assert self.store.purge_messages([subject]) == len(gone)
        self.forget(gone)

    def purge_below(self, more: int) -> None:
        """All of it, and some sequences that were never issued."""
        first_seq = self.store.state_dict()["last_seq"] + more
        assert self.store.purge_messages([], first_seq) == len(self.model)
        self.forget(list(self.model))
        state = self.store.state_dict()
        assert state["first_seq"] == state["last_seq"] + 1 == first_seq

    def look(self) -> None:
        """What is live is as it should be; what is committed is certain."""
        assert not self.store.failure
        assert bodies(self.store) == {seq: body for seq, (_, body) in self.model.items()}
        committed = self.store.committed_seq
        self.certain = {seq: body for seq, (_, body) in self.model.items() if seq <= committed}

    def check_crash(self, found: dict[int, bytes]) -> None:
        """Files as a crash leaves them: what is certain is there, nothing refused is."""
        assert {seq: found.get(seq) for seq in self.certain} == self.certain
        assert not self.refused & set(found.values())
        assert all(self.issued[seq] == body for seq, body in found.items())


def play(player: Player, seed: int, steps: int = 100) -> None:
    rng = random.Random(seed)
    for step in range(steps):
        chance = rng.random()
        body = b"%d-" % step + bytes(rng.choice((10, 200, 1500, 3900)))
        if chance < 0.55:
            player.put(b"s%d" % rng.randrange(5), body)
        elif chance < 0.65:
            player.batch([b"%d/%d-" % (step, part) + bytes(rng.choice((5, 900))) for part in range(rng.randint(2, 8))])
        elif chance < 0.8:
            player.remove(rng.randrange(1000))
        elif chance < 0.85:
            player.purge(b"s%d" % rng.randrange(5))
        elif chance < 0.87:
            player.purge_below(rng.choice((1, 2, 50)))
        else:
            player.rig.turn()
            player.look()


def calls_of(folder: Path, seed: int, per_subject_max: int) -> int:
    disk = FaultyDisk()
    folder.mkdir()
    with rig(folder, disk=disk) as r:
        play(Player(r, per_subject_max), seed)
        return disk.calls


@pytest.mark.parametrize("error", FULL)
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize(("seed", "per_subject_max"), [(1, 0), (2, 2), (3, 1)])
def test_every_call_refused_in_turn(tmp_path, seed, per_subject_max, lasting, error):
    calls = calls_of(tmp_path / "all", seed, per_subject_max)
    assert calls > 30
    refused = 0
    for number in range(1, calls + 1):
        disk = FaultyDisk(error=error)
        disk.first, disk.last = number, NEVER if lasting else number
        folder = tmp_path / str(number)
        folder.mkdir()
        with rig(folder, disk=disk) as r:
            player = Player(r, per_subject_max)
            play(player, seed)
            refused += len(player.refused)
            r.turn()
            player.look()
            disk.first = NEVER
            certain = dict(player.certain)
            if number % 4 == 0:
                store = r.crash(tmp_path / f"{number}-crash")
                player.check_crash(bodies(store))
                continue
            assert r.committer.space.probe()
            r.committer.retry()
            r.commit()
            player.look()
            assert player.store.committed_position == player.store.position
            assert certain.items() <= bodies(player.store).items()
            player.put(b"after", b"room again")
            r.commit()
            player.look()
            assert bodies(r.reopen()) == player.certain
    assert refused or not lasting


def test_removals_are_answered_while_appends_are_refused(tmp_path):
    """What can be written is: only what the removal needs a place for waits."""
    disk = FaultyDisk(kinds={"reserve"}, error=errno.ENOSPC)
    with rig(tmp_path, disk=disk) as r:
        store = r.open(segment_bytes=SMALL)
        for number in range(20):
            store.append_message(b"a", b"%d" % number + bytes(100))
        r.turn()
        disk.first = 0
        free = SMALL - r.scans()[-1].end
        while True:
            try:
                store.append_message(b"a", bytes(100))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                break
        last_seq = store.state_dict()["last_seq"]
        assert last_seq > 20 or free < 150
        store.remove_message(3)
        r.turn()
        assert store.committed_seq == last_seq, "messages that had a place are committed"
        assert 3 not in bodies(store)
        with pytest.raises(OSError):
            store.append_message(b"a", b"")
        disk.first = NEVER
        assert r.committer.space.probe()
        r.committer.retry()
        r.commit()
        assert store.committed_position == store.position
        assert 3 not in bodies(r.reopen())


def test_what_is_refused_for_want_of_room_is_no_failure_and_other_errors_are(tmp_path):
    disk = FaultyDisk(error=errno.EIO)
    with rig(tmp_path, disk=disk) as r:
        store = r.open()
        store.append_message(b"a", b"1")
        r.commit()
        store.append_message(b"a", b"2")
        disk.first = 0
        r.commit()
        assert store.failure.startswith("cannot write")
        with pytest.raises(StoreError, match="cannot write"):
            store.append_message(b"a", b"3")
        assert not r.committer.space.full


def test_a_spare_that_cannot_grow_stays_what_it_was(tmp_path):
    disk = FaultyDisk(kinds={"reserve"}, error=errno.ENOSPC)
    with rig(tmp_path, disk=disk) as r:
        store = r.open(segment_bytes=SMALL)
        for _ in range(40):
            store.append_message(b"a", bytes(500))
            r.turn()
        store.purge_messages()
        r.turn()
        r.turn()
        names = sorted(path.name for path in r.segments())
        assert len(names) > 1, "some wait to be used again"
        disk.first = 0
        with pytest.raises(OSError):
            store.append_message(b"a", bytes(10 * SMALL))
        assert sorted(path.name for path in r.segments()) == names
        assert all(path.stat().st_size == SMALL for path in r.segments())
        assert store.append_message(b"a", b"fits into a spare") > 40


# --- what is set aside ---


class SmallDisk:
    """Free space as the file system would tell it."""

    def __init__(self, monkeypatch, free: int) -> None:
        self.free = free
        monkeypatch.setattr(Space, "free_bytes", property(lambda _: self.free))


def test_an_episode_is_told_once_and_ends_by_itself(tmp_path, monkeypatch, caplog):
    disk = SmallDisk(monkeypatch, 1 << 30)
    told = []
    space = Space(tmp_path, reserve_bytes=1 << 20)
    space.on_full = lambda: told.append(1)
    assert (tmp_path / NAME).stat().st_size == space.held == 1 << 20
    disk.free = 0
    for _ in range(3):
        space.exhausted(OSError(errno.ENOSPC, "No space left on device"))
    assert space.full and told == [1]
    (line,) = [record.getMessage() for record in caplog.records if "No space left under" in record.getMessage()]
    assert str(tmp_path) in line and "0 bytes free" in line and "1048576 set aside" in line and "Fix:" in line
    given = 0
    while space.give(100_000):
        given += 1
    assert given == 11 and space.held == 0 == (tmp_path / NAME).stat().st_size
    assert not space.probe()
    disk.free = (1 << 20) + (1 << 19)
    assert not space.probe(), "what is set aside comes first"
    disk.free = 1 << 30
    assert space.probe() and not space.full
    assert space.held == (tmp_path / NAME).stat().st_size == 1 << 20
    assert caplog.records[-1].getMessage().startswith("Room again under")
    space.close()


def test_what_is_too_large_for_the_rest_of_a_disk_stops_nobody_else(tmp_path, monkeypatch, caplog):
    disk = SmallDisk(monkeypatch, 50 << 20)
    space = Space(tmp_path)
    for _ in range(3):
        space.refused(OSError(errno.ENOSPC, "No space left on device"), 60 << 20)
    assert not space.full
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"No room for {60 << 20} bytes under {tmp_path}: {50 << 20} bytes free")
    space.refused(OSError(errno.EDQUOT, "Disk quota exceeded"), 60 << 20)
    assert space.full, "a quota does not tell how much is left"
    assert space.probe()
    disk.free = 1000
    space.refused(OSError(errno.ENOSPC, "No space left on device"), 60 << 20)
    assert space.full
    space.close()


def test_a_disk_that_is_full_at_the_start_is_full_not_an_error(tmp_path, monkeypatch):
    disk = SmallDisk(monkeypatch, 1000)
    space = Space(tmp_path)
    assert space.full and space.held == 0
    with pytest.raises(OSError, match="No space left"):
        space.check(1)
    disk.free = 1 << 30
    assert space.probe()
    space.check(1)
    space.close()
    again = Space(tmp_path)
    assert again.held > 0 and not again.full
    again.close()


def test_what_is_set_aside_is_given_to_a_write_that_was_refused(tmp_path, monkeypatch):
    SmallDisk(monkeypatch, 1 << 30)
    disk = FaultyDisk(kinds={"write"}, error=errno.ENOSPC)
    with rig(tmp_path, disk=disk) as r:
        r.committer.space = space = Space(tmp_path, reserve_bytes=1 << 20)
        store = r.open()
        store.append_message(b"a", b"1")
        disk.first, disk.last = disk.calls + 1, disk.calls + 3
        r.turn()
        assert space.full and space.held == (1 << 20) - 3 * 65536
        assert store.committed_seq == 1
        space.close()


def test_what_is_set_aside_is_not_for_new_messages(tmp_path, monkeypatch):
    """A removal gets a segment of it. That has room, and publishes are refused all the same."""
    SmallDisk(monkeypatch, 1 << 30)
    disk = FaultyDisk(kinds={"reserve"}, error=errno.ENOSPC)
    with rig(tmp_path, disk=disk) as r:
        r.committer.space = space = Space(tmp_path, reserve_bytes=1 << 20)
        store = r.open()
        for _ in range(50):
            store.append_message(b"a", bytes(100))
        r.turn()
        disk.first = disk.calls + 1
        with pytest.raises(OSError):
            for _ in range(50):
                store.append_message(b"a", bytes(100))
        assert space.full
        disk.last = disk.calls + 1                 # one more, then what was given is there
        last_seq = store.state_dict()["last_seq"]
        assert store.remove_message(2)
        r.turn()
        assert space.held < 1 << 20
        assert store.committed_position == store.position, "the removal is answered"
        with pytest.raises(OSError):
            store.append_message(b"a", b"")
        assert store.state_dict()["last_seq"] == last_seq
        assert space.probe()
        assert store.append_message(b"a", b"") == last_seq + 1
        r.commit()
        assert 2 not in bodies(r.reopen())
        space.close()


def test_who_waits_for_room_does_not_keep_a_server_from_stopping(tmp_path):
    disk = FaultyDisk(kinds={"write"}, error=errno.ENOSPC)
    with rig(tmp_path, disk=disk) as r:
        store = r.open()
        store.append_message(b"a", b"kept")
        r.commit()
        store.append_message(b"a", b"never written")
        disk.first = 0
        r.commit()
        with pytest.raises(OSError):
            store.append_message(b"a", b"refused")
        assert store.committed_seq == 1
        r.close()
        disk.first = NEVER
        assert bodies(r.reopen())[1] == b"kept"


def test_a_retry_is_given_to_everyone_who_waits(tmp_path):
    committer = Committer("always")
    assert committer.retry() == 0 and committer.in_flight() == 0
    committer.close()


# --- consumers' journals and catalogs ---


class Full:
    """A disk that is full while `full` is set: half of what is asked is written."""

    def __init__(self, error: int = errno.ENOSPC) -> None:
        self.disk = FaultyDisk({"write"}, error)

    @property
    def full(self) -> bool:
        return self.disk.first == 0

    @full.setter
    def full(self, full: bool) -> None:
        self.disk.first, self.disk.last = (0 if full else NEVER), NEVER


@pytest.mark.parametrize("error", FULL)
def test_a_journal_waits_for_room_and_then_has_everything(tmp_path, error):
    disk = Full(error)
    committer = Committer("always", disk.disk)
    journal = ConsumerJournal(str(tmp_path), committer)
    state = journal.open_consumer("c", b"{}")
    committer.drain()
    for seq in range(1, 6):
        state.py_deliver(seq)
    state.py_ack(1)
    committer.drain()
    confirmed, disk.full = journal.committed_position, True
    for seq in range(2, 6):
        state.py_ack(seq)
        committer.drain()
    assert not journal.failure
    assert journal.committed_position == confirmed < journal.position
    before = ConsumerJournal(str(tmp_path), Committer("never")).recovered()["c"][1]
    assert before.floor_stream_seq == 1, "what is on disk is whole, whatever was written beside it"
    disk.full = False
    committer.retry()
    committer.drain()
    assert journal.committed_position == journal.position
    journal.close()
    after = ConsumerJournal(str(tmp_path), Committer("never")).recovered()["c"][1]
    assert after.floor_stream_seq == 5


def test_a_journal_that_fails_leaves_the_file_that_is_on_disk(tmp_path):
    """A second try after a failed sync does not start over the only whole file."""
    committer = Committer("always")
    journal = ConsumerJournal(str(tmp_path), committer)
    state = journal.open_consumer("c", b"{}")
    committer.drain()
    names = {name: (tmp_path / name).exists() for name in NAMES}
    (kept,) = [name for name, there in names.items() if there]
    on_disk = (tmp_path / kept).read_bytes()
    journal.fail_sync(errno.EIO)
    state.py_deliver(1)
    state.py_ack(1)
    committer.run_now()                            # a checkpoint in the other file
    assert (tmp_path / kept).read_bytes() == on_disk
    assert len([name for name in NAMES if (tmp_path / name).exists()]) == 2
    committer.drain()
    journal.close()
    assert ConsumerJournal(str(tmp_path), Committer("never")).recovered()["c"][1].floor_stream_seq == 1


def test_a_swap_that_is_refused_is_made_again_in_the_same_file(tmp_path):
    disk = Full()
    files = JournalFiles(str(tmp_path), checksum, disk=disk.disk)
    files.recover()
    files.swap(1)
    files.append(b"first")
    files.synced()
    disk.full = True
    for generation in (2, 3):
        with pytest.raises(OSError, match="No space"):
            files.swap(generation)
            files.append(b"another")
    assert JournalFiles(str(tmp_path), checksum).recover() == (1, [b"first"])
    disk.full = False
    files.swap(4)
    files.append(b"another")
    assert JournalFiles(str(tmp_path), checksum).recover() == (4, [b"another"])
    files.close()


def test_a_catalog_waits_for_room_and_keeps_the_old_value_meanwhile(tmp_path):
    disk = Full()
    committer = Committer("always", disk.disk)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    told = []
    catalog.save(b"old", lambda _: told.append("old"))
    committer.drain()
    disk.full = True
    catalog.save(b"new", lambda _: told.append("new"))
    committer.drain()
    assert told == ["old"] and not catalog.failure
    assert Catalog(str(tmp_path / "stream"), Committer("never")).load() == b"old", "and it starts on a full disk"
    disk.full = False
    committer.retry()
    committer.drain()
    assert told == ["old", "new"]
    catalog.close()
    assert Catalog(str(tmp_path / "stream"), Committer("never")).load() == b"new"


def test_a_closed_catalog_that_waited_for_room_writes_no_more(tmp_path):
    """Its stream was deleted: nothing may come back in the slot that was emptied."""
    disk = Full()
    committer = Committer("always", disk.disk)
    catalog = Catalog(str(tmp_path / "stream"), committer)
    catalog.save(b"kept")
    committer.drain()
    disk.full = True
    catalog.save(b"waits")
    committer.drain()
    catalog.close()
    for path in tmp_path.iterdir():
        path.unlink()
    for disk.full in (True, False):
        committer.retry()
        committer.drain()
        assert list(tmp_path.iterdir()) == []


