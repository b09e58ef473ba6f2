"""Ends of KV keys through nats-py: the bucket's ttl, keys' own ttl, and the markers that watchers see."""

from __future__ import annotations

import pytest
from nats.js.api import StorageType
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

WAIT_S = 10.0


async def bucket(js: JetStreamContext, storage: str, **options: object) -> KeyValue:
    return await js.create_key_value(bucket="T", storage=StorageType(storage), direct=True, **options)


async def gone(kv: KeyValue, key: str) -> KeyNotFoundError:
    """Asks until the key is not there."""
    while True:
        try:
            await kv.get(key)
        except KeyNotFoundError as error:
            return error


async def until_empty(kv: KeyValue) -> None:
    while (await kv.status()).values:
        pass


async def test_a_buckets_ttl_ends_every_key(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, ttl=0.5, history=3)
        for number in range(10):
            await kv.put("a", b"%d" % number)
            await kv.put(f"k{number}", b"x")
        await kv.delete("k1")
        await until_empty(kv)
        error = await gone(kv, "a")
        assert error.op is None
        assert await kv.create("a", b"again") == 22


async def test_a_bucket_with_a_short_ttl_has_a_short_window(server, storage):
    async with server.js() as js:
        config = (await (await bucket(js, storage, ttl=5.0)).status()).stream_info.config
        assert (config.max_age, config.duplicate_window) == (5.0, 5.0)


async def test_a_keys_own_ttl(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        await kv.create("short", b"x", msg_ttl=1.0)
        await kv.create("long", b"x", msg_ttl=3600)
        await kv.put("plain", b"x")
        with pytest.raises(KeyWrongLastSequenceError):
            await kv.create("short", b"y")
        assert (await gone(kv, "short")).op is None
        assert sorted(await kv.keys()) == ["long", "plain"]
        assert await kv.create("short", b"y", msg_ttl=1.0) == 4
        await gone(kv, "short")


async def test_a_lock_with_a_ttl_passes_on(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        await kv.create("lock", b"first", msg_ttl=1.0)
        while True:
            try:
                await kv.create("lock", b"second", msg_ttl=60.0)
                break
            except (KeyWrongLastSequenceError, KeyNotFoundError):
                pass                       # held, or ended between the attempt and the client's second look
        assert (await kv.get("lock")).value == b"second"


async def test_a_ttl_that_is_none_is_refused(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        for ttl in ("0", "x", "-1", "10ms"):
            with pytest.raises(APIError) as caught:
                await js.publish("$KV.T.a", b"x", headers={"Nats-TTL": ttl})
            assert caught.value.err_code == 10165
        await js.add_stream(name="KV_PLAIN", subjects=["$KV.PLAIN.>"], max_msgs_per_subject=1, storage=storage)
        with pytest.raises(APIError) as caught:
            await (await js.key_value("PLAIN")).create("a", b"x", msg_ttl=5.0)
        assert caught.value.err_code == 10166
        assert (await kv.status()).values == 0


async def test_watchers_see_the_end_of_a_key(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, limit_marker_ttl=1.0)
        watcher = await kv.watchall()
        assert await watcher.updates() is None
        await kv.create("a", b"x", msg_ttl=1.0)
        await kv.put("stays", b"x")
        seen = [await watcher.updates(WAIT_S) for _ in range(3)]
        assert [(entry.key, entry.operation) for entry in seen] == [("a", None), ("stays", None), ("a", "PURGE")]
        assert seen[2].revision == 3
        assert not seen[2].value
        # A marker is no value to those who ask, and ends by itself.
        assert await kv.keys() == ["stays"]
        while (await kv.status()).values > 1:
            pass
        await watcher.stop()


async def test_watchers_see_the_end_of_a_bucketful(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, ttl=1.0, limit_marker_ttl=60.0, history=2)
        watcher = await kv.watchall()
        assert await watcher.updates() is None
        for key in ("a", "b", "a"):
            await kv.put(key, b"x")
        await kv.purge("c")
        seen = [await watcher.updates(WAIT_S) for _ in range(6)]
        assert [(entry.key, entry.operation) for entry in seen] == [
            ("a", None), ("b", None), ("a", None), ("c", "PURGE"), ("b", "PURGE"), ("a", "PURGE"),
        ]  # fmt: skip
        await watcher.stop()


async def test_watchers_of_a_bucket_without_markers_see_nothing(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        watcher = await kv.watchall()
        assert await watcher.updates() is None
        await kv.create("a", b"x", msg_ttl=1.0)
        assert (await watcher.updates()).key == "a"
        await gone(kv, "a")
        await kv.put("next", b"x")
        assert (await watcher.updates()).key == "next"
        await watcher.stop()


async def test_a_purge_marker_with_a_ttl(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=3)
        await kv.put("a", b"1")
        await kv.put("a", b"2")
        await kv.purge("a", msg_ttl=1.0)
        error = await gone(kv, "a")
        assert (error.op, error.entry.revision) == ("PURGE", 3)
        await until_empty(kv)
        assert (await gone(kv, "a")).op is None


async def test_a_marker_is_seen_by_late_watchers(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, limit_marker_ttl=60.0)
        await kv.create("a", b"x", msg_ttl=1.0)
        advised = await kv.watch("a")
        assert (await advised.updates()).key == "a"
        assert await advised.updates() is None
        assert (await advised.updates(WAIT_S)).operation == "PURGE"
        await advised.stop()
        late = await kv.watchall()
        entry = await late.updates()
        assert (entry.key, entry.operation, entry.delta) == ("a", "PURGE", 0)
        assert await late.updates() is None
        await late.stop()
        with pytest.raises(KeyWrongLastSequenceError):
            await kv.update("a", b"y", last=1)
        assert await kv.update("a", b"y", last=2) == 3
