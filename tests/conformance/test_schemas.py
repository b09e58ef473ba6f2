"""Replies and advisories against their JSON schemas: ours break no rule that nats-server's keep."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from millpond.jetstream.go_time import parse_time

from . import scenarios_api as api
from . import scenarios_direct_get as direct
from . import scenarios_streams as streams
from .compare import record

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"
ROOMS = {"io.nats.jetstream.api.v1.": "api", "io.nats.jetstream.advisory.v1.": "advisory"}
SCENARIOS = [
    streams.stream_life, streams.stream_every_field, streams.sealing, streams.duplicates, streams.limits,
    streams.deleted_and_subject_details, direct.one_message, api.combinations, api.verbs_of_clusters, api.audited,
    api.actions,
]
SEEN = {
    "account_info_response", "pub_ack_response", "stream_create_response", "stream_update_response",
    "stream_delete_response", "stream_info_response", "stream_list_response", "stream_names_response",
    "stream_purge_response", "stream_msg_get_response", "stream_msg_delete_response", "stream_action", "api_audit",
    "stream_leader_stepdown_response", "stream_remove_peer_response",
}
pytestmark = pytest.mark.reference
FORMATS = jsonschema.FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or parse_time(value) is not None


def schema_name(document: dict[str, Any]) -> str:
    kind = document.get("type", "")
    for prefix, room in ROOMS.items():
        if kind.startswith(prefix):
            return f"{room}/{kind.removeprefix(prefix)}"
    return "api/pub_ack_response" if "stream" in document and "seq" in document else ""


def broken_rules(payloads: list[bytes]) -> dict[str, set[str]]:
    """Schema name -> the rules that some document breaks; a schema that all documents keep has none."""
    rules: dict[str, set[str]] = defaultdict(set)
    validators: dict[str, Any] = {}
    for payload in payloads:
        if payload[:1] != b"{":
            continue
        document = json.loads(payload)
        name = schema_name(document)
        path = SCHEMAS / f"{name}.json"
        if not name or not path.exists():
            continue
        if name not in validators:
            schema = json.loads(path.read_text())
            jsonschema.Draft7Validator.check_schema(schema)
            validators[name] = jsonschema.Draft7Validator(schema, format_checker=FORMATS)
        rules[name] |= set().union(*(_leaves(error) for error in validators[name].iter_errors(document)))
    return rules


def _leaves(error: Any) -> set[str]:
    """The rules behind an error: those of every alternative when none fits."""
    if not error.context:
        return {"/".join(map(str, error.absolute_schema_path))}
    return set().union(*(_leaves(inner) for inner in error.context))


def test_documents_keep_the_rules_that_the_reference_keeps(pair):
    reference, other = pair
    ours: list[bytes] = []
    theirs: list[bytes] = []
    for scenario in SCENARIOS:
        theirs += record(reference, scenario, is_truth=True, storage="memory").documents
        ours += record(other, scenario, storage="memory").documents
    allowed, broken = broken_rules(theirs), broken_rules(ours)
    assert {name.split("/")[1] for name in broken} >= SEEN
    for name, rules in broken.items():
        assert rules <= allowed[name], f"{name}: {rules - allowed[name]}"
    assert not broken["advisory/api_audit"], "audits keep every rule"
