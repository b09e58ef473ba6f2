"""What some features ask of a stream configuration: markers, schedules, subject transform, republish.

Steps as in `stream_rules`: each takes a configuration and gives it with the fields that its feature forces, or
raises the ApiError of the first thing wrong. A pedantic request forbids to force anything.
"""

from __future__ import annotations

from typing import Final

import msgspec

from millpond.base.errors import ApiError
from millpond.jetstream.error_table import api_error
from millpond.jetstream.stream_config import Republish, StreamConfig
from millpond.subjects import pytokens
from millpond.subjects.transform import Transform, TransformError, check_destination

MARKER_TTL_MIN_NS: Final = 1_000_000_000
ALL: Final = ">"


def _invalid(text: str) -> ApiError:
    return api_error("JSStreamInvalidConfigF", err=text)


def _with_rollups(config: StreamConfig) -> StreamConfig:
    if config.allow_rollup_hdrs:
        return config
    return msgspec.structs.replace(config, allow_rollup_hdrs=True, deny_purge=False)


def markers(config: StreamConfig, pedantic: bool) -> StreamConfig:
    """Delete markers end by their TTL and roll up what they mark (ADR-43)."""
    if config.subject_delete_marker_ttl < 0:
        raise _invalid("subject delete marker TTL must not be negative")
    if config.subject_delete_marker_ttl == 0:
        return config
    if config.subject_delete_marker_ttl < MARKER_TTL_MIN_NS:
        raise _invalid("subject delete marker TTL must be at least 1 second")
    if pedantic and not config.allow_msg_ttl:
        raise _invalid("subject delete marker cannot be set if message TTLs are disabled")
    if pedantic and not config.allow_rollup_hdrs:
        raise _invalid("subject delete marker cannot be set if roll-ups are disabled")
    return msgspec.structs.replace(_with_rollups(config), allow_msg_ttl=True)


def schedules(config: StreamConfig, pedantic: bool) -> StreamConfig:
    """A schedule is rolled up by its last firing (ADR-51)."""
    if not config.allow_msg_schedules:
        return config
    if config.discard == "new":
        raise _invalid("message scheduling cannot use discard new")
    if pedantic and not config.allow_rollup_hdrs:
        raise _invalid("message scheduling cannot be set if roll-ups are disabled")
    return _with_rollups(config)


def transform(config: StreamConfig, pedantic: bool) -> StreamConfig:
    """`subject_transform`"""
    wanted = config.subject_transform
    if wanted is None:
        return config
    if wanted.src and not pytokens.is_valid_filter(wanted.src):
        raise api_error("JSStreamTransformInvalidSource", err=f"invalid subject {wanted.src}")
    try:
        check_destination(wanted.src, wanted.dest)
    except TransformError as error:
        raise api_error("JSStreamTransformInvalidDestination", err=str(error)) from None
    return config


def republish(config: StreamConfig, pedantic: bool) -> StreamConfig:
    """`republish`: an empty source is all, and its destination is none of the stream's subjects."""
    if config.republish is None:
        return config
    wanted = config.republish
    if not wanted.src:
        if pedantic:
            raise api_error("JSPedanticErrF", err="republish source can not be empty")
        wanted = msgspec.structs.replace(wanted, src=ALL)
    if _is_implied(wanted, config):
        if pedantic:
            raise api_error("JSPedanticErrF", err="implicit republish based on subject transform")
        assert config.subject_transform is not None
        dest = config.subject_transform.dest
        wanted = msgspec.structs.replace(wanted, src=dest, dest=dest)
    if any(pytokens.overlap(wanted.dest, subject) for subject in config.subjects):
        raise _invalid("stream configuration for republish destination forms a cycle")
    try:
        Transform(wanted.src, wanted.dest)
    except TransformError:
        raise _invalid(
            f"stream configuration for republish with transform from '{wanted.src}' to '{wanted.dest}' not valid"
        ) from None
    return msgspec.structs.replace(config, republish=wanted)


def _is_implied(wanted: Republish, config: StreamConfig) -> bool:
    """All to all, where a transform takes everything away from the only subject that the stream listens on."""
    change = config.subject_transform
    return (wanted.src, wanted.dest) == (ALL, ALL) and change is not None and config.subjects == [change.src]
