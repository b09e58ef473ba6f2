"""Stream and consumer configurations between the wire's JSON and our values: which fields exist, of which
Go type, in which order they are written, and which are left out when they are empty (reference 03.1, 04.1)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.jetstream.api_level import REQUIRED_LEVEL
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.go_json import Choice, ListOf, MapOf, Shape
from millpond.jetstream.go_time import YEAR_ONE_NS, format_time, zone_of
from millpond.jetstream.stream_config import StreamConfig

PLACEMENT: Final = Shape("Placement", {"cluster": "string", "tags": ListOf("string"), "preferred": "string"})
TRANSFORM_FIELDS: Final = {"src": "string", "dest": "string"}
TRANSFORM: Final = Shape("SubjectTransformConfig", TRANSFORM_FIELDS)
EXTERNAL: Final = Shape("ExternalStream", {"api": "string", "deliver": "string"})
SOURCE: Final = Shape(
    "StreamSource",
    {
        "name": "string",
        "opt_start_seq": "uint64",
        "opt_start_time": "time.Time",
        "filter_subject": "string",
        "subject_transforms": ListOf(Shape("SubjectTransformConfig", TRANSFORM_FIELDS, pointer=False)),
        "external": EXTERNAL,
        "consumer": Shape("StreamConsumerSource", {"name": "string", "deliver_subject": "string"}),
    },
)
REPUBLISH: Final = Shape("RePublish", {"src": "string", "dest": "string", "headers_only": "bool"})
CONSUMER_LIMITS: Final = Shape(
    "StreamConsumerLimits", {"inactive_threshold": "time.Duration", "max_ack_pending": "int"}, pointer=False
)
STREAM_FIELDS: Final[dict[str, Any]] = {
    "name": "string",
    "description": "string",
    "subjects": ListOf("string"),
    "retention": Choice(("limits", "interest", "workqueue")),
    "max_consumers": "int",
    "max_msgs": "int64",
    "max_bytes": "int64",
    "max_age": "time.Duration",
    "max_msgs_per_subject": "int64",
    "max_msg_size": "int32",
    "discard": Choice(("old", "new"), fold=True),
    "storage": Choice(("file", "memory")),
    "num_replicas": "int",
    "no_ack": "bool",
    "duplicate_window": "time.Duration",
    "placement": PLACEMENT,
    "mirror": SOURCE,
    "sources": ListOf(SOURCE),
    "compression": Choice(("none", "s2"), "unknown compression algorithm", decoded=True),
    "first_seq": "uint64",
    "subject_transform": TRANSFORM,
    "republish": REPUBLISH,
    "allow_direct": "bool",
    "mirror_direct": "bool",
    "discard_new_per_subject": "bool",
    "sealed": "bool",
    "deny_delete": "bool",
    "deny_purge": "bool",
    "allow_rollup_hdrs": "bool",
    "consumer_limits": CONSUMER_LIMITS,
    "allow_msg_ttl": "bool",
    "subject_delete_marker_ttl": "time.Duration",
    "allow_msg_counter": "bool",
    "allow_atomic": "bool",
    "allow_msg_schedules": "bool",
    "persist_mode": Choice(("", "default", "async")),
    "allow_batched": "bool",
    "metadata": MapOf(),
}
"""In the order in which the server writes them."""

STREAM_REQUEST: Final = Shape("StreamConfigRequest", {**STREAM_FIELDS, "pedantic": "bool"})
STREAM_ALWAYS: Final = frozenset(
    [
        "name",
        "retention",
        "max_consumers",
        "max_msgs",
        "max_bytes",
        "max_age",
        "max_msgs_per_subject",
        "max_msg_size",
        "discard",
        "storage",
        "num_replicas",
        "compression",
        "allow_direct",
        "mirror_direct",
        "sealed",
        "deny_delete",
        "deny_purge",
        "allow_rollup_hdrs",
        "consumer_limits",
        "allow_msg_ttl",
    ]
)

CONSUMER_FIELDS: Final[dict[str, Any]] = {
    "durable_name": "string",
    "name": "string",
    "description": "string",
    "deliver_policy": Choice(
        ("all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject", "undefined")
    ),
    "opt_start_seq": "uint64",
    "opt_start_time": "time.Time",
    "ack_policy": Choice(("none", "all", "explicit", "flow_control")),
    "ack_wait": "time.Duration",
    "max_deliver": "int",
    "backoff": ListOf("time.Duration"),
    "filter_subject": "string",
    "filter_subjects": ListOf("string"),
    "replay_policy": Choice(("instant", "original")),
    "rate_limit_bps": "uint64",
    "sample_freq": "string",
    "max_waiting": "int",
    "max_ack_pending": "int",
    "flow_control": "bool",
    "headers_only": "bool",
    "max_batch": "int",
    "max_expires": "time.Duration",
    "max_bytes": "int",
    "deliver_subject": "string",
    "deliver_group": "string",
    "idle_heartbeat": "time.Duration",
    "inactive_threshold": "time.Duration",
    "num_replicas": "int",
    "mem_storage": "bool",
    "direct": "bool",
    "sourcing": "bool",
    "metadata": MapOf(),
    "pause_until": "time.Time",
    "priority_groups": ListOf("string"),
    "priority_policy": Choice(("none", "overflow", "pinned_client", "prioritized"), "unknown priority policy: {raw}"),
    "priority_timeout": "time.Duration",
}
CONSUMER_ALWAYS: Final = frozenset(["deliver_policy", "ack_policy", "replay_policy", "num_replicas"])
CONSUMER_REQUEST: Final = Shape(
    "CreateConsumerRequest",
    {
        "stream_name": "string",
        "config": Shape("ConsumerConfig", CONSUMER_FIELDS, pointer=False),
        "action": Choice(("", "create", "update"), "unknown consumer action: {raw}"),
        "pedantic": "bool",
    },
)
TIMES: Final = {
    "opt_start_time": ("opt_start_time_ns", "opt_start_zone_s"), "pause_until": ("pause_until_ns", "pause_zone_s"),
}  # fmt: skip
MANAGED_METADATA: Final = {"_nats.ver": limits.SERVER_VERSION, "_nats.level": str(limits.API_LEVEL)}


_ZEROS: Final = dict.fromkeys(
    ("max_consumers", "max_msgs", "max_bytes", "max_msgs_per_subject", "max_msg_size", "num_replicas"), 0
)


def stream_from_request(request: dict[str, Any]) -> StreamConfig:
    """The configuration as asked for, zero where it was silent: `stream_rules` fills in the defaults."""
    given = dict(request)
    if given.get("persist_mode") == "default":
        del given["persist_mode"]
    for item in [given.get("mirror", {}), *given.get("sources", [])]:
        item.setdefault("name", "")
        if "opt_start_time" in item:
            item["opt_start_time"] = format_time(item["opt_start_time"], zone_of(item["opt_start_time"]))
    return msgspec.convert({**_ZEROS, **given}, StreamConfig)


def stream_to_json(config: StreamConfig, managed: bool = True) -> dict[str, Any]:
    """As the server writes it; `managed` adds the `_nats.*` metadata that only replies carry."""
    values = msgspec.to_builtins(config)
    out = {
        key: values[key]
        for key in STREAM_FIELDS
        if key in STREAM_ALWAYS or values[key] or (key == "placement" and config.placement is not None)
    }
    if config.placement is not None:
        out["placement"] = {key: value for key, value in values["placement"].items() if value}
    if config.republish is not None and not config.republish.headers_only:
        del out["republish"]["headers_only"]
    metadata = {**config.metadata, **(MANAGED_METADATA if managed else {})}
    if metadata:
        out["metadata"] = _sorted_as_go(metadata)
    return out


def _sorted_as_go(metadata: dict[str, str]) -> dict[str, str]:
    return dict(sorted(metadata.items(), key=lambda item: item[0].encode()))


def consumer_from_request(request: dict[str, Any]) -> ConsumerConfig:
    """The configuration as asked for, zero where it was silent: `consumer_rules` fills in the defaults."""
    given = dict(request)
    for wire, (time, zone) in TIMES.items():
        if wire in given:
            moment = given.pop(wire)
            given[time], given[zone] = int(moment), zone_of(moment)
    if given.get("deliver_policy") == "undefined":
        given["deliver_policy"] = "all"
    return msgspec.convert({"max_deliver": 0, **given}, ConsumerConfig)


def consumer_to_json(config: ConsumerConfig, managed: bool = True) -> dict[str, Any]:
    """As the server writes it; `managed` adds the `_nats.*` metadata that only replies carry."""
    values = msgspec.to_builtins(config)
    for wire, (time, zone) in TIMES.items():
        values[wire] = format_time(values[time], values[zone]) if values[time] else None
    if values["priority_policy"] == "none":
        values["priority_policy"] = ""
    # A restored consumer may need a level that its configuration, as we know it, does not.
    metadata = {REQUIRED_LEVEL: str(_consumer_level(config)), **config.metadata}
    values["metadata"] = _sorted_as_go({**metadata, **(MANAGED_METADATA if managed else {})})
    return {key: values[key] for key in CONSUMER_FIELDS if key in CONSUMER_ALWAYS or values[key]}


def _consumer_level(config: ConsumerConfig) -> int:
    """The API level that a consumer's features need."""
    if config.ack_policy == "flow_control":
        return 4
    prioritised = config.priority_policy != "none" or config.priority_groups or config.priority_timeout
    paused = config.pause_until_ns not in (0, YEAR_ONE_NS)
    return 1 if paused or prioritised else 0
