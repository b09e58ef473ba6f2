"""StreamConfig: every field of nats-server 2.15 in the order it is written on the wire (reference 03.1).

These are values only. Defaults, checks and update rules live in `stream_rules`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec


class Placement(msgspec.Struct, frozen=True, omit_defaults=True):
    """`tags` None is not the same as none: a placement without anything is dropped, one with no tags is kept."""

    cluster: str = ""
    tags: list[str] | None = None
    preferred: str = ""


class ExternalStream(msgspec.Struct, frozen=True):
    api: str = ""
    deliver: str = ""


class SubjectTransform(msgspec.Struct, frozen=True):
    src: str = ""
    dest: str = ""


class StreamConsumerSource(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""
    deliver_subject: str = ""


class StreamSource(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    opt_start_seq: int = 0
    opt_start_time: str | None = None
    filter_subject: str = ""
    subject_transforms: list[SubjectTransform] = []
    external: ExternalStream | None = None
    consumer: StreamConsumerSource | None = None


class Republish(msgspec.Struct, frozen=True):
    src: str = ""
    dest: str = ""
    headers_only: bool = False


class ConsumerLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    inactive_threshold: int = 0
    max_ack_pending: int = 0


class ServerLimits(msgspec.Struct, frozen=True):
    """`jetstream { limits {} }`: what one consumer or stream may ask of the server; 0: anything."""

    max_ack_pending: int = 0
    max_request_batch: int = 0
    duplicate_window_ns: int = 0


UNLIMITED: Final = ServerLimits()


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in ns, sizes in bytes, -1 = no limit. Wire presence (omitempty) is the encoder's business."""

    name: str = ""
    description: str = ""
    subjects: list[str] = []
    retention: Literal["limits", "interest", "workqueue"] = "limits"
    max_consumers: int = -1
    max_msgs: int = -1
    max_bytes: int = -1
    max_age: int = 0
    max_msgs_per_subject: int = -1
    max_msg_size: int = -1
    discard: Literal["old", "new"] = "old"
    discard_new_per_subject: bool = False
    storage: Literal["file", "memory"] = "file"
    num_replicas: int = 1
    no_ack: bool = False
    duplicate_window: int = 0
    placement: Placement | None = None
    mirror: StreamSource | None = None
    sources: list[StreamSource] = []
    compression: Literal["none", "s2"] = "none"
    first_seq: int = 0
    subject_transform: SubjectTransform | None = None
    republish: Republish | None = None
    allow_direct: bool = False
    mirror_direct: bool = False
    sealed: bool = False
    deny_delete: bool = False
    deny_purge: bool = False
    allow_rollup_hdrs: bool = False
    consumer_limits: ConsumerLimits = ConsumerLimits()
    allow_msg_ttl: bool = False
    subject_delete_marker_ttl: int = 0
    allow_msg_counter: bool = False
    allow_atomic: bool = False
    allow_msg_schedules: bool = False
    persist_mode: Literal["", "default", "async"] = ""
    allow_batched: bool = False
    metadata: dict[str, str] = {}
