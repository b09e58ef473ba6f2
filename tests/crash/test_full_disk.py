"""A real small file system that becomes full under pipelined load, and has room again."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .full_disk import Filler, FullDisk, small_disk
from .model import NO_SUCH_MESSAGE, Delete, Model, Violation

SEED = int(os.environ.get("MILLPOND_CRASH_SEED", "1"))
CYCLES = int(os.environ.get("MILLPOND_FULL_DISK_CYCLES", "200"))


def cycles(tmp_path: Path, count: int, seed: int) -> FullDisk:
    if os.uname().sysname != "Linux" or os.geteuid() != 0:
        pytest.skip("mounts a tmpfs of its own, which takes root on Linux")
    try:
        with small_disk(tmp_path / "disk") as disk:
            campaign = FullDisk(disk, seed)
            campaign.run(count, kill_every=5)
    except PermissionError as error:
        pytest.skip(str(error))
    return campaign


def report(campaign: FullDisk, count: int, seed: int) -> None:
    resumed_s = sorted(campaign.resumed_s)
    print(
        f"{count} full-disk cycles, seed {seed}: {campaign.acks} acknowledged, {campaign.refusals} refused, "
        f"taken again after {resumed_s[len(resumed_s) // 2]:.2f} s ({resumed_s[-1]:.2f} s at most)"
    )


def test_a_refused_deletion_says_nothing_behind_what_was_not_answered() -> None:
    writer = Filler(Model({"name": "LAST"}, {1: ("last.1", b"x")}, 1), random.Random(1))
    writer.operations[:] = [Delete(1), Delete(1)]
    writer.found[1] = ("error", NO_SUCH_MESSAGE)
    assert writer.outcome().messages == {1: ("last.1", b"x")}
    writer.found[0] = ("deleted", 0)
    assert writer.outcome().messages == {}
    writer.found[0] = writer.found[1]
    with pytest.raises(Violation, match="answered"):
        writer.outcome()


def test_some_full_disks(tmp_path: Path) -> None:
    campaign = cycles(tmp_path, 20, SEED)
    assert campaign.acks > 0 and campaign.refusals >= 20 * 200
    report(campaign, 20, SEED)


@pytest.mark.slow
def test_many_full_disks(tmp_path: Path) -> None:
    report(cycles(tmp_path, CYCLES, SEED), CYCLES, SEED)
