"""Subject transforms and republishing: both servers answer the same."""

from __future__ import annotations

import pytest

from . import scenarios_mappings as mappings

SCENARIOS = [
    mappings.subject_transforms, mappings.refused_transforms, mappings.transform_updates, mappings.republishing,
    mappings.republishing_and_the_rest,
]
pytestmark = pytest.mark.reference


# Storage is the outer loop: nats-server is not ready to have a name back the moment after it is deleted.
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("storage", ["memory", "file"])
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)
