"""What a newer server stored: both servers say the same of it."""

from __future__ import annotations

import pytest

from . import scenarios_offline as scenarios

pytestmark = pytest.mark.reference


@pytest.mark.parametrize(
    "scenario", [scenarios.offline, scenarios.same_after_restart], ids=lambda scenario: scenario.__name__
)
def test_same_answers(compare, scenario):
    compare(scenario, "file")
