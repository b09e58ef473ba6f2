"""Which rules of the JSON schemas in tests/data/schemas documents break.

A run has thousands of documents of few forms: of those that look alike only the first is judged.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from millpond.jetstream.go_time import parse_time

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"
ROOMS = {
    "io.nats.jetstream.api.v1.": "api",
    "io.nats.jetstream.advisory.v1.": "advisory",
    "io.nats.jetstream.metric.v1.": "metric",
}
FORMATS = jsonschema.FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or parse_time(value) is not None


def schema_name(document: dict[str, Any]) -> str:
    kind = document.get("type", "")
    for prefix, room in ROOMS.items():
        if isinstance(kind, str) and kind.startswith(prefix):
            return f"{room}/{kind.removeprefix(prefix)}"
    return "api/pub_ack_response" if "stream" in document and "seq" in document else ""


def known_names() -> set[str]:
    """All schemas that are here, as `room/name`."""
    return {f"{path.parent.name}/{path.stem}" for path in SCHEMAS.glob("*/*.json")}


def broken_rules(payloads: Iterable[bytes]) -> dict[str, set[str]]:
    """Schema name -> the rules that some document breaks; a schema that all documents keep has none."""
    rules: dict[str, set[str]] = defaultdict(set)
    seen: set[tuple[str, str]] = set()
    for payload in payloads:
        document = _object(payload)
        name = schema_name(document)
        key = (name, _form(document))
        if name and key not in seen and (validator := _validator(name)) is not None:
            seen.add(key)
            rules[name] |= set().union(*(_leaves(error) for error in validator.iter_errors(document)))
    return rules


def _object(payload: bytes) -> dict[str, Any]:
    if payload[:1] != b"{":
        return {}
    try:
        return dict(json.loads(payload))
    except ValueError:
        return {}


def _form(value: Any) -> str:
    """What a document looks like: names, types, signs."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_form(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted({_form(item) for item in value})) + "]"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{(value > 0) - (value < 0)}"
    return type(value).__name__ if value else repr(value)


@cache
def _validator(name: str) -> Any:
    path = SCHEMAS / f"{name}.json"
    if not path.exists():
        return None
    schema = json.loads(path.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema, format_checker=FORMATS)


def _leaves(error: Any) -> set[str]:
    """The rules behind an error: those of every alternative when none fits."""
    if not error.context:
        return {"/".join(map(str, error.absolute_schema_path))}
    return set().union(*(_leaves(inner) for inner in error.context))
