"""Every field of a stream configuration: both servers take and refuse the same values, and show the same."""

from __future__ import annotations

import pytest

from . import scenarios_stream_fields as fields

SCENARIOS = [
    fields.created_with_each_field, fields.created_with_fields_together, fields.updated_in_each_field,
    fields.republished_to_nowhere, fields.compressed, fields.compressed_in_many_blocks,
    fields.persisted_at_leisure,
]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("storage", ["memory", "file"])
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)
