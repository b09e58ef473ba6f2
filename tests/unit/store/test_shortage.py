"""No descriptor is left, or no memory: that says nothing about the files, so nothing is lost by it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_rig import Rig, rig
from millpond.testing.simulated_disk import SimulatedDisk

SHORT = [errno.EMFILE, errno.ENFILE, errno.ENOMEM]


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Rig]:
    """Several segments; nothing of the old ones is in memory."""
    with rig(tmp_path, disk=SimulatedDisk(str(tmp_path))) as made:
        store = made.open()
        for i in range(60):
            store.append_message(b"s", b"%d" % i * 300, b"", i + 1)
            made.commit()
        assert len(made.segments()) > 6
        made.reopen()
        forget(made)
        yield made
        made.cache.disk.fault = None


def forget(made: Rig) -> None:
    """Only four sealed segments stay open."""
    made.cache.resize(0)
    assert made.store is not None
    for seq in range(1, 61):
        made.store.load_message(seq)


def open_in(folder: Path) -> list[str]:
    """What this process holds open there."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in found if path.startswith(str(folder))]


def refusing(made: Rig, code: int) -> None:
    made.cache.disk.fault = lambda asked: code if asked in ("open", "read") else 0


@pytest.mark.parametrize("code", SHORT)
def test_a_message_whose_segment_cannot_be_opened_now_is_read_later(filled: Rig, code: int) -> None:
    store = filled.store
    assert store is not None
    refusing(filled, code)
    assert store.load_message(1, False) == "cold"
    with pytest.raises(OSError) as raised:
        store.load_message(1)
    assert raised.value.errno == code
    filled.cache.disk.fault = None
    found: Any = store.load_message(1)
    assert found["body"] == b"0" * 300 and store.lost == 0 and store.has(1)


def test_who_waits_for_it_is_told_once(filled: Rig) -> None:
    store = filled.store
    assert store is not None
    refusing(filled, errno.EMFILE)
    store.owner.told.clear()
    assert store.load_message(1, False) == store.load_message(2, False) == "cold"
    assert store.owner.told == []
    filled.committer.retry()
    assert store.owner.told == [("warm",)]
    assert store.load_message(1, False) == "cold"
    filled.committer.retry()
    assert store.owner.told == [("warm",)] * 2


@pytest.mark.parametrize("code", SHORT)
def test_a_start_fails_and_changes_nothing(filled: Rig, code: int) -> None:
    filled.close()
    before = {path.name: path.read_bytes() for path in filled.root.iterdir()}
    for later in range(100):
        left = later

        def fault(asked: str) -> int:
            nonlocal left
            left -= asked == "open"
            return code if left < 0 else 0

        filled.cache.disk.fault = fault
        try:
            filled.open()
        except OSError as error:
            assert error.errno == code
        else:
            assert filled.store is not None and filled.store.damage == [] and filled.store.lost == 0
            filled.cache.disk.fault = None
            filled.close()
            break
        assert {path.name: path.read_bytes() for path in filled.root.iterdir()} == before
        assert open_in(filled.root) == []
    else:
        raise AssertionError("it never opens")
