"""What both servers answer when the disk refuses; each scenario on servers of its own."""

from __future__ import annotations

import pytest

from . import scenarios_failing_disk as failing
from .compare import Scenario, differences, record
from .conftest import running_pair

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", [failing.no_new_consumers, failing.no_pause])
def test_same_answers(request: pytest.FixtureRequest, scenario: Scenario) -> None:
    with running_pair(request) as (reference, other):
        diff = differences(record(reference, scenario, is_truth=True), record(other, scenario))
        assert not diff, "\n".join(diff)
