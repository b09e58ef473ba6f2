"""Power cuts in simulated lives. `make simulate SEEDS=10000 CUTS=1000000` runs many more than the tests do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from millpond.testing.disk_image import DiskImage
from stream_model_rules import START_NS

from .campaign import Campaign
from .life import Life
from .world import World, simulated

FAILED = [
    (int(line.split()[0]), int(line.split()[1]))
    for line in Path(__file__).with_name("failed_seeds.txt").read_text().splitlines()
]
"""Seeds that have found something, and with how many cuts; a word why stands behind."""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", range(8))
def test_a_life_survives_its_power_cuts(seed: int) -> None:
    with simulated(seed):
        Campaign().life(seed, 20)


@pytest.mark.parametrize(("seed", "cuts"), FAILED)
def test_what_was_found_is_found_no_more(seed: int, cuts: int) -> None:
    with simulated(seed):
        Campaign().life(seed, cuts)


def trace_of(seed: int) -> list[Any]:
    """What a life does to the disk, in numbers and bytes."""
    with simulated(seed):
        rng = Random(seed)
        world = World(rng, {"": None}, START_NS)
        Life(world, rng, DiskImage({"": None}, {}, rng)).run(12)
        world.stop()
    files: dict[Any, int] = {}
    return [tuple(files.setdefault(one, len(files)) if type(one).__name__ == "File" else one for one in step)
            for step in world.disk.trace]  # fmt: skip


def test_a_seed_always_makes_the_same_life() -> None:
    assert trace_of(7) == trace_of(7)
