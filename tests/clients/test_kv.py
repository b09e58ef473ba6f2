"""KV buckets through nats-py: values, revisions, optimistic locks, deletes, ends."""

from __future__ import annotations

import asyncio

import pytest
from nats.js.api import RePublish, StorageType
from nats.js.client import JetStreamContext
from nats.js.errors import (
    APIError,
    BadBucketError,
    BadRequestError,
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoKeysError,
    NotFoundError,
)
from nats.js.kv import KeyValue


async def bucket(js: JetStreamContext, storage: str, **options: object) -> KeyValue:
    return await js.create_key_value(bucket="B", storage=StorageType(storage), **options)


async def refused(kv: KeyValue, key: str, revision: int | None = None) -> KeyNotFoundError:
    with pytest.raises(KeyNotFoundError) as caught:
        await kv.get(key, revision)
    return caught.value


async def test_every_option_of_a_bucket(server, storage):
    async with server.js() as js:
        kv = await bucket(
            js, storage, description="about", max_value_size=1000, history=7, ttl=60.0, max_bytes=100_000, replicas=1,
            direct=True, limit_marker_ttl=5.0,
        )  # fmt: skip
        status = await kv.status()
        config = status.stream_info.config
        assert (status.bucket, status.values, status.history, status.ttl, status.marker_ttl) == ("B", 0, 7, 60.0, 5.0)
        assert (config.name, config.subjects) == ("KV_B", ["$KV.B.>"])
        assert (config.description, config.max_msg_size, config.max_bytes) == ("about", 1000, 100_000)
        assert (config.storage, config.num_replicas, config.discard) == (storage, 1, "new")
        assert config.allow_direct and config.allow_rollup_hdrs and config.deny_delete and config.allow_msg_ttl
        assert (config.duplicate_window, config.max_msgs, config.deny_purge) == (60.0, -1, False)


async def test_defaults_of_a_bucket(server, storage):
    async with server.js() as js:
        status = await (await bucket(js, storage)).status()
        assert (status.history, status.ttl, status.marker_ttl) == (1, 0, None)
        config = status.stream_info.config
        assert (config.max_bytes, config.max_msg_size, config.duplicate_window) == (-1, -1, 120.0)
        assert not config.allow_direct


async def test_a_bucket_is_created_once(server, storage):
    async with server.js() as js:
        await (await bucket(js, storage)).put("a", b"1")
        again = await bucket(js, storage)
        assert (await again.get("a")).value == b"1"
        with pytest.raises(BadRequestError) as caught:
            await bucket(js, storage, history=5)
        assert caught.value.err_code == 10058


async def test_what_is_no_bucket(server, storage):
    async with server.js() as js:
        with pytest.raises(BucketNotFoundError):
            await js.key_value("MISSING")
        with pytest.raises(NotFoundError):
            await js.delete_key_value("MISSING")
        await js.add_stream(name="KV_PLAIN", subjects=["plain"], storage=storage)
        with pytest.raises(BadBucketError):
            await js.key_value("PLAIN")


async def test_buckets_are_listed_and_deleted(server, storage):
    async with server.js() as js:
        for name in ("ONE", "TWO"):
            kv = await js.create_key_value(bucket=name, storage=StorageType(storage), direct=True)
            await kv.put("a", b"1")
        await js.add_stream(name="OTHER", subjects=["other"], storage=storage)
        names = [info.config.name for info in await js.streams_info() if info.config.name.startswith("KV_")]
        assert sorted(names) == ["KV_ONE", "KV_TWO"]
        assert await js.delete_key_value("ONE")
        with pytest.raises(BucketNotFoundError):
            await js.key_value("ONE")
        assert (await (await js.key_value("TWO")).get("a")).value == b"1"


@pytest.mark.parametrize("direct", [True, False])
async def test_put_and_get(server, storage, direct):
    async with server.js() as js:
        kv = await bucket(js, storage, history=3, direct=direct)
        assert await kv.put("name", b"one") == 1
        assert await kv.put("other.key", b"") == 2
        assert await kv.put("name", b"two") == 3
        entry = await kv.get("name")
        assert (entry.bucket, entry.key, entry.value, entry.revision) == ("B", "name", b"two", 3)
        assert (await kv.get("name", revision=1)).value == b"one"
        assert not (await kv.get("other.key")).value
        await refused(kv, "missing")
        await refused(kv, "name", 2)
        await refused(kv, "name", 99)


