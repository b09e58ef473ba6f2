"""API levels: what a request may ask for in `Nats-Required-Api-Level`, and what a configuration needs."""

from __future__ import annotations

import re
from typing import Final

from millpond.base import limits

REQUIRED_LEVEL: Final = "_nats.req.level"
"""In the metadata of streams and consumers: the level that their features need."""
_INTEGER: Final = re.compile(rb"[+-]?[0-9]{1,18}")


def is_beyond_ours(asked: bytes) -> bool:
    """Is the level, as it was written, above ours or no number? Nothing asked is never beyond."""
    return bool(asked) and (_INTEGER.fullmatch(asked) is None or int(asked) > limits.API_LEVEL)
