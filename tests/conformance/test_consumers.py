"""Consumers: both servers answer the same."""

from __future__ import annotations

import pytest

from . import scenarios_consumers as consumers

SCENARIOS = [
    consumers.consumer_life,
    consumers.consumer_refusals,
    consumers.pull_statuses,
    consumers.pull_waiting,
    consumers.acks,
    consumers.redelivery,
    consumers.deliver_policies,
    consumers.push_delivery,
    consumers.replay_original,
]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario):
    compare(scenario)
