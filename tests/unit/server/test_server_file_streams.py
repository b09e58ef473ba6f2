"""A whole server with nats-py on file streams: a message that disk damage took is passed over, not waited for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import nats
import pytest

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


def test_no_request_has_the_loop_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs are the workers'; what is synced from Python is synced on the loop."""

    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            with monkeypatch.context() as patch:
                for name in ("fsync", "fdatasync", "sync"):
                    patch.setattr(os, name, lambda *_: pytest.fail("a sync on the loop"))
                client = await nats.connect(server.client_url)
                js = client.jetstream()
                for _ in range(2):
                    await js.add_stream(name="S", subjects=["s"], storage="file")
                    await js.publish("s", b"1")
                    await js.update_stream(name="S", subjects=["s", "t"])
                    for name in ("one", "two"):
                        subscription = await js.pull_subscribe("s", name)
                        (message,) = await subscription.fetch(1, timeout=5)
                        await message.ack_sync()
                    await js.delete_consumer("S", "one")
                    await js.purge_stream("S")
                    await js.delete_stream("S")
                await client.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_is_asked_right_behind_a_creation_is_done(tmp_path: Path) -> None:
    """Create, publish and delete, sent in one piece, of the same name, over and over."""

    async def main() -> None:
        async with millpond.Server(store_dir=str(tmp_path)) as server:
            client = await nats.connect(server.client_url)
            body = b'{"name":"S","subjects":["s"]}'
            for _ in range(3):
                said = await asyncio.gather(
                    client.request("$JS.API.STREAM.CREATE.S", body, timeout=10),
                    client.request("s", b"1", timeout=10),
                    client.request("$JS.API.STREAM.DELETE.S", timeout=10),
                    client.request("$JS.API.STREAM.CREATE.S", body, timeout=10),
                    client.request("s", b"2", timeout=10),
                )
                created, first, deleted, again, second = (answer.data for answer in said)
                assert b'"did_create":true' in created and b'"did_create":true' in again
                assert b'"seq":1' in first and b'"seq":1' in second
                assert b'"success":true' in deleted
                await client.jetstream().delete_stream("S")
            left = [path.name for path in tmp_path.glob("jetstream/*/streams/*/*")]
            assert set(left) <= {"released"}, "what was deleted is gone; its mark goes with the next sync"
            await client.close()
        assert not [path for path in tmp_path.glob("jetstream/*/streams/*/*")]

    asyncio.run(asyncio.wait_for(main(), 60))
