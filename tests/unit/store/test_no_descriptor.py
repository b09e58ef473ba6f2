"""All descriptors are used up: nothing is wrong with the disk, and what needs a file waits or is refused."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from file_rig import SMALL, bodies, rig
from millpond.store.checksum import checksum
from millpond.testing.numbered_disk import NumberedDisk
from millpond.testing.simulated_disk import SimulatedDisk

from millpond.store.consumer_file import JournalFiles


class UsedUp:
    """Says so while `used_up`."""

    def __init__(self) -> None:
        self.used_up = False

    def __call__(self, number: int, kind: str, path: str) -> int:
        return errno.EMFILE if self.used_up and kind in ("open", "make") else 0


def disk_of(root: Path) -> tuple[NumberedDisk, UsedUp]:
    used_up = UsedUp()
    return NumberedDisk(SimulatedDisk(str(root)), used_up), used_up


def test_a_message_whose_file_cannot_be_opened_is_not_taken_for_damaged(tmp_path: Path) -> None:
    disk, all_of_them = disk_of(tmp_path)
    with rig(tmp_path, disk=disk) as r:
        store = r.open()
        for number in range(20):
            store.append_message(b"a", b"%d" % number + bytes(900))
        r.commit()
        store = r.reopen()                         # with hardly a file open
        short: list[int] = []
        r.committer.space.on_short = lambda: short.append(1)
        all_of_them.used_up = True
        cold = [seq for seq in range(1, 21) if store.load_message(seq, False) == "cold"]
        assert cold and short, "somebody is to try again"
        with pytest.raises(OSError, match="Too many open files"):
            store.load_message(cold[0])
        all_of_them.used_up = False
        r.committer.retry()
        assert ("warm",) in store.owner.told
        assert len(bodies(store)) == 20 and store.lost == 0


def test_an_append_is_refused_and_a_removal_waits(tmp_path: Path) -> None:
    disk, all_of_them = disk_of(tmp_path)
    with rig(tmp_path, disk=disk) as r:
        store = r.open()
        store.append_message(b"a", b"1")
        r.commit()
        all_of_them.used_up = True
        while True:
            try:
                store.append_message(b"a", bytes(900))
            except OSError as error:
                assert error.errno == errno.EMFILE
                break
        last_seq = store.state_dict()["last_seq"]
        for seq in range(1, last_seq + 1):
            store.remove_message(seq, True)        # their record has no room in the last segment
        r.turn()
        assert not store.failure and store.committed_position < store.position
        all_of_them.used_up = False
        r.committer.retry()
        r.commit()
        assert store.committed_position == store.position
        assert store.append_message(b"a", b"again") == last_seq + 1
        assert bodies(r.reopen()) == {last_seq + 1: b"again"}


def test_a_journal_that_cannot_be_opened_is_not_taken_for_damaged(tmp_path: Path) -> None:
    disk, all_of_them = disk_of(tmp_path)
    files = JournalFiles(str(tmp_path), checksum, disk=disk)
    files.recover()
    files.swap(1)
    files.append(b"checkpoint")
    files.close()
    all_of_them.used_up = True
    again = JournalFiles(str(tmp_path), checksum, disk=disk)
    with pytest.raises(OSError, match="Too many open files"):
        again.recover()
    assert again.damage == []
    all_of_them.used_up = False
    assert again.recover() == (1, [b"checkpoint"])


assert SMALL < 20 * 900, "several segments"
