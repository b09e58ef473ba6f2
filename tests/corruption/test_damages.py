"""Damage to one file at rest: always noticed, never delivered, never more than is said.

A few hundred random cases here; `make damage` runs as many as it is told to (tests/corruption/campaign.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .campaign import Campaign
from .damages import DAMAGES
from .judge import judge

CASES = 150


@pytest.mark.parametrize("stop", [True, False], ids=["stopped", "killed"])
def test_random_damages(tmp_path: Path, stop: bool) -> None:
    campaign = Campaign(tmp_path, seed=7, stop=stop)
    for number in range(CASES):
        campaign.run(number)
    assert campaign.violations == []
    assert set(campaign.costs) == set(DAMAGES)
    assert sum(costs["no loss"] for costs in campaign.costs.values()) > CASES // 4


def test_the_judge_sees_what_nobody_tells(tmp_path: Path) -> None:
    """A campaign that cannot fail proves nothing: here the truth is another one than the store's."""
    campaign = Campaign(tmp_path, seed=3, stop=True)
    truths = campaign.truths
    assert judge(tmp_path / "late", truths).wrong == []
    truth = truths["PLAIN"]
    kept = max(truth.live)
    time, subject, headers, _ = truth.ever[kept]
    truth.ever[kept] = time, subject, headers, b"what was stored"
    truth.live.add(truth.last_seq + 5)
    truth.last_seq += 5
    wrong = " ".join(judge(tmp_path / "late", truths).wrong)
    assert f"message {kept} is" in wrong and "nobody says so" in wrong and "issued again" in wrong
