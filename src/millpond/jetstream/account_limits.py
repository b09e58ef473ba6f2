"""What an account may use of JetStream (reference 02.3, 05.3): its own limits first, then what the server has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from millpond.base.limits import BYTES_UNBOUNDED, INFLIGHT_BYTES_PER_STREAM_MAX, INFLIGHT_MESSAGES_PER_STREAM_MAX
from millpond.config.options import JetStreamOptions
from millpond.config.security import TIER
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.error_table import api_error
from millpond.jetstream.storage import NO_LIMIT
from millpond.jetstream.stream_config import StreamConfig

if TYPE_CHECKING:
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream

log = logging.getLogger("millpond")


def check_stream(engine: Engine, config: StreamConfig) -> None:
    """Raises the API's error when the account, or the server, has no room for a stream of this configuration."""
    limits = engine.account_limits
    if limits.tiers and config.num_replicas > 1:
        return  # it is of another tier, and refused by the next rule
    if limits.tiers and TIER not in dict(limits.tiers):
        raise api_error("JSNoLimitsErr")
    if engine.config_of(config.name) is None and 0 < limits.max_streams <= len(engine.names()):
        raise api_error("JSMaximumStreamsLimitErr")
    if 0 < limits.max_consumers < config.max_consumers:
        raise api_error("JSMaximumConsumersLimitErr")
    if limits.max_bytes_required and config.max_bytes <= 0:
        raise api_error("JSStreamMaxBytesRequired")
    memory = config.storage == "memory"
    per_stream = limits.memory_max_stream_bytes if memory else limits.file_max_stream_bytes
    if 0 < per_stream < config.max_bytes:
        raise api_error("JSStreamMaxStreamBytesExceeded")
    if config.num_replicas <= 1:  # or it is refused by the next rule
        _check_reservation(engine, config, limits.max_memory if memory else limits.max_file)


def _check_reservation(engine: Engine, config: StreamConfig, account_max: int) -> None:
    memory = config.storage == "memory"
    failure = "JSMemoryResourcesExceededErr" if memory else "JSStorageResourcesExceededErr"
    wanted = max(config.max_bytes, 0)
    reserved = engine.reserved_in(config.storage, config.name)
    if account_max >= 0 and reserved + max(wanted, 1) > account_max:
        raise api_error(failure)
    elsewhere = sum(other.reserved_in(config.storage) for other in engine.all if other is not engine)
    if wanted > 0 and not engine.may_reserve(config.storage, elsewhere + reserved + wanted):
        log.warning(
            "stream %s asks to reserve max_bytes %d; %d of %d bytes are reserved already. "
            "Lower max_bytes, or raise the server's limit",
            config.name, config.max_bytes, elsewhere + reserved, engine.server_limit(config.storage),
        )  # fmt: skip
        raise api_error(failure)


def with_consumer_limits(engine: Engine, config: ConsumerConfig, asked: ConsumerConfig) -> ConsumerConfig:
    """The configuration with the account's bound of pending acknowledgements. Raises 10121 for one beyond it."""
    most = engine.account_limits.max_ack_pending
    if most <= 0 or config.max_ack_pending <= most:
        return config
    if asked.max_ack_pending > most:
        raise api_error("JSConsumerMaxPendingAckExcessErrF", limit=most)
    return msgspec.structs.replace(config, max_ack_pending=most)


def consumers_max(engine: Engine, stream: Stream) -> int:
    """How many consumers the stream may have, by its own, the account's or the server's bound; 0: any number."""
    own, account = stream.config.max_consumers, engine.account_limits.max_consumers
    if account > 0 and not 0 < own <= account:
        return account
    return max(0, own if own > 0 else engine.default_max_consumers)


def publish_bounds(options: JetStreamOptions) -> tuple[int, int]:
    """How many publishes, and bytes of them, may be under way in one stream."""
    size = options.max_buffered_bytes
    return (
        options.max_buffered_msgs or INFLIGHT_MESSAGES_PER_STREAM_MAX,
        BYTES_UNBOUNDED if size == NO_LIMIT else size or INFLIGHT_BYTES_PER_STREAM_MAX,
    )
