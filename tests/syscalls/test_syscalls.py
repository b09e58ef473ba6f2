"""Some of the cases; `make syscalls` runs all of them (campaign.py)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from .campaign import Campaign, everything
from .faults import REFUSALS

EVERY = int(os.environ.get("MILLPOND_SYSCALLS_EVERY", "40"))
SEED = int(os.environ.get("MILLPOND_SYSCALLS_SEED", "1"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, where the system has such a place."""
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory(prefix="millpond-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        yield Path(name)
    logging.disable(logging.NOTSET)


def test_the_script_makes_every_kind_of_call_and_always_the_same_ones(folder: Path) -> None:
    first, second = (Campaign(folder / str(i)).calls() for i in range(2))
    assert first == second
    assert {call.kind for call in first} == REFUSALS.keys()


def test_some_of_all_cases() -> None:
    logging.disable(logging.CRITICAL)
    try:
        figures = everything(SEED, EVERY, 1, lambda line: None)
    finally:
        logging.disable(logging.NOTSET)
    assert not figures.violations
    assert figures.cases["killed"] > 5 and figures.cases["EIO"] > 5 and figures.cases["ENOSPC lasting"] > 5
