"""Kill -9 under pipelined load: nothing that was answered is lost, changed, invented or brought back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .campaign import Campaign

SEED = int(os.environ.get("MILLPOND_CRASH_SEED", "1"))
KILLS = int(os.environ.get("MILLPOND_CRASH_KILLS", "200"))


@pytest.mark.parametrize(("sync", "kills"), [("always", 4), ("never", 2)])
def test_a_few_kills(tmp_path: Path, sync: str, kills: int) -> None:
    campaign = Campaign(tmp_path, SEED, sync)
    campaign.run(kills)
    assert campaign.answers > 0


@pytest.mark.slow
def test_many_kills(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, SEED)
    campaign.run(KILLS)
    print(f"{KILLS} kills, {campaign.answers} answers checked, seed {SEED}")