async def test_keys_of_all_shapes(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, direct=True)
        keys = ["a", "A", "a.b.c", "-/_=.x", "9", "deep" + ".er" * 40, "k" * 1000]
        for number, key in enumerate(keys):
            await kv.put(key, str(number).encode())
        for number, key in enumerate(keys):
            assert (await kv.get(key)).value == str(number).encode()
        for key in ("x!", "\u00e4\u00f6", "a*b", ">>", "x.*", "x.>"):
            revision = await kv.put(key, b"odd", validate_keys=False)
            assert (await kv.get(key, validate_keys=False)).value == b"odd"
            assert await kv.update(key, b"odder", last=revision, validate_keys=False) == revision + 1
            assert await kv.delete(key, validate_keys=False)
        assert sorted(await kv.keys()) == sorted(keys)


async def test_values_up_to_the_payload_limit(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, direct=True)
        for size in (0, 1, 65_535, 65_536, 1_000_000):
            value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            await kv.put("big", value)
            assert ((await kv.get("big")).value or b"") == value


async def test_a_value_above_the_buckets_limit_is_refused(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, max_value_size=10)
        await kv.put("a", b"x" * 10)
        with pytest.raises(APIError) as caught:
            await kv.put("a", b"x" * 11)
        assert (caught.value.code, caught.value.err_code) == (400, 10054)


async def test_a_full_bucket_refuses_new_keys_and_replaces_old(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, max_bytes=1500)
        await kv.put("a", b"x" * 600)
        await kv.put("b", b"x" * 600)
        with pytest.raises(APIError) as caught:
            await kv.put("c", b"x" * 600)
        assert (caught.value.code, caught.value.err_code) == (503, 10077)
        assert caught.value.description == "maximum bytes exceeded"
        await kv.put("a", b"y" * 600)
        assert (await kv.get("a")).value == b"y" * 600
        with pytest.raises(APIError) as caught:
            await kv.put("a", b"z" * 601)
        assert caught.value.description == "maximum bytes exceeded"
        await kv.put("a", b"y" * 599)
        assert (await kv.status()).values == 2


async def test_history_keeps_the_newest(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=4)
        for number in range(10):
            await kv.put("a", b"%d" % number)
            await kv.put("b", b"%d" % number)
        seen = await kv.history("a")
        assert [(entry.value, entry.revision, entry.delta) for entry in seen] == [
            (b"6", 13, 3), (b"7", 15, 2), (b"8", 17, 1), (b"9", 19, 0),
        ]  # fmt: skip
        assert all(entry.operation is None and entry.key == "a" for entry in seen)
        assert (await kv.status()).values == 8
        with pytest.raises(NoKeysError):
            await kv.history("never")


async def test_create_only_when_there_is_none(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=5)
        assert await kv.create("a", b"1") == 1
        with pytest.raises(KeyWrongLastSequenceError) as caught:
            await kv.create("a", b"2")
        assert caught.value.description == "wrong last sequence: 1"
        await kv.delete("a")
        assert await kv.create("a", b"3") == 3
        await kv.purge("a")
        assert await kv.create("a", b"4") == 5
        assert (await kv.get("a")).value == b"4"


