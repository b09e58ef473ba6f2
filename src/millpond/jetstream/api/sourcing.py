"""Consumers that other streams make for themselves, to mirror or source from a stream (`direct`, `sourcing`).

They are not shown in lists and not counted against max_consumers. Who makes one may say which stream it means: a
stream's identity changes when it is deleted and made anew under the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from millpond.base.ids import short_name
from millpond.jetstream.acks import short_hash
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_time import format_time
from millpond.wire.headers import find_value

if TYPE_CHECKING:
    from millpond.jetstream.api.request import Request
    from millpond.jetstream.consumer import Consumer
    from millpond.jetstream.consumer_config import ConsumerConfig
    from millpond.jetstream.stream import Stream
    from millpond.jetstream.stream_config import StreamConfig

IDENTITY: Final = "Nats-Stream-Identity"


def identity(stream: Stream) -> str:
    """What tells this stream from others that had or will have its name."""
    return str(short_hash(format_time(stream.created_ns)))


def identity_header(stream: Stream) -> bytes:
    """A header block with nothing else."""
    return f"NATS/1.0\r\n{IDENTITY}: {identity(stream)}\r\n\r\n".encode()


def check_identity(request: Request, stream: Stream) -> None:
    """Raises 10225 when the request means another stream; its answer will tell the identity."""
    asked = find_value(request.headers, IDENTITY.encode())
    if asked and asked.decode("latin-1") != identity(stream):
        raise api_error("JSConsumerStreamIdentityMismatchF", msg=identity(stream))
    request.reply_headers = identity_header(stream)


def internal(config: ConsumerConfig) -> bool:
    """Does it belong to another stream?"""
    return config.direct or config.sourcing


def is_shown(consumer: Consumer) -> bool:
    """Do lists and counts show it?"""
    return not consumer.config.direct


def shown_count(stream: Stream) -> int:
    """How many of its consumers are shown."""
    return sum(map(is_shown, stream.consumers.values()))


def sourcing_form(config: ConsumerConfig, stream: StreamConfig) -> ConsumerConfig:
    """A named direct consumer of a source gets a name of its own each time; on a stream that removes what was
    acknowledged it becomes durable and acknowledges by flow control."""
    if not (config.direct and config.sourcing and config.name):
        return config
    if stream.retention == "limits":
        return msgspec.structs.replace(config, name=f"{config.name}-{short_name()}")
    return msgspec.structs.replace(
        config, direct=False, durable_name=config.name, ack_policy="flow_control", ack_wait=0, max_deliver=0,
        inactive_threshold=0,
    )  # fmt: skip


def kept_by_an_update(config: ConsumerConfig, old: ConsumerConfig) -> ConsumerConfig:
    """Only CONSUMER.PAUSE changes when a consumer goes on; a durable one of a source stays where it is."""
    config = msgspec.structs.replace(config, pause_until_ns=old.pause_until_ns, pause_zone_s=old.pause_zone_s)
    if not (config.sourcing and config.durable_name):
        return config
    return msgspec.structs.replace(
        config, deliver_policy=old.deliver_policy, opt_start_seq=old.opt_start_seq,
        opt_start_time_ns=old.opt_start_time_ns,
        opt_start_zone_s=old.opt_start_zone_s,
    )  # fmt: skip
