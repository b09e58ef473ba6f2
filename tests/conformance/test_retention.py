"""Work queues, interest, sealed streams, limits on consumers: both servers answer the same."""

from __future__ import annotations

import pytest

from . import scenarios_retention as retention

SCENARIOS = [
    retention.workqueue, retention.workqueue_exhausted, retention.workqueue_filters, retention.workqueue_alone,
    retention.interest, retention.consumers_of_nothing, retention.interest_by_policy,
    retention.interest_filters_change, retention.interest_rollups, retention.retention_updates,
    retention.discard_new_is_patient, retention.sealed, retention.consumer_limits,
    retention.resets, retention.reset_before_a_restart,
]
pytestmark = pytest.mark.reference


# Storage is the outer loop: nats-server is not ready to have a name back the moment after it is deleted.
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("storage", ["memory", "file"])
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)
