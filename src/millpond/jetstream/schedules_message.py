"""What a schedule says, and the headers of the message that it produces (ADR-51)."""

from __future__ import annotations

from datetime import tzinfo
from typing import NamedTuple

from millpond.jetstream.message_ttl import INVALID, parse_ttl
from millpond.jetstream.schedules_pattern import Firing, firing_missed, format_due, next_firing, zone_named
from millpond.wire.headers import find_value, with_last, without, without_prefix

PURGE = b"purge"


class Schedule(NamedTuple):
    """`source` b"": the schedule's own content is produced."""

    pattern: bytes
    zone: tzinfo | None
    target: bytes
    source: bytes
    ttl: bytes
    rollup: bytes


def read_schedule(block: bytes) -> Schedule | None:
    """None: the header block is not that of a schedule, or of one that cannot fire."""
    pattern = find_value(block, b"Nats-Schedule")
    zone_name = find_value(block, b"Nats-Schedule-Time-Zone")
    target = find_value(block, b"Nats-Schedule-Target")
    ttl = find_value(block, b"Nats-Schedule-TTL") or b""
    if not pattern or not target or (ttl and parse_ttl(ttl) == INVALID):
        return None
    try:
        zone = zone_named(zone_name) if zone_name is not None else None
    except ValueError:
        return None
    source = find_value(block, b"Nats-Schedule-Source") or b""
    return Schedule(pattern, zone, target, source, ttl, find_value(block, b"Nats-Schedule-Rollup") or b"")


def due_at_first(block: bytes, ts_ns: int) -> int:
    """When a schedule that is stored at `ts_ns` fires first; 0: it is none."""
    schedule = read_schedule(block)
    firing = next_firing(schedule.pattern, schedule.zone, ts_ns, ts_ns) if schedule is not None else None
    return firing.due_ns if firing is not None else 0


def due_after_restart(block: bytes, ts_ns: int, fired_until_ns: int) -> int:
    """When a schedule of an earlier life fires next, perhaps in the past; 0: it is none."""
    schedule = read_schedule(block)
    if schedule is None:
        return 0
    return firing_missed(schedule.pattern, schedule.zone, ts_ns, fired_until_ns) or 0


def firing_after(schedule: Schedule, due_ns: int, now_ns: int) -> Firing | None:
    """The firing that follows the one of `due_ns`; None: the pattern is not understood (any more)."""
    return next_firing(schedule.pattern, schedule.zone, due_ns, now_ns)


def produced_block(block: bytes, subject: bytes, schedule: Schedule, following: Firing) -> bytes:
    """The header block of what the schedule on `subject` produces from a message with this `block`."""
    for prefix in (b"Nats-Schedule", b"Nats-Expected-"):
        block = without_prefix(block, prefix)
    for key in (b"Nats-Msg-Id", b"Nats-TTL", b"Nats-Rollup"):
        block = without(block, key)
    then = format_due(following.due_ns, schedule.zone).encode() if following.repeats else PURGE
    block = with_last(block, b"Nats-Scheduler", subject)
    block = with_last(block, b"Nats-Schedule-Next", then)
    if schedule.ttl:
        block = with_last(block, b"Nats-TTL", schedule.ttl)
    if schedule.rollup:
        block = with_last(block, b"Nats-Rollup", schedule.rollup)
    return block
