"""`make soak MINUTES=30`; the tests run a short form of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .soak import Soak

SEED = int(os.environ.get("MILLPOND_SOAK_SEED", "1"))
MINUTES = float(os.environ.get("MILLPOND_SOAK_MINUTES", "30"))
OUT = os.environ.get("MILLPOND_SOAK_OUT", "")


def test_a_short_soak() -> None:
    result = Soak(seconds=15, seed=SEED, life_s=2, burst=8).run()
    print(result.text())
    assert result.terms + result.kills > 0
    assert result.operations > 0
    assert result.deliveries > 0


@pytest.mark.slow
def test_a_long_soak(tmp_path: Path) -> None:
    result = Soak(60 * MINUTES, SEED, life_s=30, burst=24, report=Path(OUT) if OUT else tmp_path / "memory.csv").run()
    print(result.text())
    assert result.terms > 0
    assert result.kills > 0
