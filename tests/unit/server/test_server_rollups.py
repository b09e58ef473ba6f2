"""A whole server: which rollups a restart does again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nats

import millpond

ROLLUP = {"Nats-Rollup": "sub"}


async def asked(client: nats.NATS, verb: str, **body: Any) -> dict[str, Any]:
    answer = await client.request(f"$JS.API.{verb}", json.dumps(body).encode(), timeout=5)
    found: dict[str, Any] = json.loads(answer.data)
    assert "error" not in found, found
    return found


async def messages(client: nats.NATS, stream: str, least: int) -> int:
    """How many there are, when there are at least so many; a mirror takes its time."""
    while (count := int((await asked(client, f"STREAM.INFO.{stream}"))["state"]["messages"])) < least:
        await asyncio.sleep(0.01)
    return count


def test_a_promoted_mirror_keeps_what_a_rollup_did_not_take_from_it(tmp_path: Path) -> None:
    """Its last message asked the origin for a rollup. Here it was stored without effect, and has none later."""

    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            client = await nats.connect(server.client_url)
            js = client.jetstream()
            await asked(client, "STREAM.CREATE.O", name="O", subjects=["o"], allow_rollup_hdrs=True)
            await asked(client, "STREAM.CREATE.M", name="M", mirror={"name": "O"})
            for _ in range(3):
                await js.publish("o", b"x")
            assert await messages(client, "M", 3) == 3
            await js.publish("o", b"rolled up", headers=ROLLUP)
            assert await messages(client, "M", 4) == 4 and await messages(client, "O", 1) == 1
            await asked(client, "STREAM.UPDATE.M", name="M", subjects=["m"], allow_rollup_hdrs=True)
            await client.close()
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            client = await nats.connect(server.client_url)
            assert await messages(client, "M", 1) == 4
            # From now on it does roll up.
            await client.jetstream().publish("m", b"x")
            await client.jetstream().publish("m", b"x", headers=ROLLUP)
            assert await messages(client, "M", 1) == 5
            await client.close()

    asyncio.run(asyncio.wait_for(main(), 60))
