"""An orderly stop on a disk that refuses."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from creation_rig import Rig
from millpond.testing.simulated_disk import SimulatedDisk


def open_below(folder: Path) -> list[str]:
    """What this process holds open there."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in found if path.startswith(str(folder))]


def test_a_stream_that_cannot_be_closed_in_order_keeps_no_other_from_it(tmp_path: Path) -> None:
    disk = SimulatedDisk(str(tmp_path))
    rig = Rig(tmp_path, disk)
    for name in ("A", "B"):
        rig.create(name)
        rig.broker.router.publish(name.encode(), b"x", b"", b"")
        rig.settle()
    refusals = [errno.EIO]
    disk.fault = lambda kind: refusals.pop() if kind == "write" and refusals else 0
    rig.stop()
    assert not refusals and open_below(tmp_path) == []
    rig.start()
    assert [rig.engine.streams[name].state()["messages"] for name in ("A", "B")] == [1, 1]
    rig.stop()
