"""What may happen to one file at rest. Each damage changes a copy of a store and says in words what it did.

Damages touch one file (a swap two): the promise is about one fault at a time.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

SECTOR_BYTES = 4096

Damage = Callable[[random.Random, Path, Path, Path], str]
"""(rng, the file, the slot's earlier copy, another stream's slot) -> in words; "" when it changed nothing."""


def patched(path: Path, at: int, data: bytes) -> str:
    before = path.read_bytes()
    after = before[:at] + data + before[at + len(data) :]
    path.write_bytes(after)
    return f"{path.name} at {at}: {len(data)} bytes" if after != before else ""


def flip(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    data = path.read_bytes()
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    patched(path, at, bytes([data[at] ^ 1 << bit]))
    return f"{path.name}: bit {bit} of byte {at}"


def several_bits(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    data = path.read_bytes()
    at = rng.randrange(len(data))
    for _ in range(rng.randrange(2, 6)):
        bit = min(at * 8 + rng.randrange(64), len(data) * 8 - 1)
        flipped = bytearray(path.read_bytes())
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
    return f"{path.name}: several bits from byte {at} on" if path.read_bytes() != data else ""


def _sector(rng: random.Random, path: Path) -> tuple[int, int]:
    size = path.stat().st_size
    at = rng.randrange(size) // SECTOR_BYTES * SECTOR_BYTES
    return at, min(SECTOR_BYTES, size - at)


def zeroed(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    at, n = _sector(rng, path)
    return patched(path, at, bytes(n))


def garbage(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    at, n = _sector(rng, path)
    return patched(path, at, rng.randbytes(n))


def misdirected(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    """A sector of another place of the same file."""
    data = path.read_bytes()
    at, n = _sector(rng, path)
    come_from = rng.randrange(len(data)) // SECTOR_BYTES * SECTOR_BYTES
    return patched(path, at, data[come_from : come_from + n])


def truncated(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    data = path.read_bytes()
    left = rng.choice((0, rng.randrange(len(data)), rng.randrange(len(data)) // SECTOR_BYTES * SECTOR_BYTES))
    path.write_bytes(data[:left])
    return f"{path.name}: cut to {left} of {len(data)} bytes"


def deleted(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    path.unlink()
    return f"{path.name}: deleted"


def rolled_back(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    """The file as it was once."""
    former = early / path.name
    if not former.exists() or former.read_bytes() == path.read_bytes():
        return ""
    shutil.copyfile(former, path)
    return f"{path.name}: as it was before"


def old_sector(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    """A write that never reached the disk: one sector is as it was once."""
    former = early / path.name
    at, n = _sector(rng, path)
    if not former.exists() or former.stat().st_size < at + n:
        return ""
    return patched(path, at, former.read_bytes()[at : at + n])


def swapped(rng: random.Random, path: Path, early: Path, other: Path) -> str:
    """With another file of its slot, or of another stream."""
    group = path.name.partition(".")[0]
    slot = rng.choice((path.parent, other))
    names = sorted(each for each in slot.iterdir() if each.name.partition(".")[0] == group and each != path)
    if not names:
        return ""
    with_ = rng.choice(names)
    mine, theirs = path.read_bytes(), with_.read_bytes()
    path.write_bytes(theirs)
    with_.write_bytes(mine)
    return f"{path.name}: swapped with {with_.parent.name}/{with_.name}" if mine != theirs else ""


DAMAGES: dict[str, Damage] = {
    each.__name__: each
    for each in (flip, several_bits, zeroed, garbage, misdirected, truncated, deleted, rolled_back, old_sector, swapped)
}
