"""Lame duck mode: how a server leaves without all its clients coming back to its neighbours at once.

    nobody new is accepted  ->  clients are told (INFO with "ldm":true)  ->  grace period
    ->  clients are closed one by one, spread over the rest of the duration  ->  stop

Unlike nats-server, streams are served until the last client is gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from millpond.base import limits
from millpond.base.ids import random_below
from millpond.server.logs import log

if TYPE_CHECKING:
    from millpond.server.server import Server

PAUSE_MAX_S: Final = 1.0
"""Between two clients, however few they are."""


async def leave(server: Server) -> None:
    """Walk the whole way; the server is stopped at the end. Cancelled in between, it serves whoever is left."""
    log.info("Entering lame duck mode, stop accepting new clients")
    server.stop_accepting()
    sessions = list(server.broker.sessions.values())
    if sessions:
        for number, session in enumerate(sessions, 1):
            session.tell_lame_duck()
            if number % limits.SESSIONS_ENDED_PER_STEP == 0:
                server.broker.turn.wake()
                await asyncio.sleep(0)
        server.broker.turn.wake()
        options = server.options
        await asyncio.sleep(options.lame_duck_grace_period_ns / 1e9)
        log.info("Closing existing clients")
        await _close_spread(server, (options.lame_duck_duration_ns - options.lame_duck_grace_period_ns) / 1e9)
    await server.stop()


async def _close_spread(server: Server, duration_s: float) -> None:
    sessions = list(server.broker.sessions.values())
    pause_s = min(PAUSE_MAX_S, duration_s / max(1, len(sessions)))
    for number, session in enumerate(sessions, 1):
        if session.cid not in server.broker.sessions:
            continue  # it left on its own
        session.close("Server Shutdown")
        if number < len(sessions):
            await asyncio.sleep(pause_s * (0.5 + random_below(1000) / 2000))
