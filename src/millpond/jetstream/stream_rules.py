"""What a stream configuration may be: defaults and checks in nats-server's order and words, update rules.

`checked` takes a configuration as it was asked for and gives the one in force, or raises the ApiError of the
first thing wrong. Each step below looks at one group of fields; their order is visible to clients, so a step
stays where it is. In pedantic mode what would be corrected silently is an error (10157).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream import source_rules, stream_features
from millpond.jetstream.api_level import REQUIRED_LEVEL
from millpond.jetstream.asset_names import is_asset_name
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_text import quote
from millpond.jetstream.go_time import duration_text
from millpond.jetstream.stream_config import UNLIMITED, Placement, ServerLimits, StreamConfig
from millpond.subjects import pytokens

AGE_MIN_NS: Final = 100_000_000
REPLICAS_MAX: Final = 5

Step = Callable[[StreamConfig, bool], StreamConfig]


def invalid(text: str) -> ApiError:
    """10052 with nats-server's text."""
    return api_error("JSStreamInvalidConfigF", err=text)


def pedantic_error(text: str) -> ApiError:
    """10157: a pedantic request is not corrected."""
    return api_error("JSPedanticErrF", err=text)


def checked(
    config: StreamConfig,
    pedantic: bool = False,
    server: ServerLimits = UNLIMITED,
    find: source_rules.Find = lambda name: None,
) -> StreamConfig:
    """The configuration in force. Raises the ApiError that nats-server gives for the first thing wrong.

    `find` gives the configuration of another stream, None when there is none of that name.
    """
    for step in _FIRST_STEPS:
        config = step(config, pedantic)
    config = _times(config, pedantic, server.duplicate_window_ns)
    for step in _FEATURE_STEPS:
        config = step(config, pedantic)
    config = source_rules.checked(config, pedantic, find)
    for step in _LAST_STEPS:
        config = step(config, pedantic)
    return config


def _replace(config: StreamConfig, **changes: object) -> StreamConfig:
    return msgspec.structs.replace(config, **changes)


# --- the steps ---


def _texts(config: StreamConfig, pedantic: bool) -> StreamConfig:
    if not is_asset_name(config.name):
        raise invalid("stream name is required and can not contain '.', '*', '>', '\\', '/'")
    if len(config.name.encode()) > limits.NAME_BYTES_MAX:
        raise invalid(f"stream name is too long, maximum allowed is {limits.NAME_BYTES_MAX}")
    if len(config.description.encode()) > limits.DESCRIPTION_BYTES_MAX:
        raise invalid(f"stream description is too long, maximum allowed is {limits.DESCRIPTION_BYTES_MAX}")
    size = sum(len(key.encode()) + len(text.encode()) for key, text in config.metadata.items())
    if size > limits.METADATA_BYTES_MAX:
        raise invalid(f"stream metadata exceeds maximum size of {limits.METADATA_BYTES_MAX} bytes")
    return config


def _replicas(config: StreamConfig, pedantic: bool) -> StreamConfig:
    if config.num_replicas > REPLICAS_MAX:
        raise invalid(f"maximum replicas is {REPLICAS_MAX}")
    if config.num_replicas < 0:
        raise api_error("JSReplicasCountCannotBeNegative")
    return _replace(config, num_replicas=config.num_replicas or 1)


BOUNDS: Final = ("max_msgs", "max_msgs_per_subject", "max_bytes", "max_msg_size", "max_consumers")


def _bounds(config: StreamConfig, pedantic: bool) -> StreamConfig:
    """Every bound is above 0, or -1 for none."""
    for name in BOUNDS:
        if pedantic and getattr(config, name) < -1:
            raise pedantic_error(f"{name} must be set to -1")
    return _replace(config, **{name: -1 for name in BOUNDS if getattr(config, name) <= 0})


