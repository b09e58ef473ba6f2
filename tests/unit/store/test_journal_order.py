"""What consumers know of a removal is on disk behind the removal: the journal waits for the log."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from millpond.store.api import RecordingOwner
from millpond.store.committer import Committer
from millpond.store.consumer_image import image_of, take_back
from millpond.store.consumer_journal import ConsumerJournal
from millpond.store.consumer_state import ConsumerState
from millpond.store.disk import Disk
from millpond.store.file_store import FileStore
from millpond.store.read_cache import ReadCache
from millpond.testing.disk_image import DiskImage
from millpond.testing.simulated_disk import SYNCED, WRITE, SimulatedDisk

from millpond.store.consumer_file import NAMES


class Rig:
    """A log and a journal on a disk whose syncs end when `end_one` says so. `what`: by the trace's files."""

    def __init__(self, folder: Path, sync: str = "always") -> None:
        self.disk = SimulatedDisk(str(folder))
        self.disk.next_job = lambda: -1
        self.seen = 0
        self.committer, self.cache = Committer(sync, self.disk), ReadCache(disk=self.disk)
        self.store = FileStore(str(folder), self.committer, self.cache, RecordingOwner())
        self.journal = ConsumerJournal(str(folder), self.committer, 7, self.store)
        self.state = self.journal.open_consumer("c", b"{}")
        for i in range(20):
            self.store.append_message(b"s", b"%d" % i, b"", i + 1)
        self.drain()

    def drain(self) -> None:
        self.disk.next_job = lambda: 0
        self.committer.drain()
        self.disk.next_job = lambda: -1

    def end_one(self) -> None:
        """One sync ends, the first that was asked for, and what follows from it is written."""
        order = iter([0])
        self.disk.next_job = lambda: next(order, -1)
        self.committer.collect()
        self.disk.next_job = lambda: -1
        self.committer.run_now()

    def write_on(self) -> None:
        """What is written in parts goes on, while the sync that was asked for first does not end."""
        self.committer.run_now()
        while self.committer.in_flight() > 1:
            order = iter([1])
            self.disk.next_job = lambda order=order: next(order, -1)
            self.committer.collect()
        self.disk.next_job = lambda: -1

    def remove(self, seq: int) -> None:
        """The consumer hears of it, as a consumer does."""
        self.store.remove_message(seq)
        self.state.py_knows_of(self.store.position)
        self.state.py_ack(seq)

    def written(self) -> list[str]:
        """"log" and "journal", in the order of their writes and syncs since the last call."""
        names = {file: path for path, file in self.disk.files().items() if file is not None}
        found = []
        for step in self.disk.trace[self.seen :]:
            name = names.get(step[1], "") if step[0] in (WRITE, SYNCED) else ""
            kind = "log" if name.startswith("/log.") else "journal" if name[1:] in NAMES else ""
            if kind:
                found.append(kind if step[0] == WRITE else kind + " synced")
        self.seen = len(self.disk.trace)
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.written()
    yield made
    close(made)


def close(rig: Rig) -> None:
    rig.disk.next_job, rig.disk.fault = (lambda: 0), None
    rig.store.close()
    rig.journal.close()
    rig.cache.close()
    rig.committer.close()


def test_what_follows_from_a_removal_is_written_when_that_is_on_disk(rig: Rig) -> None:
    for seq in (1, 2, 3):
        rig.state.py_deliver(seq)
    rig.remove(2)
    rig.committer.run_now()
    assert rig.written() == ["log"]
    rig.end_one()
    assert rig.written() == ["log synced", "journal"]
    rig.end_one()
    assert rig.written() == ["journal synced"]
    assert rig.journal.committed_position == rig.journal.position


def test_an_acknowledgement_waits_for_nothing(rig: Rig) -> None:
    rig.state.py_deliver(1)
    rig.store.append_message(b"s", b"more")
    rig.store.remove_message(9)            # of which the consumer has not heard: another one acknowledged it
    rig.state.py_ack(1)
    rig.committer.run_now()
    assert sorted(rig.written()) == ["journal", "log"]


