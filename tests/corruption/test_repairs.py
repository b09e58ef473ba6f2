"""Damage to one file, then a repair: the store is sound, what could be read is there, what is lost is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from millpond.store.renewal import renew

from .campaign import Campaign
from .repairs import Repairs

CASES = 25


@pytest.mark.parametrize("stop", [True, False], ids=["stopped", "killed"])
def test_random_damages_are_repaired(tmp_path: Path, stop: bool) -> None:
    repairs = Repairs(Campaign(tmp_path, 5, stop))
    for number in range(CASES):
        repairs.run(number)
    assert repairs.wrong == []
    assert repairs.repaired - repairs.sound > 5


def test_the_judge_sees_a_repair_that_loses_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign that cannot fail proves nothing."""

    def lose(store: Any, through: int) -> None:
        victim = store.next_message(0)
        if victim:
            store.remove_message(victim)
        renew(store, through)

    monkeypatch.setattr("millpond.cli.store_repair.renew", lose)
    repairs = Repairs(Campaign(tmp_path, 5, True))
    for number in range(CASES):
        repairs.run(number)
    assert any("could be read before the repair" in text for text in repairs.wrong)


def test_the_judge_sees_a_repair_that_leaves_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millpond.cli.store_repair.renew", lambda store, through: renew(store, 0))
    repairs = Repairs(Campaign(tmp_path, 5, True))
    for number in range(CASES):
        repairs.run(number)
    assert any("is not sound after the repair" in text for text in repairs.wrong)
