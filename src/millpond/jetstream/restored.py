"""Consumers as a backup describes them, on their way to running ones."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from millpond.base.errors import ApiError, BackupError
from millpond.jetstream import consumer_rules, retention_rules
from millpond.jetstream.api_level import REQUIRED_LEVEL, is_beyond_ours
from millpond.jetstream.backup_documents import CONFIG, ConsumerDocument, rows_of
from millpond.jetstream.config_wire import consumer_from_request
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.go_json import unmarshal
from millpond.jetstream.stream_config import StreamConfig
from millpond.store.consumer_state import ConsumerState


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer whose stream does not run yet."""

    name: str
    config: ConsumerConfig
    created_ns: int
    state: ConsumerState


def restored_config(
    name: str, document: ConsumerDocument, stream: StreamConfig, others: Iterable[ConsumerConfig]
) -> ConsumerConfig:
    """Its configuration, checked as for a new one. Raises BackupError."""
    try:
        asked = consumer_from_request(unmarshal(bytes(document.config), CONFIG))
        consumer_rules.check_path(name)
        config = consumer_rules.with_defaults(msgspec.structs.replace(asked, name=name), stream)
        consumer_rules.check(config, stream)
        consumer_rules.check_length(name)
        retention_rules.check_new(config, stream, others)
    except ApiError as error:
        raise BackupError(f'failed to add consumer "{name}": {error}') from None
    if not name:
        raise BackupError('failed to add consumer "": consumer name is missing')
    level = asked.metadata.get(REQUIRED_LEVEL, "")
    if is_beyond_ours(level.encode()):
        config = msgspec.structs.replace(config, metadata={**config.metadata, REQUIRED_LEVEL: level})
    return consumer_rules.ephemeral(config)


def restore_state(name: str, document: ConsumerDocument, state: ConsumerState) -> None:
    """Raises BackupError for what no consumer can be like."""
    assert document.state is not None, "read_consumer() saw to it"
    try:
        pending, exhausted = rows_of(document.state)
    except BackupError as error:
        raise BackupError(f'failed to set consumer "{name}" state: {error}') from None
    delivered, floor = document.state.delivered, document.state.ack_floor
    state.restore(
        (delivered.stream_seq, delivered.consumer_seq), (floor.stream_seq, floor.consumer_seq), pending, exhausted
    )
