"""The origin is in another account, whose API and deliveries are imported."""

from __future__ import annotations

import pytest

from . import scenarios_sourcing_far as far
from .ends import agree_across_accounts

SCENARIOS = [
    far.far_mirror, far.far_sources, far.far_flow, far.far_work_queue, far.far_durable, far.far_without, far.far_killed,
]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_across_accounts(with_accounts, scenario):
    agree_across_accounts(with_accounts, scenario)
