"""A whole server with nats-py: memory streams, pull, push and acknowledgements."""

from __future__ import annotations

import asyncio

import nats

import millpond


def run(scenario) -> None:
    async def main() -> None:
        async with millpond.Server() as server:
            client = await nats.connect(server.client_url)
            try:
                await asyncio.wait_for(scenario(client, client.jetstream()), 20)
            finally:
                await client.close()

    asyncio.run(main())


def test_publish_fetch_and_acknowledge() -> None:
    async def scenario(client, js) -> None:
        await js.add_stream(name="S", subjects=["s.>"], storage="memory")
        for number in range(10):
            ack = await js.publish(f"s.{number}", b"%d" % number)
            assert (ack.stream, ack.seq) == ("S", number + 1)
        consumer = await js.pull_subscribe("s.>", "worker")
        messages = await consumer.fetch(6, timeout=5)
        assert [message.data for message in messages] == [b"%d" % number for number in range(6)]
        for message in messages[:4]:
            await message.ack_sync()
        await messages[4].nak()
        again = await consumer.fetch(5, timeout=5)
        assert [message.metadata.num_delivered for message in again if message.data == b"4"] == [2]
        info = await js.consumer_info("S", "worker")
        assert (info.ack_floor.stream_seq, info.num_ack_pending) == (4, 6)

    run(scenario)


def test_ordered_consumer_sees_everything_once() -> None:
    async def scenario(client, js) -> None:
        await js.add_stream(name="S", subjects=["s.>"], storage="memory")
        seen: list[bytes] = []
        done = asyncio.Event()

        async def take(message) -> None:
            seen.append(message.data)
            if len(seen) == 500:
                done.set()

        for number in range(250):
            await js.publish("s.a", b"%d" % number)
        await js.subscribe("s.>", cb=take, ordered_consumer=True)
        for number in range(250, 500):
            await js.publish("s.a", b"%d" % number)
        await done.wait()
        assert seen == [b"%d" % number for number in range(500)]

    run(scenario)
