"""What a consumer configuration may be: defaults, checks in nats-server's order and words, update rules."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream import retention_rules
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import duration_text
from millpond.jetstream.stream_config import StreamConfig
from millpond.jetstream.stream_rules import FORBIDDEN_IN_NAMES
from millpond.subjects import pytokens

HEARTBEAT_MIN_NS: Final = 100_000_000
EXPIRES_MIN_NS: Final = 1_000_000
REQUIRED_LEVEL: Final = "_nats.req.level"


def with_defaults(config: ConsumerConfig, stream: StreamConfig) -> ConsumerConfig:
    """What the server makes of the fields that a request leaves out."""
    changes: dict[str, Any] = {
        "max_deliver": config.max_deliver if config.max_deliver > 0 else -1,
        "max_batch": max(0, config.max_batch),
        "max_expires": max(0, config.max_expires),
        "max_bytes": max(0, config.max_bytes),
        "inactive_threshold": max(0, config.inactive_threshold),
        "metadata": {**_own_metadata(config), REQUIRED_LEVEL: str(_required_level(config))},
    }
    if config.backoff:
        changes["ack_wait"] = config.backoff[0]
    elif config.ack_policy in ("explicit", "all") and config.ack_wait == 0:
        changes["ack_wait"] = limits.ACK_WAIT_DEFAULT_NS
    if config.ack_policy == "none":
        changes["ack_wait"] = 0
    if not config.deliver_subject and config.max_waiting <= 0:
        changes["max_waiting"] = limits.MAX_WAITING_DEFAULT
    if config.ack_policy != "none":
        if config.max_ack_pending == 0:
            changes["max_ack_pending"] = (
                stream.consumer_limits.max_ack_pending or limits.MAX_ACK_PENDING_DEFAULT
            )
        elif config.max_ack_pending < -1:
            changes["max_ack_pending"] = -1
    if not config.durable_name and not changes["inactive_threshold"]:
        changes["inactive_threshold"] = (
            stream.consumer_limits.inactive_threshold or limits.INACTIVE_THRESHOLD_DEFAULT_NS
        )
    return msgspec.structs.replace(config, **changes)


def _own_metadata(config: ConsumerConfig) -> dict[str, str]:
    """Without what only servers write."""
    return {key: value for key, value in config.metadata.items() if not key.startswith("_nats.")}


def _required_level(config: ConsumerConfig) -> int:
    """The API level that a server must have to keep this consumer."""
    if config.ack_policy == "flow_control":
        return 4
    prioritized = config.priority_policy != "none" or config.priority_groups or config.priority_timeout
    return 1 if prioritized or config.pause_until_ns else 0


def check_name(name: str) -> None:
    """Raises 10127 for path separators, 10052 for what else a consumer name cannot hold."""
    if "/" in name or "\\" in name:
        raise api_error("JSConsumerNameContainsPathSeparatorsErr")
    if FORBIDDEN_IN_NAMES & set(name):
        raise _invalid("consumer name can not contain '.', '*', '>', '\\', '/'")
    if len(name.encode()) > limits.NAME_BYTES_MAX:
        raise api_error("JSConsumerNameTooLongErrF", max=limits.NAME_BYTES_MAX)


def _invalid(text: str) -> ApiError:
    return api_error("JSStreamInvalidConfigF", err=text)


def check(config: ConsumerConfig, stream: StreamConfig) -> None:
    """Raises the ApiError that nats-server gives for the first thing wrong."""
    if len(config.description.encode()) > limits.DESCRIPTION_BYTES_MAX:
        raise api_error("JSConsumerDescriptionTooLongErrF", max=limits.DESCRIPTION_BYTES_MAX)
    _check_numbers(config)
    if config.deliver_subject:
        _check_push(config, stream)
    else:
        retention_rules.check_pull(config, stream)
        _check_pull(config)
    if config.direct:
        if not config.deliver_subject:
            raise api_error("JSConsumerDirectRequiresPushErr")
        if config.durable_name:
            raise api_error("JSConsumerDirectRequiresEphemeralErr")
    _check_filters(config)
    _check_start(config)
    _check_limits(config, stream)
    _check_not_yet(config)


def _check_numbers(config: ConsumerConfig) -> None:
    if config.num_replicas < 0:
        raise api_error("JSReplicasCountCannotBeNegative")
    if config.num_replicas > 1:
        raise api_error("JSStreamReplicasNotSupportedErr")
    if config.ack_wait < 0:
        raise api_error("JSConsumerAckWaitNegativeErr")
    if any(step < 0 for step in config.backoff):
        raise api_error("JSConsumerBackOffNegativeErr")
    if config.backoff and 0 < config.max_deliver <= len(config.backoff):
        raise api_error("JSConsumerMaxDeliverBackoffErr")
    if sum(len(k.encode()) + len(v.encode()) for k, v in config.metadata.items()) > limits.METADATA_BYTES_MAX:
        raise api_error("JSConsumerMetadataLengthErrF", limit="128KB")
    if config.sample_freq:
        digits = config.sample_freq.removesuffix("%")
        if not digits.lstrip("+-").isdigit():
            raise api_error(
                "JSConsumerInvalidSamplingErrF", err=f'strconv.Atoi: parsing "{digits}": invalid syntax'
            )


def _check_push(config: ConsumerConfig, stream: StreamConfig) -> None:
    if not pytokens.is_valid_filter(config.deliver_subject):
        raise api_error("JSConsumerInvalidDeliverSubject")
    if pytokens.has_wildcard(config.deliver_subject):
        raise api_error("JSConsumerDeliverToWildcardsErr")
    if any(pytokens.matches(config.deliver_subject, subject) for subject in stream.subjects):
        raise api_error("JSConsumerDeliverCycleErr")
    if config.max_waiting:
        raise api_error("JSConsumerPushMaxWaitingErr")
    if config.max_ack_pending > 0 and config.ack_policy == "none":
        raise api_error("JSConsumerMaxPendingAckPolicyRequiredErr")
    if 0 < config.idle_heartbeat < HEARTBEAT_MIN_NS:
        raise api_error("JSConsumerSmallHeartbeatErr")
    if config.flow_control and not config.idle_heartbeat:
        raise api_error("JSConsumerWithFlowControlNeedsHeartbeats")


def _check_pull(config: ConsumerConfig) -> None:
    if config.rate_limit_bps:
        raise api_error("JSConsumerPullWithRateLimitErr")
    if config.idle_heartbeat:
        raise api_error("JSConsumerHBRequiresPushErr")
    if config.flow_control:
        raise api_error("JSConsumerFCRequiresPushErr")
    if config.ack_policy == "flow_control":
        raise ApiError(400, 10218, "flow control ack policy requires a push based consumer")
    if 0 < config.max_expires < EXPIRES_MIN_NS:
        raise api_error("JSConsumerMaxRequestExpiresTooSmall")


def _check_filters(config: ConsumerConfig) -> None:
    if config.filter_subject and config.filter_subjects:
        raise api_error("JSConsumerDuplicateFilterSubjects")
    if config.filter_subject and not pytokens.is_valid_filter(config.filter_subject):
        raise _invalid("invalid subject")
    for number, subject in enumerate(config.filter_subjects):
        if not subject:
            raise api_error("JSConsumerEmptyFilter")
        if not pytokens.is_valid_filter(subject):
            raise _invalid("invalid subject")
        if any(pytokens.overlap(subject, earlier) for earlier in config.filter_subjects[:number]):
            raise api_error("JSConsumerOverlappingSubjectFilters")


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
            raise refuse("but optional start sequence is also set")
        return
    if config.opt_start_seq:
        raise refuse("but optional start sequence is also set")
    if config.opt_start_time_ns:
        raise refuse("but optional start time is also set")
    if config.deliver_policy == "last_per_subject" and not (config.filter_subject or config.filter_subjects):
        raise refuse("but optional filter subject is not set")


def _check_limits(config: ConsumerConfig, stream: StreamConfig) -> None:
    cap = stream.consumer_limits
    unbounded = not 0 < config.max_ack_pending <= cap.max_ack_pending
    if cap.max_ack_pending > 0 and unbounded and config.ack_policy != "none":
        raise api_error("JSConsumerMaxPendingAckExcessErrF", limit=cap.max_ack_pending)
    if 0 < cap.inactive_threshold < config.inactive_threshold:
        raise api_error("JSConsumerInactiveThresholdExcess", limit=duration_text(cap.inactive_threshold))


def _check_not_yet(config: ConsumerConfig) -> None:
    """A feature that is not there is refused by name, never ignored (docs/differences.md)."""
    if config.ack_policy == "flow_control":
        raise _invalid("ack policy flow_control is not supported by this server")
    if config.priority_groups or config.priority_policy != "none" or config.priority_timeout:
        raise _invalid("priority groups are not supported by this server")
    if config.pause_until_ns:
        raise _invalid("pause_until is not supported by this server")
    if config.sourcing or config.direct:
        raise _invalid("direct consumers are not supported by this server")


IMMUTABLE: Final = {
    "deliver_policy": "deliver policy can not be updated",
    "opt_start_seq": "start sequence can not be updated",
    "opt_start_time_ns": "start time can not be updated",
    "ack_policy": "ack policy can not be updated",
    "replay_policy": "replay policy can not be updated",
    "idle_heartbeat": "heart beats can not be updated",
    "flow_control": "flow control can not be updated",
}


def check_update(old: ConsumerConfig, new: ConsumerConfig, deliver_active: bool) -> None:
    """Raises 10012 with nats-server's text when `old` may not become `new`."""
    for name, text in IMMUTABLE.items():
        if getattr(old, name) != getattr(new, name):
            raise api_error("JSConsumerCreateErrF", err=text)
    if old.deliver_subject != new.deliver_subject:
        if not old.deliver_subject:
            raise api_error("JSConsumerCreateErrF", err="can not update pull consumer to push based")
        if not new.deliver_subject:
            raise api_error("JSConsumerCreateErrF", err="can not update push consumer to pull based")
        if deliver_active:
            raise api_error("JSConsumerNameExistErr")
    if old.max_waiting != new.max_waiting:
        raise api_error("JSConsumerCreateErrF", err="max waiting can not be updated")
