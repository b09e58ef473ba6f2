"""The origin is in another account, and it, or what was asked of it, goes and comes back."""

from __future__ import annotations

import pytest

from . import scenarios_sourcing_far as far
from .ends import agree_across_accounts

SCENARIOS = [far.far_made_anew, far.far_consumer_deleted]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_across_accounts(with_accounts, scenario):
    agree_across_accounts(with_accounts, scenario)
