"""Modules that most servers never need: they come with the first request that does, one in each turn.

To load one takes a millisecond or two, longer where there is no compiled copy of it; all that a backup needs, ten times
as long.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Final

from millpond.jetstream.request_queue import RequestQueue

BACKUPS: Final = (
    "millpond.jetstream.backup_documents", "millpond.jetstream.pause", "millpond.jetstream.restore_tar",
    "millpond.jetstream.restore_reading", "millpond.jetstream.restored", "millpond.jetstream.restore",
    "millpond.jetstream.snapshot", "millpond.jetstream.api.backups",
)  # fmt: skip
"""For snapshots and restores; who is needed by others comes first."""
FOLLOWING: Final = (
    "millpond.jetstream.source_feed", "millpond.jetstream.mirror_feed", "millpond.jetstream.source_request",
    "millpond.jetstream.source_puller", "millpond.jetstream.mirror", "millpond.jetstream.source",
    "millpond.jetstream.source_scan", "millpond.jetstream.source_set",
)  # fmt: skip
"""For a stream that follows others."""


def backups(body: bytes) -> tuple[str, ...]:
    """What a request to make a backup, or to restore one, needs."""
    return BACKUPS


def following(body: bytes) -> tuple[str, ...]:
    """What a request with a stream's configuration needs."""
    return FOLLOWING if b'"mirror"' in body or b'"sources"' in body else ()


def when_loaded(names: tuple[str, ...], requests: RequestQueue, size: int, then: Callable[[], None]) -> None:
    """`then()` when these modules are there: at once when they are, else when it is its turn among the requests that
    take long. size: bytes that it keeps meanwhile."""
    missing = deque(name for name in names if name not in sys.modules)
    if not missing:
        then()
        return

    def step() -> bool:
        if missing:
            import_module(missing.popleft())
            return True
        then()
        return False

    requests.add(step, size)
