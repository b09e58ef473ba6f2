"""/memz: where the memory is, with what there is so much of (our own page; `millpond doctor memory` reads it)."""

from __future__ import annotations

from typing import Any, Final

from millpond.monitor.varz import memory_of
from millpond.monitor.view import View, pause

LARGEST_MAX: Final = 10


async def memz(view: View) -> dict[str, Any]:
    """The `memory` object of /varz, how many things the budgets hold, the streams that hold most."""
    counts = {
        "connections": len(view.broker.sessions),
        "closed_connections": len(view.broker.closed),
        "subscriptions": view.broker.subscriptions(),
    }
    largest: list[dict[str, Any]] = []
    held = view.memory.watched
    if held is not None:
        found: list[tuple[str, int]] = []
        for _ in held.census(counts, found, LARGEST_MAX):
            await pause()
        largest = [{"name": name, "bytes": size} for name, size in found]
    return {**view.head(), "memory": await memory_of(view), "counts": counts, "streams": largest}