def _times(config: StreamConfig, pedantic: bool, window_max_ns: int) -> StreamConfig:
    """`window_max_ns`: the server's bound of duplicate windows; 0: none."""
    if config.max_age < 0:
        raise invalid("max age can not be negative")
    if 0 < config.max_age < AGE_MIN_NS:
        raise invalid("max age needs to be >= 100ms")
    window = config.duplicate_window
    if window == 0 and config.mirror is None and not config.sources:
        window = limits.DUPLICATE_WINDOW_DEFAULT_NS
        if 0 < window_max_ns < window:
            if pedantic:
                raise pedantic_error("duplicate window limits are higher than current limits")
            window = window_max_ns
        if 0 < config.max_age < window:
            if pedantic:
                raise pedantic_error("duplicate window cannot be bigger than max age")
            window = config.max_age
    if window < 0:
        raise invalid("duplicates window can not be negative")
    if config.max_age and window > config.max_age:
        raise invalid("duplicates window can not be larger then max age")
    if 0 < window_max_ns < window:
        raise invalid(f"duplicates window can not be larger then server limit of {duration_text(window_max_ns)}")
    if 0 < window < AGE_MIN_NS:
        raise invalid("duplicates window needs to be >= 100ms")
    return _replace(config, duplicate_window=window)


def _discards(config: StreamConfig, pedantic: bool) -> StreamConfig:
    if config.deny_purge and config.allow_rollup_hdrs:
        raise invalid("roll-ups require the purge permission")
    if config.allow_msg_counter:
        if config.discard == "new":
            raise invalid("counter stream cannot use discard new")
        if config.allow_msg_ttl:
            raise invalid("counter stream cannot use message TTLs")
        if config.allow_msg_schedules:
            raise invalid("counter stream cannot use message schedules")
        if config.retention != "limits":
            raise invalid("counter stream can only use limits retention")
    if config.discard_new_per_subject:
        if config.discard != "new":
            raise invalid("discard new per subject requires discard new policy to be set")
        if config.max_msgs_per_subject <= 0:
            raise invalid("discard new per subject requires max msgs per subject > 0")
    return config


def _persistence(config: StreamConfig, pedantic: bool) -> StreamConfig:
    if config.persist_mode == "async":
        if config.storage != "file":
            raise invalid("async persist mode is only supported on file storage")
        if config.num_replicas > 1:
            raise invalid("async persist mode is not supported on replicated streams")
        if config.allow_atomic:
            raise invalid("async persist mode is not supported with atomic batch publish")
    return config


def _subjects(config: StreamConfig, pedantic: bool) -> StreamConfig:
    if not config.subjects and config.mirror is None and not config.sources:
        return _replace(config, subjects=[config.name])
    seen: set[str] = set()
    copies = Counter(config.subjects)
    later_ones = pytokens.FilterSet(config.subjects)
    for number, subject in enumerate(config.subjects):
        if not pytokens.is_valid_filter(subject):
            raise invalid("invalid subject")
        if subject in seen:
            raise invalid("duplicate subjects detected")
        seen.add(subject)
        _check_reserved(subject, config)
        copies[subject] -= 1
        later_ones.discard(subject)
        if copies[subject] or later_ones.overlaps(subject):  # one pass over the others, once
            for later in config.subjects[number + 1 :]:
                if pytokens.overlap(subject, later):
                    raise invalid(f"subject {quote(subject)} overlaps with {quote(later)}")
    return config


def _check_reserved(subject: str, config: StreamConfig) -> None:
    if subject == ">":
        if not config.no_ack:
            raise invalid("capturing all subjects requires no-ack to be true")
        if config.num_replicas != 1:
            raise invalid("capturing all subjects requires replicas of 1")
    if config.no_ack or subject[0] not in "$*>":
        return
    for reserved in ("$JS.>", "$JSC.>", "$NRG.>"):
        if pytokens.overlap(subject, reserved) and not pytokens.is_subset(subject, "$JS.EVENT.>"):
            raise invalid("subjects that overlap with jetstream api require no-ack to be true")
    if pytokens.overlap(subject, "$SYS.>") and not pytokens.is_subset(subject, "$SYS.ACCOUNT.>"):
        raise invalid("subjects that overlap with system api require no-ack to be true")


