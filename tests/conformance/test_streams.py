"""Streams and the JetStream API: both servers answer the same, whatever the storage."""

from __future__ import annotations

import pytest

from . import scenarios_api as api
from . import scenarios_api_doors as doors
from . import scenarios_direct_get as direct
from . import scenarios_streams as streams

STORAGES = ["memory", "file"]
SCENARIOS = [
    streams.stream_life, streams.stream_every_field, streams.stream_updates, streams.tightened_limits, streams.sealing,
    streams.denials, streams.first_sequence, streams.purge_forms, streams.purge_of_nothing,
    streams.purge_by_sequence_beyond_the_end,
    streams.limits, streams.lock_stream, streams.message_sizes, streams.byte_accounting, streams.duplicates,
    streams.expectations, streams.rollups, streams.acknowledgements, streams.max_age, streams.subject_forms,
    streams.deleted_and_subject_details, streams.reserved_bytes,
    streams.reservations_beyond_the_machine,
    direct.one_message, direct.one_message_with_gaps, direct.batches, direct.batches_with_gaps, direct.empty_streams,
    direct.by_subject, direct.direct_levels, direct.direct_switch, direct.direct_bodies, direct.too_many_subjects,
    direct.long_batches,
    api.bodies, api.same_again, api.pedantic, api.stream_names, api.names_of_no_file,
    api.counters, api.audited, api.actions,
]
ONCE = [
    streams.paging, api.every_field_at_its_bounds, api.combinations, api.deep_nesting, api.required_level,
    api.verbs_of_clusters, api.unknown_subjects, api.without_reply, doors.odd_subjects, doors.headers, doors.pages,
]
"""Where the storage makes no difference."""
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario, storage):
    compare(scenario, storage)


@pytest.mark.parametrize("scenario", ONCE, ids=lambda scenario: scenario.__name__)
def test_same_answers_once(compare, scenario):
    compare(scenario, "memory")
