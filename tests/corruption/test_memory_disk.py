"""A disk in memory does what the real one does, and is put back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from millpond.store.disk import Disk
from millpond.testing.memory_disk import MemoryDisk, files_in

NAMES = ("a", "b", "folder", "folder/c", "folder/d", "missing/e")


class Both:
    """What is done to a folder of the real disk, and to one in memory."""

    def __init__(self, root: Path) -> None:
        (root / "folder").mkdir()
        (root / "a").write_bytes(b"sound")
        self.root, self.real, self.memory = str(root), Disk(), MemoryDisk(str(root), files_in(root))
        self.open: list[tuple[int, int]] = []

    def do(self, what: str, *arguments: object) -> None:
        """The same outcome, or the same error."""
        outcomes = []
        for disk in (self.real, self.memory):
            try:
                outcomes.append(getattr(disk, what)(*arguments))
            except OSError as error:
                outcomes.append(error.errno)
        assert outcomes[0] == outcomes[1], (what, arguments)

    def do_open(self, path: str) -> None:
        fds = []
        for disk in (self.real, self.memory):
            try:
                fds.append(disk.open_path(path))
            except OSError as error:
                fds.append(-error.errno)
        if min(fds) < 0:
            assert fds[0] == fds[1]
        else:
            self.open.append((fds[0], fds[1]))

    def do_to_file(self, rng: random.Random) -> None:
        real, memory = rng.choice(self.open)
        at, data = rng.randrange(9000), rng.randbytes(rng.randrange(9000))
        for disk, fd in ((self.real, real), (self.memory, memory)):
            kind = rng.getstate()
            match rng.randrange(5):
                case 0:
                    disk.truncate(fd, at)
                case 1:
                    disk.allocate(fd, 0, at)
                case _:
                    disk.put(fd, data, at)
            if disk is self.real:
                rng.setstate(kind)
        assert self.real.size(real) == self.memory.size(memory)

    def same(self) -> None:
        for folder in ("", "/folder"):
            self.do("names", self.root + folder)
        for name in NAMES:
            path = f"{self.root}/{name}"
            if name != "folder":
                self.do("size_at", path)
                self.do("contents", path)
                self.do("contents", path, 4000)
            self.do("is_directory", path)

    def close(self) -> None:
        for real, memory in self.open:
            self.real.close(real)
            self.memory.close(memory)
        self.open.clear()


@pytest.mark.parametrize("seed", range(8))
def test_what_the_real_one_does(tmp_path: Path, seed: int) -> None:
    rng, both = random.Random(seed), Both(tmp_path)
    for _ in range(400):
        path, other = (f"{tmp_path}/{rng.choice(NAMES)}" for _ in range(2))
        match rng.randrange(9):
            case 0:
                both.do("remove", path)
            case 1:
                if path != other and not any(Path(each).is_dir() for each in (path, other)):
                    both.do("move", path, other)
            case 2:
                both.do("make_directory", f"{tmp_path}/folder")
            case 3:
                both.do("remove_directory", f"{tmp_path}/folder")
            case 4:
                both.do("touch", path)
            case 5:
                both.do_open(path)
            case _:
                if both.open:
                    both.do_to_file(rng)
        if len(both.open) > 5:
            both.close()
        both.same()
    both.close()


def test_everything_is_put_back(tmp_path: Path) -> None:
    both = Both(tmp_path)
    disk, path = both.memory, f"{tmp_path}/a"
    disk.flip(path, 9)
    assert disk.contents(path) == b"s" + bytes([ord("o") ^ 2]) + b"und"
    disk.remove(path)
    disk.touch(f"{tmp_path}/folder/c")
    fd = disk.open_path(path)
    disk.put(fd, b"longer than before", 3)
    with pytest.raises(AssertionError, match="not closed"):
        disk.put_back()
    disk.close(fd)
    disk.put_back()
    both.same()
    with pytest.raises(OSError, match="descriptor"):
        disk.size(fd)
