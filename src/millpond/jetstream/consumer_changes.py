"""Changes of a consumer, each of which is kept, or taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from millpond.jetstream.config_wire import consumer_to_json
from millpond.jetstream.stored import stored

if TYPE_CHECKING:
    from millpond.jetstream.consumer import Consumer
    from millpond.jetstream.consumer_config import ConsumerConfig


def use_config(consumer: Consumer, config: ConsumerConfig) -> None:
    """It takes effect, and enters the journal."""
    consumer.update(config)
    if consumer.state.log is not None:
        text = stored(consumer_to_json(config, managed=False), consumer.created_ns)
        consumer.stream.journal.set_config(consumer.name, text)


def let_go(consumer: Consumer) -> None:
    """It ends, here and in the journal."""
    consumer.stop("409 Consumer Deleted")
    stream = consumer.stream
    if stream.consumers.get(consumer.name) is consumer:
        stream.remove_consumer(consumer)
        if consumer.state.log is not None:
            stream.journal.delete_consumer(consumer.name)


def keep_or_undo(consumer: Consumer, undo: Callable[[], object]) -> None:
    """It was changed just now. `undo()` when that cannot be durable, before who asks behind this is told.
    What a disk has refused it refuses from then on, so the changes behind go first."""
    changes = consumer.changes
    changes.append(undo)

    def committed(failure: str) -> None:
        if not failure:
            changes.remove(undo)
        while failure and changes:
            changes.pop()()

    consumer.stream.after_commit(committed)
