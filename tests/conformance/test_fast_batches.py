"""Fast batches: both servers answer the same on every reply subject."""

from __future__ import annotations

import pytest

from . import scenarios_fast_batches as fast

SCENARIOS = [
    fast.fast_commits, fast.fast_patterns, fast.fast_gaps, fast.fast_pings, fast.fast_refusals, fast.fast_duplicates,
    fast.fast_expected_ids, fast.fast_with_features, fast.fast_limits, fast.fast_and_updates,
    fast.fast_without_interest, fast.fast_after_a_refused_batch,
]
ONCE = [fast.fast_flow_is_shared, fast.fast_numbers]
"""Where the storage makes no difference."""
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("storage", ["memory", "file"])
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)


@pytest.mark.parametrize("scenario", ONCE, ids=lambda scenario: scenario.__name__)
def test_same_answers_once(compare, scenario):
    compare(scenario, "memory")
