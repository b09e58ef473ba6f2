"""The disk that forgets: what must be there after a cut is there, what may be missing can be."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .disk_trace import ALLOCATE, MKDIR, OPEN, RENAME, SYNC_BEGIN, SYNC_END, UNLINK, WRITE, Disk, Event, Outbox

ROOT_INODE, FILE = 1, 7


class Tape:
    """Events with their numbers."""

    def __init__(self, root: Path) -> None:
        self.disk, self.root, self._number, self._syncs = Disk(root), str(root.resolve()), 0, 0
        self.event(OPEN, identity=1, inode=ROOT_INODE, data=self.root.encode())

    def event(self, kind: int, *, identity: int = 0, inode: int = 0, a: int = 0, b: int = 0, data: bytes = b"") -> None:
        self.disk.feed(Event(self._number, kind, identity, inode, a, b, data))
        self._number += 1

    def create(self, name: str, inode: int = FILE) -> None:
        self.event(OPEN, inode=inode, a=1, data=f"{self.root}/{name}".encode())

    def write(self, data: bytes, at: int = 0) -> None:
        self.event(WRITE, inode=FILE, a=at, data=data)

    def sync(self, inode: int, meanwhile: bytes = b"") -> None:
        self._syncs += 1
        identity = self._syncs
        self.event(SYNC_BEGIN, identity=identity, inode=inode)
        if meanwhile:
            self.write(meanwhile, 100)
        self.event(SYNC_END, identity=identity, inode=inode)


def cut(tape: Tape, folder: Path, survive: str, seed: int = 0) -> dict[str, bytes]:
    target = folder / f"{survive}-{seed}"
    target.mkdir()
    tape.disk.write_out(target, random.Random(seed), survive)
    return {path.name: path.read_bytes() for path in target.iterdir() if path.is_file()}


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    (tmp_path / "root").mkdir()
    return Tape(tmp_path / "root")


def test_a_name_needs_the_sync_of_its_directory(tape: Tape, tmp_path: Path) -> None:
    tape.create("f")
    tape.write(b"one")
    tape.sync(FILE)
    assert cut(tape, tmp_path, "nothing") == {}
    assert cut(tape, tmp_path, "everything") == {"f": b"one"}
    tape.sync(ROOT_INODE)
    assert cut(tape, tmp_path, "nothing", 1) == {"f": b"one"}


def test_what_is_written_while_a_sync_runs_is_not_covered_by_it(tape: Tape, tmp_path: Path) -> None:
    tape.create("f")
    tape.sync(ROOT_INODE)
    tape.write(b"one")
    tape.sync(FILE, meanwhile=b"two")
    assert cut(tape, tmp_path, "nothing")["f"] == b"one"
    assert cut(tape, tmp_path, "everything")["f"] == b"one" + bytes(97) + b"two"


def test_any_sectors_of_an_unsynced_write_may_arrive(tape: Tape, tmp_path: Path) -> None:
    tape.create("f")
    tape.sync(ROOT_INODE)
    tape.event(ALLOCATE, inode=FILE, b=4096)
    tape.sync(FILE)
    tape.write(b"x" * 2048)
    states = {cut(tape, tmp_path, "something", seed)["f"] for seed in range(60)}
    assert all(len(state) == 4096 and not state[2048:].strip(b"\0") for state in states)
    sectors = {tuple(state[at : at + 512] == b"x" * 512 for at in range(0, 2048, 512)) for state in states}
    assert (True, True, True, True) in sectors
    assert (False, False, False, False) in sectors
    assert any(torn.index(False) < 3 and True in torn[torn.index(False) :] for torn in sectors if False in torn)


def test_renames_and_removals(tape: Tape, tmp_path: Path) -> None:
    tape.create("f")
    tape.write(b"one")
    tape.sync(FILE)
    tape.sync(ROOT_INODE)
    tape.event(RENAME, data=f"{tape.root}/f\0{tape.root}/g".encode())
    assert set(cut(tape, tmp_path, "nothing")) == {"f"}
    assert {frozenset(cut(tape, tmp_path, "something", seed)) for seed in range(20)} == {frozenset("f"), frozenset("g")}
    tape.sync(ROOT_INODE)
    tape.event(UNLINK, data=f"{tape.root}/g".encode())
    assert set(cut(tape, tmp_path, "nothing", 1)) == {"g"}
    assert cut(tape, tmp_path, "everything") == {}


@pytest.mark.parametrize("name", ["f", "g"])
def test_a_removed_file_comes_back_as_it_was_not_as_its_inodes_next_life(tape: Tape, tmp_path: Path, name: str) -> None:
    tape.create("f")
    tape.write(b"one")
    tape.sync(FILE)
    tape.sync(ROOT_INODE)
    tape.event(UNLINK, data=f"{tape.root}/f".encode())
    tape.create(name)
    tape.write(b"another")
    tape.sync(FILE)
    assert cut(tape, tmp_path, "nothing") == {"f": b"one"}
    assert cut(tape, tmp_path, "everything") == {name: b"another"}
    possible: tuple[dict[str, bytes], ...] = ({"f": b"one"}, {}, {name: b"another"})
    assert all(cut(tape, tmp_path, "something", seed) in possible for seed in range(20))


def test_an_inode_that_moves_to_another_directory_takes_nothing_along(tape: Tape, tmp_path: Path) -> None:
    """What the sync of the other directory makes certain is its new file, not the removal of the old one."""
    tape.create("f")
    tape.write(b"one")
    tape.sync(FILE)
    tape.event(MKDIR, identity=1, inode=8, data=f"{tape.root}/d".encode())
    tape.sync(ROOT_INODE)
    tape.event(UNLINK, data=f"{tape.root}/f".encode())
    tape.create("d/g")
    tape.write(b"another")
    tape.sync(FILE)
    tape.sync(8)
    assert cut(tape, tmp_path, "nothing") == {"f": b"one"}
    assert (tmp_path / "nothing-0" / "d" / "g").read_bytes() == b"another"


def test_frames_are_put_together_from_pieces() -> None:
    outbox = Outbox()
    pieces = [b"INFO {}\r\nPONG\r\nMSG a 1 5\r\nhe", b"llo\r\nHMSG b 1 r 12 1", b"4\r\nNATS/1.0\r\n\r\nhi\r\n"]
    for number, piece in enumerate(pieces):
        outbox.feed(Event(number, 10, 4, 0, 0, 0, piece))
    assert [(number, subject) for number, subject, _ in outbox.messages] == [(1, "a"), (2, "b")]
    assert outbox.messages[0][2] == b"hello"
