"""Mirrors and sources where the storage makes no difference, or only one of them is possible."""

from __future__ import annotations

import pytest

from . import scenarios_sourcing as sourcing
from . import scenarios_sourcing_external as external

ONCE = [
    sourcing.mirror_rules, sourcing.source_rules, external.external_mirror, external.external_source,
    external.unusable_answers, external.delivered_by_a_client, sourcing.origin_made_anew, external.who_asks,
]
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("scenario", ONCE, ids=lambda scenario: scenario.__name__)
def test_same_answers(compare, scenario):
    compare(scenario, "memory")


def test_both_ends_die(compare):
    compare(sourcing.killed, "file")
