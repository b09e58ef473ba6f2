"""What a stream configuration may be: defaults, checks in nats-server's order and words, update rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream.error_table import api_error
from millpond.jetstream.stream_config import StreamConfig
from millpond.subjects import pytokens

FORBIDDEN_IN_NAMES: Final = set(" \t\r\n\f.*>\\/")
AGE_MIN_NS: Final = 100_000_000
MARKER_TTL_MIN_NS: Final = 1_000_000_000
REPLICAS_MAX: Final = 5


def invalid(text: str) -> ApiError:
    """10052 with nats-server's text."""
    return api_error("JSStreamInvalidConfigF", err=text)


def with_defaults(config: StreamConfig, window_max_ns: int = 0, pedantic: bool = False) -> StreamConfig:
    """What the server makes of the fields that a request leaves out. `pedantic`: what contradicts stays as it is."""
    window = config.duplicate_window
    if window == 0 and config.mirror is None and not config.sources:
        window = limits.DUPLICATE_WINDOW_DEFAULT_NS
        if config.max_age:
            window = min(window, config.max_age) if config.max_age > 0 else window
        if window_max_ns:
            window = min(window, window_max_ns)
    subjects = config.subjects
    if not subjects and config.mirror is None and not config.sources:
        subjects = [config.name]
    consumer_limits = config.consumer_limits
    if consumer_limits.inactive_threshold < 0 or consumer_limits.max_ack_pending < -1:
        consumer_limits = msgspec.structs.replace(
            consumer_limits,
            inactive_threshold=max(0, consumer_limits.inactive_threshold),
            max_ack_pending=max(-1, consumer_limits.max_ack_pending),
        )
    if config.subject_delete_marker_ttl > 0 and not pedantic:
        config = _with_marker_needs(config)
    return msgspec.structs.replace(
        config,
        subjects=subjects,
        max_consumers=_unlimited(config.max_consumers),
        max_msgs=_unlimited(config.max_msgs),
        max_bytes=_unlimited(config.max_bytes),
        max_msgs_per_subject=_unlimited(config.max_msgs_per_subject),
        max_msg_size=_unlimited(config.max_msg_size),
        num_replicas=config.num_replicas or 1,
        duplicate_window=window,
        consumer_limits=consumer_limits,
        metadata={key: value for key, value in config.metadata.items() if not key.startswith("_nats.")},
    )


def _with_marker_needs(config: StreamConfig) -> StreamConfig:
    """Markers end by their TTL and roll up what they mark."""
    if not config.allow_rollup_hdrs:
        config = msgspec.structs.replace(config, allow_rollup_hdrs=True, deny_purge=False)
    return msgspec.structs.replace(config, allow_msg_ttl=True)


def _unlimited(value: int) -> int:
    return value if value > 0 else -1


def check_name(name: str) -> None:
    """Raises 10128 for path separators, 10052 for what else a stream name cannot hold."""
    if "/" in name or "\\" in name:
        raise api_error("JSStreamNameContainsPathSeparatorsErr")
    if not name or FORBIDDEN_IN_NAMES & set(name):
        raise invalid("stream name is required and can not contain '.', '*', '>', '\\', '/'")
    if len(name.encode()) > limits.NAME_BYTES_MAX:
        raise invalid(f"stream name is too long, maximum allowed is {limits.NAME_BYTES_MAX}")


def check(config: StreamConfig) -> None:
    """Raises the ApiError that nats-server gives for the first thing wrong with a whole configuration."""
    check_name(config.name)
    if len(config.description.encode()) > limits.DESCRIPTION_BYTES_MAX:
        raise invalid(f"stream description is too long, maximum allowed is {limits.DESCRIPTION_BYTES_MAX}")
    if sum(len(key.encode()) + len(text.encode()) for key, text in config.metadata.items()) > (
        limits.METADATA_BYTES_MAX
    ):
        raise invalid(f"stream metadata exceeds maximum size of {limits.METADATA_BYTES_MAX} bytes")
    _check_replicas(config)
    _check_times(config)
    _check_flags(config)
    _check_subjects(config)
    _check_not_yet(config)


def _check_replicas(config: StreamConfig) -> None:
    if config.num_replicas < 0:
        raise api_error("JSReplicasCountCannotBeNegative")
    if config.num_replicas > REPLICAS_MAX:
        raise invalid(f"maximum replicas is {REPLICAS_MAX}")
    if config.num_replicas > 1:
        raise api_error("JSStreamReplicasNotSupportedErr")


def _check_times(config: StreamConfig) -> None:
    if config.max_age < 0:
        raise invalid("max age can not be negative")
    if 0 < config.max_age < AGE_MIN_NS:
        raise invalid("max age needs to be >= 100ms")
    if config.duplicate_window < 0:
        raise invalid("duplicates window can not be negative")
    if config.max_age and config.duplicate_window > config.max_age:
        raise invalid("duplicates window can not be larger then max age")
    if 0 < config.duplicate_window < AGE_MIN_NS:
        raise invalid("duplicates window needs to be >= 100ms")


