"""A whole server with nats-py on file streams: a message that disk damage took is passed over, not waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats

import millpond


def damage(root: Path, body: bytes) -> None:
    """Change one byte of the record with this payload, on disk."""
    for path in root.rglob("log.*"):
        image = path.read_bytes()
        at = image.find(body)
        if at >= 0:
            path.write_bytes(image[:at] + b"?" + image[at + 1 :])
            return
    raise AssertionError("the payload is on disk")


def test_a_damaged_message_is_passed_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            client = await nats.connect(server.client_url)
            js = client.jetstream()
            await js.add_stream(name="S", subjects=["s"], storage="file", duplicate_window=0.1)
            await asyncio.gather(*(js.publish("s", b"body %04d." % number * 800) for number in range(1000)))
            await client.close()
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            damage(tmp_path, b"body 0100.")
            client = await nats.connect(server.client_url)
            js = client.jetstream()
            subscription = await js.pull_subscribe("s", "reader")
            seen = []
            while len(seen) < 999:
                for message in await subscription.fetch(200, timeout=5):
                    seen.append(message.data[:10])
                    await message.ack()
            assert set(seen) == {b"body %04d." % number for number in range(1000) if number != 100}
            assert (await js.stream_info("S")).state.messages == 999
            await client.close()

    asyncio.run(asyncio.wait_for(main(), 60))
