"""What a stream's retention asks of its consumers, in nats-server's order and words."""

from __future__ import annotations

from collections.abc import Iterable

from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.error_table import api_error
from millpond.jetstream.stream_config import StreamConfig
from millpond.subjects import pytokens


def filters(config: ConsumerConfig) -> list[str]:
    """The subjects that a consumer asks for; none: all."""
    return config.filter_subjects or ([config.filter_subject] if config.filter_subject else [])


def check_new(config: ConsumerConfig, stream: StreamConfig, others: Iterable[ConsumerConfig]) -> None:
    """10098 to 10101: a message of a work queue has one consumer, and each message has the chance of one."""
    if stream.retention != "workqueue" or config.direct or config.sourcing:
        return
    if config.ack_policy not in ("explicit", "flow_control"):
        raise api_error("JSConsumerWQRequiresExplicitAckErr")
    if config.deliver_policy != "all":
        raise api_error("JSConsumerWQConsumerNotDeliverAllErr")
    others = list(others)
    if others and not filters(config):
        raise api_error("JSConsumerWQMultipleUnfilteredErr")
    check_changed(config, stream, others)


def check_changed(config: ConsumerConfig, stream: StreamConfig, others: Iterable[ConsumerConfig]) -> None:
    """10100 when another consumer of the work queue may get the same messages."""
    if stream.retention != "workqueue":
        return
    own = filters(config)
    ours = pytokens.FilterSet(own)
    for other in others:
        if other.direct or other.sourcing or not own:
            continue
        theirs = filters(other)
        if not theirs or any(ours.overlaps(their) for their in theirs):
            raise api_error("JSConsumerWQConsumerNotUniqueErr")