def _check_flags(config: StreamConfig) -> None:
    if config.deny_purge and config.allow_rollup_hdrs:
        raise invalid("roll-ups require the purge permission")
    if config.discard_new_per_subject:
        if config.discard != "new":
            raise invalid("discard new per subject requires discard new policy to be set")
        if config.max_msgs_per_subject <= 0:
            raise invalid("discard new per subject requires max msgs per subject > 0")
    _check_markers(config)
    if config.mirror_direct and config.mirror is None:
        raise invalid("stream has no mirror but does have mirror direct")
    if config.placement is not None and config.placement.preferred:
        raise invalid("preferred server not permitted in placement")


def _check_markers(config: StreamConfig) -> None:
    if config.subject_delete_marker_ttl < 0:
        raise invalid("subject delete marker TTL must not be negative")
    if config.subject_delete_marker_ttl == 0:
        return
    if config.subject_delete_marker_ttl < MARKER_TTL_MIN_NS:
        raise invalid("subject delete marker TTL must be at least 1 second")
    if not config.allow_msg_ttl:
        raise invalid("subject delete marker cannot be set if message TTLs are disabled")
    if not config.allow_rollup_hdrs:
        raise invalid("subject delete marker cannot be set if roll-ups are disabled")
    if config.mirror is not None:
        raise invalid("subject delete markers forbidden on mirrors")


def _check_subjects(config: StreamConfig) -> None:
    for number, subject in enumerate(config.subjects):
        if not pytokens.is_valid_filter(subject):
            raise invalid("invalid subject")
        _check_reserved(subject, config.no_ack)
        for earlier in config.subjects[:number]:
            if pytokens.overlap(earlier, subject):
                raise invalid(f'subject "{earlier}" overlaps with "{subject}"')


def _check_reserved(subject: str, no_ack: bool) -> None:
    if no_ack:
        return
    if subject == ">":
        raise invalid("capturing all subjects requires no-ack to be true")
    for reserved in ("$JS.>", "$JSC.>", "$NRG.>"):
        if pytokens.overlap(subject, reserved) and not pytokens.is_subset(subject, "$JS.EVENT.>"):
            raise invalid("subjects that overlap with jetstream api require no-ack to be true")
    if pytokens.overlap(subject, "$SYS.>") and not pytokens.is_subset(subject, "$SYS.ACCOUNT.>"):
        raise invalid("subjects that overlap with system api require no-ack to be true")


NOT_YET: Final[dict[str, object]] = {
    "mirror": None,
    "sources": [],
    "subject_transform": None,
    "republish": None,
    "allow_msg_counter": False,
    "allow_atomic": False,
    "allow_msg_schedules": False,
    "allow_batched": False,
}
"""Fields of features that this release does not have, with the only value it takes (docs/differences.md)."""


def _check_not_yet(config: StreamConfig) -> None:
    """A feature that is not there is refused by name, never ignored."""
    for name, idle in NOT_YET.items():
        if getattr(config, name) != idle:
            raise invalid(f"{name} is not supported by this server")
    if config.retention != "limits":
        raise invalid(f"retention policy {config.retention} is not supported by this server")
    if config.compression != "none":
        raise invalid("compression is not supported by this server")
    if config.persist_mode == "async":
        raise invalid("persist_mode async is not supported by this server")


def check_create(config: StreamConfig) -> None:
    """What only a create may not ask for."""
    if config.sealed:
        raise invalid("stream configuration for create can not be sealed")


def check_overlap(config: StreamConfig, others: Iterable[StreamConfig]) -> None:
    """10065 when another stream of the account listens on one of our subjects."""
    for other in others:
        if other.name == config.name:
            continue
        for theirs in other.subjects:
            if any(pytokens.overlap(ours, theirs) for ours in config.subjects):
                raise api_error("JSStreamSubjectOverlapErr")


def check_update(old: StreamConfig, new: StreamConfig) -> None:
    """Raises what nats-server says when `old` may not become `new`."""
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
    if old.mirror != new.mirror:
        raise api_error("JSStreamMirrorNotUpdatableErr")
    if old.allow_msg_ttl and not new.allow_msg_ttl:
        raise invalid("message TTL status can not be disabled")
    if new.persist_mode != old.persist_mode:
        raise invalid("stream configuration update can not change persist mode")


def sealed_form(config: StreamConfig) -> StreamConfig:
    """What sealing makes of a configuration: nothing comes in, nothing goes out, for ever (ADR-22)."""
    if not config.sealed:
        return config
    return msgspec.structs.replace(
        config,
        max_age=0,
        discard="new",
        deny_delete=True,
        deny_purge=True,
        allow_rollup_hdrs=False,
    )
