"""Counters and atomic batches: both servers answer the same, whatever the storage."""

from __future__ import annotations

import pytest

from . import scenarios_features as features

STORAGES = ["memory", "file"]
SCENARIOS = [
    features.counter_configurations, features.counter_arithmetic, features.counter_headers, features.counter_limits,
    features.atomic_commits, features.atomic_refusals, features.atomic_expectations, features.atomic_limits,
    features.atomic_counters, features.atomic_reads,
]
ONCE = [features.atomic_numbers]
"""Where the storage makes no difference."""
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)


@pytest.mark.parametrize("scenario", ONCE, ids=lambda scenario: scenario.__name__)
def test_same_answers_once(compare, scenario):
    compare(scenario, "memory")
