"""Stores that a server has made, for the commands that look at them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import millpond


def made(directory: Path, fill: Callable[[str], Awaitable[None]]) -> Path:
    """What a server leaves there that was filled and stopped in order. fill: is given its URL."""

    async def main() -> None:
        async with millpond.Server(store_dir=str(directory)) as server:
            await fill(server.client_url)

    asyncio.run(main())
    return directory