async def test_update_only_what_was_read(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        first = await kv.create("a", b"1")
        await kv.put("other", b"x")
        second = await kv.update("a", b"2", last=first)
        assert second == 3
        with pytest.raises(KeyWrongLastSequenceError) as caught:
            await kv.update("a", b"3", last=first)
        assert caught.value.description == "wrong last sequence: 3"
        with pytest.raises(KeyWrongLastSequenceError):
            await kv.update("a", b"3")
        with pytest.raises(KeyWrongLastSequenceError) as caught:
            await kv.update("missing", b"3", last=7)
        assert caught.value.description == "wrong last sequence: 0"
        assert (await kv.get("a")).value == b"2"


async def test_delete_only_what_was_read(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        await kv.put("a", b"1")
        await kv.put("a", b"2")
        with pytest.raises(APIError) as caught:
            await kv.delete("a", last=1)
        assert caught.value.err_code == 10071
        assert await kv.delete("a", last=2)
        await refused(kv, "a")


async def test_one_of_many_wins(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)

        async def attempt(number: int) -> int:
            try:
                return await kv.create("lock", b"%d" % number)
            except KeyWrongLastSequenceError:
                return 0

        revisions = await asyncio.gather(*(attempt(number) for number in range(50)))
        assert sorted(revisions) == [0] * 49 + [1]


async def test_no_increment_is_lost(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, direct=True)
        await kv.create("n", b"0")

        async def count() -> None:
            for _ in range(10):
                while True:
                    entry = await kv.get("n")
                    try:
                        await kv.update("n", b"%d" % (int(entry.value) + 1), last=entry.revision)
                        break
                    except KeyWrongLastSequenceError:
                        pass

        await asyncio.gather(*(count() for _ in range(8)))
        assert (await kv.get("n")).value == b"80"


async def test_delete_leaves_a_marker(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=3)
        await kv.put("a", b"1")
        assert await kv.delete("a")
        error = await refused(kv, "a")
        assert (error.op, error.entry.key, error.entry.revision, error.entry.value or b"") == ("DEL", "a", 2, b"")
        assert [entry.operation for entry in await kv.history("a")] == [None, "DEL"]
        assert (await kv.status()).values == 2


async def test_purge_leaves_only_its_marker(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=10)
        for number in range(5):
            await kv.put("a", b"%d" % number)
            await kv.put("b", b"%d" % number)
        assert await kv.purge("a")
        assert (await refused(kv, "a")).op == "PURGE"
        assert [(entry.operation, entry.revision) for entry in await kv.history("a")] == [("PURGE", 11)]
        assert (await kv.status()).values == 6
        assert (await kv.get("b")).value == b"4"


async def test_purge_of_a_pattern_keeps_only_the_marker(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        for number in range(20):
            await kv.put(f"all.{number}", b"x")
        await kv.put("other", b"x")
        await kv.purge("all.*")
        assert (await kv.status()).values == 2
        assert await kv.keys() == ["other"]


async def test_keys_and_their_filters(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=2)
        with pytest.raises(NoKeysError):
            await kv.keys()
        for key in ("red.apple", "red.cherry", "green.apple", "gone", "gone too"):
            await kv.put(key.replace(" ", "_"), b"x")
            await kv.put(key.replace(" ", "_"), b"y")
        await kv.delete("gone")
        await kv.purge("gone_too")
        assert sorted(await kv.keys()) == ["green.apple", "red.apple", "red.cherry"]
        assert sorted(await kv.keys(filters=["apple"])) == ["green.apple", "red.apple"]
        assert sorted(await kv.keys(filters=["green", "cherry"])) == ["green.apple", "red.cherry"]
        with pytest.raises(NoKeysError):
            await kv.keys(filters=["pear"])


async def test_purging_old_markers(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, history=5)
        for key in ("a", "b", "c"):
            await kv.put(key, b"1")
        await kv.delete("a")
        await kv.purge("b")
        assert await kv.purge_deletes(olderthan=3600)
        assert (await kv.status()).values == 3, "young markers stay, what they replaced goes"
        assert [entry.operation for entry in await kv.history("a")] == ["DEL"]
        assert await kv.purge_deletes(olderthan=0)
        assert (await kv.status()).values == 1
        assert await kv.keys() == ["c"]


async def test_the_bucket_can_be_purged_whole(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage)
        for number in range(10):
            await kv.put(f"k{number}", b"x")
        await js.purge_stream("KV_B")
        assert (await kv.status()).values == 0
        await refused(kv, "k1")
        assert await kv.put("k1", b"y") == 11


async def test_republished_changes(server, storage):
    async with server.js() as js:
        kv = await bucket(js, storage, republish=RePublish(src=">", dest="copy.>"))
        copies = await js._nc.subscribe("copy.>")
        await kv.put("a.b", b"1")
        await kv.put("a.b", b"2")
        await kv.delete("a.b")
        seen = [await copies.next_msg(5) for _ in range(3)]
        assert [(msg.subject, msg.data) for msg in seen] == [
            ("copy.$KV.B.a.b", b"1"), ("copy.$KV.B.a.b", b"2"), ("copy.$KV.B.a.b", b""),
        ]  # fmt: skip
        assert [msg.headers["Nats-Last-Sequence"] for msg in seen] == ["0", "1", "2"]
        assert seen[2].headers["KV-Operation"] == "DEL"
        assert seen[2].headers["Nats-Subject"] == "$KV.B.a.b"
        config = (await kv.status()).stream_info.config
        assert (config.republish.src, config.republish.dest) == (">", "copy.>")