def test_what_is_passed_over_is_on_disk_before_a_consumer_has_it_behind_it(rig: Rig) -> None:
    rig.state.py_reset(20)
    rig.committer.run_now()
    assert rig.written() == ["journal"], "all of it was committed"
    rig.drain()
    rig.written()
    rig.store.append_message(b"s", b"more")
    rig.state.py_reset(21)
    rig.committer.run_now()
    assert rig.written() == ["log"]
    rig.store.append_message(b"s", b"later")
    rig.end_one()
    assert rig.written() == ["log synced", "log", "journal"], "it waits for no message that came since"


def test_removals_without_end_do_not_keep_it_from_being_written(rig: Rig) -> None:
    """The log is never through with all of them: what waits waits for those before it."""
    for seq in range(1, 20):
        rig.state.py_deliver(seq)
    for seq in range(1, 20):
        rig.remove(seq)
        rig.committer.run_now()
        rig.end_one()
    assert rig.written().count("journal") >= 6


def test_a_checkpoint_is_whole_when_its_removals_are_on_disk(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for seq in range(1, 20):
        rig.state.py_deliver(seq)
    rig.journal.step_bytes = 64
    rig.store.append_message(b"s", b"more")
    rig.committer.run_now()                # the log's sync is the first one, and does not end
    rig.journal.fail_write()               # a new checkpoint takes the place of what was gathered
    rig.remove(3)
    before = rig.journal.checkpoint_steps
    for _ in range(30):
        rig.write_on()
    assert rig.journal.checkpoint_steps - before > 3 and rig.journal.committed_position < rig.journal.position
    found = found_in(tmp_path)
    assert found is None or found.delivered_stream_seq == 0, "the old file is the truth"
    rig.drain()
    assert rig.journal.committed_position == rig.journal.position
    close(rig)
    assert [row[0] for row in found_in(tmp_path).pending()] == [1, 2, *range(4, 20)]


def found_in(folder: Path) -> Any:
    found = ConsumerJournal(str(folder), Committer("never"), 7).recovered()
    return found["c"][1] if found else None


def test_what_waits_long_stays_small(rig: Rig) -> None:
    rig.state.py_deliver(1)
    rig.remove(1)
    rig.committer.run_now()
    for seq in range(2, 10_000):
        rig.state.py_deliver(seq)
        rig.state.py_ack(seq)
        rig.committer.run_now()
    assert rig.journal.gathered() < 2 * 65536
    assert rig.journal.committed_position < rig.journal.position
    rig.drain()
    assert rig.journal.committed_position == rig.journal.position


@pytest.mark.usefixtures("quiet")
def test_a_log_that_fails_fails_what_waits_for_it(rig: Rig) -> None:
    rig.state.py_deliver(1)
    rig.remove(1)
    told: list[str] = []
    rig.journal.on_failed = lambda: told.append(rig.journal.failure)
    rig.committer.run_now()
    rig.disk.fault = lambda kind: errno.EIO if kind == "sync" else 0
    rig.end_one()
    assert rig.store.failure and len(told) == 1 and rig.store.failure in told[0]
    assert "journal" not in rig.written()


@pytest.mark.usefixtures("quiet")
def test_a_log_that_fails_leaves_a_journal_alone_that_does_not_wait(rig: Rig) -> None:
    rig.state.py_deliver(1)
    rig.store.append_message(b"s", b"more")
    rig.committer.run_now()
    rig.disk.fault = lambda kind: errno.EIO if kind == "sync" else 0
    rig.end_one()
    rig.disk.fault = None
    rig.state.py_knows_of(rig.store.position)      # it looked at what there is
    rig.state.py_ack(1)
    rig.drain()
    assert rig.store.failure and not rig.journal.failure
    assert rig.journal.committed_position == rig.journal.position


def test_what_waits_is_written_before_a_stop(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.state.py_deliver(1)
    rig.state.py_deliver(2)
    rig.remove(1)
    rig.committer.run_now()
    close(rig)
    assert [row[0] for row in found_in(tmp_path).pending()] == [2]


@pytest.mark.parametrize("sync", ["interval", "never"])
def test_without_syncs_the_log_is_written_first(tmp_path: Path, sync: str) -> None:
    rig = Rig(tmp_path, sync)
    rig.written()
    rig.state.py_deliver(1)
    rig.remove(1)
    for _ in range(3):
        rig.committer.run_now()
    assert rig.written() == ["log", "journal"]
    close(rig)


# --- taking back ---


def test_a_state_is_taken_back_as_it_was() -> None:
    state = ConsumerState()
    for seq in range(1, 30):
        state.py_deliver(seq, seq)
    state.py_redeliver(4, 77)
    state.py_exhaust(9)
    for seq in (1, 2, 3, 20):
        state.py_ack(seq, 50)
    before = (state.info(), state.pending(), state.exhausted(), state.began_stream_seq)
    image = image_of(state)
    state.py_reset(11)
    state.py_deliver(12, 90)
    take_back(state, image)
    assert (state.info(), state.pending(), state.exhausted(), state.began_stream_seq) == before
    assert state.check() == []


def test_what_was_taken_back_is_in_the_journal_too(tmp_path: Path) -> None:
    journal = ConsumerJournal(str(tmp_path), Committer(0))
    state = journal.open_consumer("c", b"{}")
    for seq in range(1, 6):
        state.py_deliver(seq, seq)
    image = image_of(state)
    state.py_reset(2)
    state.py_deliver(3, 9)
    take_back(state, image)
    state.py_ack(1, 10)
    expected = state.info(), state.pending()
    journal.close()
    again = ConsumerJournal(str(tmp_path), Committer(0)).recovered()["c"][1]
    assert (again.info(), again.pending()) == expected


def test_a_no_op_advance_changes_nothing_that_is_not_in_the_journal(tmp_path: Path) -> None:
    journal = ConsumerJournal(str(tmp_path), Committer(0))
    state = journal.open_consumer("c", b"{}")
    for seq in (1, 2, 7):
        state.py_deliver(seq, seq)
    state.py_ack_through(2, 2)
    state.py_cut(5)
    state.py_advance(1)
    expected = state.info(), state.pending()
    assert state.info()["ack_floor"]["consumer_seq"] == 3, "nothing is left that was delivered and not settled"
    journal.close()
    again = ConsumerJournal(str(tmp_path), Committer(0)).recovered()["c"][1]
    assert (again.info(), again.pending()) == expected


# --- no descriptor is left ---


class WithoutDescriptors(Disk):
    def contents(self, path: str, most: int | None = None) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_journal_that_cannot_be_opened_now_is_not_damaged(tmp_path: Path) -> None:
    journal = ConsumerJournal(str(tmp_path), Committer(0))
    journal.open_consumer("c", b"{}")
    journal.close()

    with pytest.raises(OSError, match="open files"):
        ConsumerJournal(str(tmp_path), Committer(0, WithoutDescriptors()))
    assert set(ConsumerJournal(str(tmp_path), Committer(0)).recovered()) == {"c"}


def test_the_name_of_a_file_is_made_anew_when_its_sync_has_failed(tmp_path: Path) -> None:
    """A later one that succeeds says nothing of it."""
    (tmp_path / "first").mkdir()
    disk = SimulatedDisk(str(tmp_path / "first"))
    committer = Committer("always", disk)
    journal = ConsumerJournal(str(tmp_path / "first"), committer, 7)
    state = journal.open_consumer("c", b"{}")
    for seq in (1, 2, 3):
        state.py_deliver(seq)
    committer.drain()
    left = [errno.EIO]                     # of the directory, which is synced first
    disk.fault = lambda kind: left.pop() if left and kind == "sync" else 0
    journal.fail_write()                   # a checkpoint in the other file
    state.py_ack(1)
    committer.drain()
    assert not left and not journal.failure and journal.committed_position == journal.position
    for seed in range(30):
        image = DiskImage({"": None}, {}, Random(seed))
        for step in disk.trace:
            image.feed(step)
        folder = tmp_path / f"cut{seed}"
        folder.mkdir()
        for path, data in image.image(Random(seed), "everything").items():
            if data is not None:
                (folder / path[1:]).write_bytes(data)
        found = found_in(folder)
        assert found is not None and found.floor_stream_seq == 1, f"cut {seed}"
    journal.close()
    committer.close()
