"""ConsumerConfig: every field of nats-server 2.15 (reference 04.1).

These are values only. Defaults, checks and update rules live in `consumer_rules`.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class ConsumerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in ns. `opt_start_time` and `pause_until` are Unix ns here (RFC3339 text on the wire); 0 = not set.
    Their zones, in seconds east of UTC, are only kept to be shown again."""

    durable_name: str = ""
    name: str = ""
    description: str = ""
    deliver_policy: Literal[
        "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"
    ] = "all"
    opt_start_seq: int = 0
    opt_start_time_ns: int = 0
    opt_start_zone_s: int = 0
    ack_policy: Literal["none", "all", "explicit", "flow_control"] = "none"
    ack_wait: int = 0
    max_deliver: int = -1
    backoff: list[int] = []
    filter_subject: str = ""
    filter_subjects: list[str] = []
    replay_policy: Literal["instant", "original"] = "instant"
    rate_limit_bps: int = 0
    sample_freq: str = ""
    max_waiting: int = 0
    max_ack_pending: int = 0
    flow_control: bool = False
    headers_only: bool = False
    max_batch: int = 0
    max_expires: int = 0
    max_bytes: int = 0
    deliver_subject: str = ""
    deliver_group: str = ""
    idle_heartbeat: int = 0
    inactive_threshold: int = 0
    num_replicas: int = 0
    mem_storage: bool = False
    direct: bool = False
    sourcing: bool = False
    metadata: dict[str, str] = {}
    pause_until_ns: int = 0
    pause_zone_s: int = 0
    priority_groups: list[str] = []
    priority_policy: Literal["none", "overflow", "pinned_client", "prioritized"] = "none"
    priority_timeout: int = 0
