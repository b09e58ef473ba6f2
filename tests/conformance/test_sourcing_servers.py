"""The origin is on another server: each of the two kinds follows each, as nats-server follows another one."""

from __future__ import annotations

import pytest

from . import scenarios_sourcing_far as far
from .ends import agree_across_servers

SCENARIOS = [
    far.far_mirror, far.far_sources, far.far_flow, far.far_work_queue, far.far_durable, far.far_without,
    far.far_made_anew, far.far_consumer_deleted,
]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_across_servers(linked, scenario):
    agree_across_servers(linked, scenario)