def _placement(config: StreamConfig, pedantic: bool) -> StreamConfig:
    if config.placement == Placement():
        return _replace(config, placement=None)
    if config.placement is not None and config.placement.preferred:
        raise invalid("preferred server not permitted in placement")
    return config


_FIRST_STEPS: Final[tuple[Step, ...]] = (_texts, _replicas, _bounds)
_FEATURE_STEPS: Final[tuple[Step, ...]] = (
    _discards, stream_features.markers, stream_features.schedules, _persistence,
)  # fmt: skip
_LAST_STEPS: Final[tuple[Step, ...]] = (
    _subjects, stream_features.transform, stream_features.republish, _placement,
)  # fmt: skip


# --- what depends on other streams, and on what was before ---


def check_single_server(config: StreamConfig) -> None:
    """10074: one server holds one replica."""
    if config.num_replicas > 1:
        raise api_error("JSStreamReplicasNotSupportedErr")


def check_create(config: StreamConfig) -> None:
    """What only a create may not ask for."""
    if config.sealed:
        raise invalid("stream configuration for create can not be sealed")
    if config.mirror_direct and config.mirror is None:
        raise invalid("stream has no mirror but does have mirror direct")


def check_overlap(config: StreamConfig, others: Iterable[StreamConfig]) -> None:
    """10065 when another stream of the account listens on one of our subjects."""
    ours = pytokens.FilterSet(config.subjects)
    for other in others:
        if other.name != config.name and any(ours.overlaps(theirs) for theirs in other.subjects):
            raise api_error("JSStreamSubjectOverlapErr")


def updated(old: StreamConfig, new: StreamConfig) -> StreamConfig:
    """What `old` becomes when `new` (checked) is asked for. Raises what nats-server says when it may not."""
    check_single_server(new)
    if new.storage != old.storage:
        raise invalid("stream configuration update can not change storage type")
    if new.retention != old.retention and "workqueue" in (new.retention, old.retention):
        raise invalid("stream configuration update can not change retention policy to/from workqueue")
    if old.sealed and not new.sealed:
        raise invalid("stream configuration update can not unseal a sealed stream")
    if old.deny_delete and not new.deny_delete:
        raise invalid("stream configuration update can not cancel deny message deletes")
    if old.deny_purge and not new.deny_purge:
        raise invalid("stream configuration update can not cancel deny purge")
    if new.mirror is not None and new.mirror != old.mirror:
        raise api_error("JSStreamMirrorNotUpdatableErr")
    if old.allow_msg_ttl and not new.allow_msg_ttl:
        raise invalid("message TTL status can not be disabled")
    if new.allow_msg_counter != old.allow_msg_counter:
        raise invalid("stream configuration update can not change message counter setting")
    if old.allow_msg_schedules and not new.allow_msg_schedules:
        raise invalid("message schedules can not be disabled")
    if (new.persist_mode == "async") != (old.persist_mode == "async"):
        raise invalid("stream configuration update can not change persist mode")
    return _sealed_form(new)


def _sealed_form(config: StreamConfig) -> StreamConfig:
    """What sealing makes of a configuration: nothing comes in, nothing goes out, for ever (ADR-22)."""
    if not config.sealed:
        return config
    return _replace(config, max_age=0, discard="new", deny_delete=True, deny_purge=True, allow_rollup_hdrs=False)


def with_required_level(config: StreamConfig) -> StreamConfig:
    """The API level that its features need, in the stored metadata; what servers add to replies is dropped."""
    level = 0
    if config.allow_msg_ttl or config.subject_delete_marker_ttl > 0:
        level = 1
    if config.allow_msg_counter or config.allow_atomic or config.allow_msg_schedules or config.persist_mode == "async":
        level = 2
    if config.allow_batched:
        level = 4
    kept = {key: value for key, value in config.metadata.items() if key not in ("_nats.ver", "_nats.level")}
    return _replace(config, metadata={**kept, REQUIRED_LEVEL: str(level)})
