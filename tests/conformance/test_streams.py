"""Streams: both servers answer the same."""

from __future__ import annotations

import pytest

from . import scenarios_streams as streams

SCENARIOS = [
    streams.stream_life, streams.stream_every_field, streams.stream_refusals, streams.stream_names,
    streams.stream_updates, streams.purge_forms, streams.publish_headers, streams.limits, streams.byte_accounting,
    streams.direct_gets, streams.api_edges, streams.advisories,
]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario):
    compare(scenario)
