"""Replies, advisories and metrics against their JSON schemas: ours break no rule that nats-server's keep.

Every scenario of this suite is held to that when it is compared (conftest.py). Here some are run together that
produce every type which one server without peers can produce.
"""

from __future__ import annotations

import pytest

from . import scenarios_api as api
from . import scenarios_backups as backups
from . import scenarios_bad_input as bad
from . import scenarios_consumers as consumers
from . import scenarios_consumers_acks as acks
from . import scenarios_consumers_control as control
from . import scenarios_consumers_priority as priority
from . import scenarios_direct_get as direct
from . import scenarios_features as features
from . import scenarios_streams as streams
from .compare import record
from .schema_rules import broken_rules, known_names

SCENARIOS = [
    streams.stream_life, streams.stream_every_field, streams.sealing, streams.duplicates, streams.limits,
    streams.deleted_and_subject_details, direct.one_message, api.combinations, api.verbs_of_clusters, api.audited,
    api.actions, consumers.consumer_life, consumers.asking, bad.small_requests, acks.exhausted, acks.nak_forms,
    acks.terminations, acks.ack_metrics, control.pause_answers, control.pause_in_the_configuration,
    control.reset_answers, priority.pinned, priority.unpin_answers, features.atomic_refusals,
    backups.snapshot_advisories, backups.round_trip,
]
NEVER = {
    "advisory/api_limit_reached": "only when requests come faster than they are answered",
}
"""Types that these scenarios do not produce, with the reason or the part whose own tests do."""
pytestmark = pytest.mark.reference


def test_documents_keep_the_rules_that_the_reference_keeps(pair):
    reference, other = pair
    ours: list[bytes] = []
    theirs: list[bytes] = []
    for scenario in SCENARIOS:
        theirs += record(reference, scenario, is_truth=True, storage="memory").documents
        ours += record(other, scenario, storage="memory").documents
    allowed, broken = broken_rules(theirs), broken_rules(ours)
    assert set(broken) == set(allowed)
    for name, rules in broken.items():
        assert rules <= allowed[name], f"{name}: {rules - allowed[name]}"
    assert not broken["advisory/api_audit"], "audits keep every rule"
    missing = known_names() - set(broken)
    print("\n".join(["never produced here:", *sorted(f"  {name}: {NEVER.get(name, '?')}" for name in missing)]))
    assert missing == set(NEVER)
