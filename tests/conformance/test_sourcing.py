"""Mirrors and sources: both servers store, show and refuse the same, whatever the storage."""

from __future__ import annotations

import pytest

from . import scenarios_sourcing as sourcing

STORAGES = ["memory", "file"]
SCENARIOS = [
    sourcing.mirror, sourcing.mirror_choices, sourcing.mirror_of_nothing, sourcing.mirror_updates,
    sourcing.mirror_direct, sourcing.mirror_ages, sourcing.sources, sourcing.source_choices,
    sourcing.sources_of_one_stream, sourcing.source_updates, sourcing.source_duplicates, sourcing.source_into_full,
    sourcing.source_from_work_queue, sourcing.source_with_consumer, sourcing.counter_sources,
]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)
