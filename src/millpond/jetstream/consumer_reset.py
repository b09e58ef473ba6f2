"""Where a consumer may be reset to (reference 4.6)."""

from __future__ import annotations

from millpond.base.errors import MillpondError
from millpond.jetstream.consumer_config import ConsumerConfig


class NotAllowed(MillpondError):
    """Its text follows `invalid reset: `."""


def reset_seq(config: ConsumerConfig, asked: int, floor_seq: int, start_seq: int) -> int:
    """The sequence to deliver next. `asked` 0: right behind the ack floor. `start_seq`: the first one that the
    configuration's start time allows."""
    if asked == 0:
        return floor_seq + 1
    if config.deliver_policy == "all":
        return asked
    if config.deliver_policy == "by_start_sequence":
        if asked < config.opt_start_seq:
            raise NotAllowed("below start seq")
        return asked
    if config.deliver_policy == "by_start_time":
        if asked < start_seq:
            raise NotAllowed("below start time")
        return asked
    raise NotAllowed("not allowed")
