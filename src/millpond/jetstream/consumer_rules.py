"""What a consumer configuration may be: defaults, checks in nats-server's order and words, update rules."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream.api_level import REQUIRED_LEVEL
from millpond.jetstream.asset_names import FORBIDDEN_IN_NAMES
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import duration_text
from millpond.jetstream.go_text import quote
from millpond.jetstream.stream_config import UNLIMITED, ServerLimits, StreamConfig
from millpond.subjects import pytokens

HEARTBEAT_MIN_NS: Final = 100_000_000
EXPIRES_MIN_NS: Final = 1_000_000
FLOW_ACK_HEARTBEAT_NS: Final = 1_000_000_000
"""The only heartbeat that goes with ack policy flow_control."""
SERVER_METADATA: Final = frozenset(["_nats.ver", "_nats.level", REQUIRED_LEVEL])
"""What only servers write."""
NO_STORE: Final = "error creating store for consumer"
GROUP_NAME: Final = re.compile(r"[a-zA-Z0-9/_=-]{1,16}", re.A)

NOT_NEGATIVE: Final = (
    "max_waiting", "max_batch", "max_expires", "max_bytes", "idle_heartbeat", "inactive_threshold",
    "priority_timeout",
)  # fmt: skip


# --- defaults ---


def with_defaults(
    config: ConsumerConfig, stream: StreamConfig, pedantic: bool = False, server: ServerLimits = UNLIMITED
) -> ConsumerConfig:
    """What the server makes of the fields that a request leaves out. With `pedantic` a field that would be changed
    is refused (10157)."""
    if pedantic:
        _check_pedantic(config, stream, server)
    changes: dict[str, Any] = {name: max(0, getattr(config, name)) for name in NOT_NEGATIVE}
    changes["max_deliver"] = config.max_deliver if config.max_deliver > 0 else -1
    if not config.deliver_subject and not changes["max_waiting"]:
        changes["max_waiting"] = limits.MAX_WAITING_DEFAULT
    if config.ack_wait == 0 and config.ack_policy in ("explicit", "all"):
        changes["ack_wait"] = limits.ACK_WAIT_DEFAULT_NS
    if config.backoff:
        changes["ack_wait"] = config.backoff[0]
    max_ack_pending = max(-1, config.max_ack_pending) or stream.consumer_limits.max_ack_pending
    if max_ack_pending == 0 and config.ack_policy != "none":
        max_ack_pending = min(limits.MAX_ACK_PENDING_DEFAULT, server.max_ack_pending or limits.MAX_ACK_PENDING_DEFAULT)
    changes["max_ack_pending"] = max_ack_pending
    if not config.deliver_subject and not changes["max_batch"]:
        changes["max_batch"] = server.max_request_batch
    changes["inactive_threshold"] = changes["inactive_threshold"] or stream.consumer_limits.inactive_threshold
    if config.priority_policy == "pinned_client" and not changes["priority_timeout"]:
        changes["priority_timeout"] = limits.PINNED_TIMEOUT_DEFAULT_NS
    if config.ack_policy == "flow_control" and not pedantic:
        changes.update(flow_control=True, idle_heartbeat=FLOW_ACK_HEARTBEAT_NS)
    changes["metadata"] = own_metadata(config.metadata)
    return msgspec.structs.replace(config, **changes)


def own_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """What the user gave; the rest follows from the configuration."""
    return {key: value for key, value in metadata.items() if key not in SERVER_METADATA}


def ephemeral(config: ConsumerConfig) -> ConsumerConfig:
    """What is not durable goes away unused. Not among the defaults: a request that leaves the threshold out is not
    the same as the consumer that it made."""
    if config.durable_name or config.inactive_threshold:
        return config
    return msgspec.structs.replace(config, inactive_threshold=limits.INACTIVE_THRESHOLD_DEFAULT_NS)


def _check_pedantic(config: ConsumerConfig, stream: StreamConfig, server: ServerLimits) -> None:
    def refuse(text: str) -> ApiError:
        return api_error("JSPedanticErrF", err=text)

    if config.max_deliver < -1:
        raise refuse("max_deliver must be set to -1")
    if config.max_waiting < 0:
        raise refuse("max_waiting must not be negative")
    if config.max_ack_pending < -1:
        raise refuse("max_ack_pending must be set to -1")
    for name in NOT_NEGATIVE[1:]:
        if getattr(config, name) < 0:
            raise refuse(f"{name} must not be negative")
    ack_wait = config.ack_wait
    if ack_wait == 0 and config.ack_policy in ("explicit", "all"):
        ack_wait = limits.ACK_WAIT_DEFAULT_NS
    if config.backoff and ack_wait != config.backoff[0]:
        raise refuse("first backoff value has to equal batch AckWait")
    if config.max_ack_pending == 0 and stream.consumer_limits.max_ack_pending > 0:
        raise refuse("max_ack_pending must be set if it's configured in stream limits")
    if config.inactive_threshold == 0 and stream.consumer_limits.inactive_threshold > 0:
        raise refuse("inactive_threshold must be set if it's configured in stream limits")
    if not config.deliver_subject and not config.max_batch and server.max_request_batch:
        raise refuse("max_request_batch must be set if it's JetStream limits are set")


# --- checks ---


def check_path(name: str) -> None:
    """Raises 10127 for what would be a path, whatever else is wrong with the name."""
    if "/" in name or "\\" in name:
        raise api_error("JSConsumerNameContainsPathSeparatorsErr")


def _check_names(config: ConsumerConfig) -> None:
    for kind, name in (("name", config.name), ("durable name", config.durable_name)):
        if FORBIDDEN_IN_NAMES & set(name):
            raise _invalid(f"consumer {kind} can not contain '.', '*', '>', '\\', '/'")


def check_length(name: str) -> None:
    """Raises 10102; last of all checks, as in nats-server."""
    if len(name.encode()) > limits.NAME_BYTES_MAX:
        raise api_error("JSConsumerNameTooLongErrF", max=limits.NAME_BYTES_MAX)


def _invalid(text: str) -> ApiError:
    return api_error("JSStreamInvalidConfigF", err=text)


def check(config: ConsumerConfig, stream: StreamConfig, server: ServerLimits = UNLIMITED) -> None:
    """Raises the ApiError that nats-server gives for the first thing wrong."""
    _check_names(config)
    if config.num_replicas < 0:
        raise api_error("JSReplicasCountCannotBeNegative")
    _check_waits(config)
    if config.backoff and config.max_deliver != -1 and len(config.backoff) > config.max_deliver:
        raise api_error("JSConsumerMaxDeliverBackoffErr")
    if len(config.description.encode()) > limits.DESCRIPTION_BYTES_MAX:
        raise api_error("JSConsumerDescriptionTooLongErrF", max=limits.DESCRIPTION_BYTES_MAX)
    if config.deliver_subject:
        _check_push(config, stream)
    else:
        _check_pull(config, stream)
        if 0 < server.max_request_batch < config.max_batch:
            raise api_error("JSConsumerMaxRequestBatchExceededF", limit=server.max_request_batch)
    if 0 < server.max_ack_pending < config.max_ack_pending:
        raise api_error("JSConsumerMaxPendingAckExcessErrF", limit=server.max_ack_pending)
    _check_limits(config, stream)
    if config.direct and not config.deliver_subject:
        raise api_error("JSConsumerDirectRequiresPushErr")
    if config.direct and config.durable_name:
        raise api_error("JSConsumerDirectRequiresEphemeralErr")
    _check_filters(config)
    _check_start(config)
    _check_sampling(config)
    if config.flow_control and not config.idle_heartbeat:
        raise api_error("JSConsumerWithFlowControlNeedsHeartbeats")
    if config.durable_name and config.name and config.durable_name != config.name:
        raise api_error("JSConsumerCreateDurableAndNameMismatch")
    if sum(len(k.encode()) + len(v.encode()) for k, v in config.metadata.items()) > limits.METADATA_BYTES_MAX:
        raise api_error("JSConsumerMetadataLengthErrF", limit=f"{limits.METADATA_BYTES_MAX // limits.KIB}KB")
    _check_priority(config)


def _check_waits(config: ConsumerConfig) -> None:
    if any(step < 0 for step in config.backoff):
        raise api_error("JSConsumerBackOffNegativeErr")
    if config.ack_wait < 0:
        raise api_error("JSConsumerAckWaitNegativeErr")
    if config.ack_policy != "flow_control":
        return
    if not config.deliver_subject:
        raise api_error("JSConsumerAckFCRequiresPushErr")
    if not config.flow_control:
        raise api_error("JSConsumerAckFCRequiresFCErr")
    if config.idle_heartbeat != FLOW_ACK_HEARTBEAT_NS:
        raise _invalid("flow control ack policy heartbeat needs to be 1s")
    if config.max_ack_pending <= 0:
        raise api_error("JSConsumerAckFCRequiresMaxAckPendingErr")
    if config.ack_wait or config.backoff:
        raise api_error("JSConsumerAckFCRequiresNoAckWaitErr")
    if config.max_deliver > 0:
        raise api_error("JSConsumerAckFCRequiresNoMaxDeliverErr")


def _check_push(config: ConsumerConfig, stream: StreamConfig) -> None:
    if pytokens.has_wildcard(config.deliver_subject):
        raise api_error("JSConsumerDeliverToWildcardsErr")
    if not pytokens.is_valid_filter(config.deliver_subject):
        raise api_error("JSConsumerInvalidDeliverSubject")
    if any(pytokens.matches(config.deliver_subject, subject) for subject in stream.subjects):
        raise api_error("JSConsumerDeliverCycleErr")
    if config.max_waiting:
        raise api_error("JSConsumerPushMaxWaitingErr")
    if config.max_ack_pending > 0 and config.ack_policy == "none":
        raise api_error("JSConsumerMaxPendingAckPolicyRequiredErr")
    if 0 < config.idle_heartbeat < HEARTBEAT_MIN_NS:
        raise api_error("JSConsumerSmallHeartbeatErr")


def _check_pull(config: ConsumerConfig, stream: StreamConfig) -> None:
    if config.ack_policy == "none" and stream.retention == "workqueue":
        raise api_error("JSConsumerPullRequiresAckErr")
    if config.rate_limit_bps:
        raise api_error("JSConsumerPullWithRateLimitErr")
    if config.idle_heartbeat:
        raise api_error("JSConsumerHBRequiresPushErr")
    if config.flow_control:
        raise api_error("JSConsumerFCRequiresPushErr")
    if 0 < config.max_expires < EXPIRES_MIN_NS:
        raise api_error("JSConsumerMaxRequestExpiresTooSmall")


def _check_limits(config: ConsumerConfig, stream: StreamConfig) -> None:
    most = stream.consumer_limits
    if 0 < most.max_ack_pending < config.max_ack_pending:
        raise api_error("JSConsumerMaxPendingAckExcessErrF", limit=most.max_ack_pending)
    if 0 < most.inactive_threshold < config.inactive_threshold:
        raise api_error("JSConsumerInactiveThresholdExcess", limit=duration_text(most.inactive_threshold))


def _check_filters(config: ConsumerConfig) -> None:
    if config.filter_subject and config.filter_subjects:
        raise api_error("JSConsumerDuplicateFilterSubjects")
    if config.filter_subject and not pytokens.is_valid_filter(config.filter_subject):
        raise _invalid("invalid subject")
    if not all(config.filter_subjects):
        raise api_error("JSConsumerEmptyFilter")
    known = pytokens.FilterSet(config.filter_subjects)
    seen: set[str] = set()
    for subject in config.filter_subjects:
        if not pytokens.is_valid_filter(subject):
            raise _invalid("invalid subject")
        # Filters may share subjects, but none may be within another.
        if known.covers(subject) or subject in seen:
            raise api_error("JSConsumerOverlappingSubjectFilters")
        seen.add(subject)


POLICY_NAMES: Final = {
    "all": "all", "last": "last", "new": "new", "last_per_subject": "last per subject",
    "by_start_sequence": "by start sequence", "by_start_time": "by start time",
}  # fmt: skip


def _check_start(config: ConsumerConfig) -> None:
    def refuse(what: str) -> ApiError:
        policy = POLICY_NAMES[config.deliver_policy]
        return api_error("JSConsumerInvalidPolicyErrF", err=f"consumer delivery policy is deliver {policy}, {what}")

    if config.deliver_policy == "by_start_sequence":
        if not config.opt_start_seq:
            raise refuse("but optional start sequence is not set")
        if config.opt_start_time_ns:
            raise refuse("but optional start time is also set")
        return
    if config.deliver_policy == "by_start_time":
        if not config.opt_start_time_ns:
            raise refuse("but optional start time is not set")
        if config.opt_start_seq:
            raise refuse("but optional start start sequence is also set")
        return
    if config.opt_start_seq:
        raise refuse("but optional start sequence is also set")
    if config.opt_start_time_ns:
        raise refuse("but optional start time is also set")
    if config.deliver_policy == "last_per_subject" and not (config.filter_subject or config.filter_subjects):
        raise refuse("but optional filter subject is not set")


def _check_sampling(config: ConsumerConfig) -> None:
    if not config.sample_freq:
        return
    digits = config.sample_freq.removesuffix("%")
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", digits):
        raise api_error("JSConsumerInvalidSamplingErrF", err=f"strconv.Atoi: parsing {quote(digits)}: invalid syntax")
    if int(digits) < 0:
        raise api_error("JSConsumerInvalidSamplingErrF", err="<nil>")


def _check_priority(config: ConsumerConfig) -> None:
    if config.priority_policy == "none":
        if config.priority_groups:
            raise api_error("JSConsumerPriorityGroupWithPolicyNone")
        if config.priority_timeout:
            raise api_error("JSConsumerPinnedTTLWithoutPriorityPolicyNone")
        return
    if config.deliver_subject:
        raise api_error("JSConsumerPushWithPriorityGroupErr")
    if not config.priority_groups:
        raise api_error("JSConsumerPriorityPolicyWithoutGroup")
    for group in config.priority_groups:
        if not group:
            raise api_error("JSConsumerEmptyGroupName")
        if not GROUP_NAME.fullmatch(group):
            raise api_error("JSConsumerInvalidGroupNameErr")


# --- updates ---

IMMUTABLE: Final = {
    "deliver_policy": "deliver policy can not be updated",
    "mem_storage": "storage type can not be updated",
    "direct": "direct can not be updated",
    "sourcing": "sourcing can not be updated",
    "opt_start_seq": "start sequence can not be updated",
    "opt_start_time_ns": "start time can not be updated",
    "ack_policy": "ack policy can not be updated",
    "replay_policy": "replay policy can not be updated",
    "idle_heartbeat": "heart beats can not be updated",
    "flow_control": "flow control can not be updated",
}
"""In nats-server's order."""


def check_update(old: ConsumerConfig, new: ConsumerConfig, listened: bool) -> None:
    """Raises 10012 with nats-server's text when `old` may not become `new`; `listened`: somebody subscribes to what
    the old deliver subject matches."""

    def refuse(text: str) -> ApiError:
        return api_error("JSConsumerCreateErrF", err=text)

    for name, text in IMMUTABLE.items():
        if getattr(old, name) != getattr(new, name):
            raise refuse(text)
    if old.deliver_subject != new.deliver_subject:
        if not old.deliver_subject:
            raise refuse("can not update pull consumer to push based")
        if not new.deliver_subject:
            raise refuse("can not update push consumer to pull based")
        if listened:
            raise api_error("JSConsumerNameExistErr")
    if old.max_waiting != new.max_waiting:
        raise refuse("max waiting can not be updated")
