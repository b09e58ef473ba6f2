"""Watching KV buckets through nats-py: what comes first, when that is complete, what follows."""

from __future__ import annotations

import asyncio

from nats.js.api import StorageType
from nats.js.client import JetStreamContext
from nats.js.kv import KeyValue


async def bucket(js: JetStreamContext, storage: str, **options: object) -> KeyValue:
    return await js.create_key_value(bucket="W", storage=StorageType(storage), **options)


async def initial(watcher: KeyValue.KeyWatcher) -> list[KeyValue.Entry]:
    """Everything up to the end marker."""
    entries = []
    while (entry := await watcher.updates()) is not None:
        entries.append(entry)
    return entries


def brief(entries: list[KeyValue.Entry]) -> list[tuple]:
    return [(entry.key, entry.value or b"", entry.revision, entry.delta, entry.operation) for entry in entries]


async def test_an_empty_bucket_is_complete_at_once(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        watcher = await kv.watchall()
        assert await initial(watcher) == []
        await kv.put("a", b"1")
        assert brief([await watcher.updates()]) == [("a", b"1", 1, 0, None)]
        await watcher.stop()


async def test_the_last_of_each_key_then_what_happens(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=5)
        for value in (b"1", b"2", b"3"):
            await kv.put("a", value)
            await kv.put("b", value)
        await kv.delete("b")
        watcher = await kv.watchall()
        assert brief(await initial(watcher)) == [("a", b"3", 5, 1, None), ("b", b"", 7, 0, "DEL")]
        await kv.put("c", b"new")
        await kv.purge("a")
        await kv.delete("c")
        seen = [await watcher.updates() for _ in range(3)]
        assert brief(seen) == [("c", b"new", 8, 0, None), ("a", b"", 9, 0, "PURGE"), ("c", b"", 10, 0, "DEL")]
        assert all(entry.created is not None for entry in seen)
        await watcher.stop()


async def test_history_comes_whole_and_in_order(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=3)
        for number in range(6):
            await kv.put("a", b"%d" % number)
            await kv.put("b", b"%d" % number)
        await kv.delete("b")
        watcher = await kv.watch("b", include_history=True)
        assert brief(await initial(watcher)) == [
            ("b", b"4", 10, 2, None), ("b", b"5", 12, 1, None), ("b", b"", 13, 0, "DEL"),
        ]  # fmt: skip
        await watcher.stop()


async def test_patterns_choose_keys(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        for key in ("a.x", "a.y", "a.x.deep", "b.x", "literal"):
            await kv.put(key, b"1")
        for pattern, keys in (
            ("a.*", ["a.x", "a.y"]), ("a.>", ["a.x", "a.y", "a.x.deep"]), ("*.x", ["a.x", "b.x"]),
            ("literal", ["literal"]), ("none", []), (">", ["a.x", "a.y", "a.x.deep", "b.x", "literal"]),
        ):  # fmt: skip
            watcher = await kv.watch(pattern)
            assert [entry.key for entry in await initial(watcher)] == keys
            await watcher.stop()


async def test_deletes_can_be_left_out(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=2)
        await kv.put("a", b"1")
        await kv.put("b", b"1")
        await kv.delete("b")
        watcher = await kv.watchall(ignore_deletes=True)
        assert brief(await initial(watcher)) == [("a", b"1", 1, 1, None)]
        await kv.purge("a")
        await kv.put("c", b"1")
        assert (await watcher.updates()).key == "c"
        await watcher.stop()


async def test_values_can_be_left_out(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        await kv.put("a", b"x" * 1234)
        await kv.delete("b")
        watcher = await kv.watchall(meta_only=True)
        seen = await initial(watcher)
        assert brief(seen) == [("a", b"", 1, 1, None), ("b", b"", 2, 0, "DEL")]
        await kv.put("c", b"x")
        assert brief([await watcher.updates()]) == [("c", b"", 3, 0, None)]
        await watcher.stop()


async def test_a_thousand_keys(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=2)
        futures = [await js.publish_async(f"$KV.W.k.{i % 1000}", b"%d" % i) for i in range(3000)]
        await asyncio.gather(*futures)
        watcher = await kv.watch("k.*")
        seen = await initial(watcher)
        assert [entry.delta for entry in seen] == list(range(999, -1, -1))
        assert sorted(int(entry.value) for entry in seen) == list(range(2000, 3000))
        await watcher.stop()
        assert len(await kv.keys()) == 1000


async def test_many_watchers_see_the_same(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        watchers = [await kv.watch("a.*") for _ in range(10)]
        for number in range(20):
            await kv.put(f"a.{number}", b"%d" % number)
        for watcher in watchers:
            assert await initial(watcher) == []
            assert [(await watcher.updates()).key for _ in range(20)] == [f"a.{number}" for number in range(20)]
            await watcher.stop()


async def test_writes_during_the_first_values_are_neither_lost_nor_doubled(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=64)
        for number in range(200):
            await kv.put(f"k{number}", b"old")

        async def write() -> None:
            for number in range(200):
                await kv.put(f"k{number}", b"new")

        writing = asyncio.create_task(write())
        watcher = await kv.watchall()
        last: dict[str, bytes] = {}
        revisions = []
        while len(revisions) < 200 or any(value == b"old" for value in last.values()):
            entry = await watcher.updates()
            if entry is not None:
                last[entry.key] = entry.value
                revisions.append(entry.revision)
        await writing
        assert len(last) == 200
        assert len(set(revisions)) == len(revisions)
        await watcher.stop()


async def test_a_watcher_outlives_its_connection(server, storage):
    async with server.js() as js, server.js() as other:
        kv = await bucket(js, storage)
        await kv.put("a", b"1")
        watching = await other.key_value("W")
        watcher = await watching.watchall()
        assert len(await initial(watcher)) == 1
        other._nc._transport.close()
        await kv.put("b", b"2")
        await other._nc._process_op_err(ConnectionResetError())
        await kv.put("c", b"3")
        seen = {(await watcher.updates(30)).key for _ in range(2)}
        assert seen == {"b", "c"}
        await watcher.stop()


async def test_stopping_ends_the_iteration(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        await kv.put("a", b"1")
        watcher = await kv.watchall()
        seen = []
        async for entry in watcher:
            seen.append(entry)
            if entry is None:
                await watcher.stop()
        assert [entry and entry.key for entry in seen] == ["a", None]


async def test_the_bucket_may_go_while_it_is_watched(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        watcher = await kv.watchall()
        assert await initial(watcher) == []
        await js.delete_key_value("W")
        again = await bucket(js, storage)
        await again.put("a", b"1")
        assert (await again.get("a")).value == b"1"
        await watcher.stop()


async def test_watchers_leave_no_consumers_behind(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        await kv.put("a", b"1")
        for _ in range(5):
            watcher = await kv.watchall(inactive_threshold=0.2)
            await initial(watcher)
            await watcher.stop()
        advisories = await js._nc.subscribe("$JS.EVENT.ADVISORY.CONSUMER.DELETED.KV_W.*")
        while (await kv.status()).stream_info.state.consumer_count:
            await advisories.next_msg(10)
