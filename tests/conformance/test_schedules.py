"""Message schedules: both servers answer the same, and fire the same messages."""

from __future__ import annotations

import pytest

from . import scenarios_schedules as schedules

SCENARIOS = [
    schedules.schedule_configurations, schedules.schedule_patterns, schedules.schedule_refusals,
    schedules.schedules_in_batches, schedules.schedules_fire_once, schedules.schedules_fire_in_order,
    schedules.schedules_repeat, schedules.schedules_replaced, schedules.schedules_with_transform,
    schedules.schedules_by_retention, schedules.schedules_sealed, schedules.schedules_after_restart,
]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("storage", ["memory", "file"])
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)
