"""Message TTLs and delete markers: both servers answer the same."""

from __future__ import annotations

import pytest

from . import scenarios_ttl as ttl

SCENARIOS = [
    ttl.ttl_texts, ttl.ttl_configurations, ttl.ttl_ends, ttl.markers_of_ttl,
    ttl.deletes_leave_no_marker,
    ttl.markers_of_age,
]
pytestmark = pytest.mark.reference


# Storage is the outer loop: nats-server is not ready to have a name back the moment after it is deleted.
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("storage", ["memory", "file"])
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)
