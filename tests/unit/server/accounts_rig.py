"""A server of this process out of a configuration file with accounts, and clients of their users."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

import millpond
from millpond.config.build import build
from millpond.config.file import read
from millpond.config.options import Options


def options(tmp_path: Path, text: str) -> Options:
    """STORE in `text` is a place for streams."""
    path = tmp_path / "server.conf"
    path.write_text(text.replace("STORE", str(tmp_path / "store")))
    return build({**read(path).settings, "host": "127.0.0.1", "port": -1})


def run(tmp_path: Path, text: str, scenario: Callable[[millpond.Server], Awaitable[None]]) -> None:
    async def main() -> None:
        async with millpond.Server.from_options(options(tmp_path, text)) as server:
            await asyncio.wait_for(scenario(server), 30)

    asyncio.run(main())


async def client(server: millpond.Server, user: str) -> Client:
    """Every password is x."""
    return await nats.connect(server.client_url, user=user, password="x", allow_reconnect=False)


async def asked(nc: Client, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer to a request."""
    answer = await nc.request(subject, json.dumps(body).encode() if body else b"", timeout=10)
    found: dict[str, Any] = json.loads(answer.data)
    return found
