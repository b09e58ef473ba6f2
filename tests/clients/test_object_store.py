"""Object stores through nats-py: content, meta data, links, watching, sealing."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from nats.js.api import ObjectLink, ObjectMeta, ObjectMetaOptions, StorageType
from nats.js.client import JetStreamContext
from nats.js.errors import (
    APIError,
    BadRequestError,
    BucketNotFoundError,
    DigestMismatchError,
    LinkIsABucketError,
    NotFoundError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectNotFoundError,
)
from nats.js.object_store import ObjectStore

MIB = 1024 * 1024
CHUNK = 128 * 1024


async def bucket(js: JetStreamContext, storage: str, **options: object) -> ObjectStore:
    return await js.create_object_store("O", storage=StorageType(storage), **options)


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that repeat nowhere near."""
    return random.Random(seed).randbytes(size)


async def rewrite_meta(js: JetStreamContext, info, **changes: object) -> None:
    """The meta message as another client would write it."""
    fields = {**info.as_dict(), **changes}
    name = urlsafe_b64encode(fields["name"].encode()).decode()
    await js.publish(f"$O.O.M.{name}", json.dumps(fields).encode(), headers={"Nats-Rollup": "sub"})


async def test_every_option_of_a_store(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage, description="about", ttl=60.0, max_bytes=10 * MIB, replicas=1)
        status = await store.status()
        assert (status.bucket, status.description, status.ttl, status.sealed) == ("O", "about", 60.0, False)
        assert (status.storage_type, status.replicas, status.size) == (storage, 1, 0)
        config = status.stream_info.config
        assert (config.name, config.subjects) == ("OBJ_O", ["$O.O.C.>", "$O.O.M.>"])
        assert (config.max_bytes, config.discard, config.duplicate_window) == (10 * MIB, "new", 60.0)
        assert config.allow_rollup_hdrs and config.allow_direct


async def test_stores_are_found_and_deleted(server, storage):
    async with server.js() as js:
        await bucket(js, storage)
        await (await js.object_store("O")).put("a", b"x")
        with pytest.raises(BadRequestError) as caught:
            await js.create_object_store("O", storage=StorageType(storage), description="other")
        assert caught.value.err_code == 10058
        assert await js.delete_object_store("O")
        with pytest.raises(BucketNotFoundError):
            await js.object_store("O")
        with pytest.raises(NotFoundError):
            await js.delete_object_store("O")


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
async def test_content_of_every_size(server, storage, size):
    async with server.js() as js:
        store = await bucket(js, storage)
        data = noise(size)
        info = await store.put("thing", data)
        assert (info.size, info.chunks, info.bucket, info.deleted) == (size, -(-size // CHUNK), "O", False)
        assert info.digest == "SHA-256=" + urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
        found = await store.get("thing")
        assert (found.data or b"") == data
        assert (found.info.name, found.info.size, found.info.digest) == ("thing", size, info.digest)


async def test_twenty_mebibytes(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        data = noise(20 * MIB)
        info = await store.put("big", data)
        assert (info.size, info.chunks) == (20 * MIB, 160)
        into = io.BytesIO()
        await store.get("big", writeinto=into)
        assert into.getvalue() == data
        assert (await store.status()).size > 20 * MIB
        await store.delete("big")
        assert (await store.status()).size < 1000


async def test_sources_and_chunk_sizes(server, storage, tmp_path):
    async with server.js() as js:
        store = await bucket(js, storage)
        await store.put("text", "grüße")
        assert (await store.get("text")).data == "grüße".encode()
        await store.put("reader", io.BytesIO(b"x" * 1000))
        assert (await store.get("reader")).data == b"x" * 1000
        path: Path = tmp_path / "file"
        path.write_bytes(noise(300_000))
        with path.open("rb") as file:
            info = await store.put("file", file)
        assert info.chunks == 3
        with (tmp_path / "copy").open("wb") as copy:
            await store.get("file", writeinto=copy)
        assert (tmp_path / "copy").read_bytes() == path.read_bytes()
        sevens = ObjectMetaOptions(max_chunk_size=7)
        meta = ObjectMeta(name="small", description="d", headers={"A": "b"}, options=sevens)
        info = await store.put("small", b"0123456789" * 5, meta=meta)
        assert info.chunks == 8
        found = await store.get("small")
        assert found.data == b"0123456789" * 5
        assert (found.info.description, found.info.headers) == ("d", {"A": "b"})
        assert found.info.options.max_chunk_size == 7


async def test_names_of_all_shapes(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        names = ["a", "a b", "a.b.*.>", "/path/to/it", "ünicode", "n" * 500]
        for number, name in enumerate(names):
            await store.put(name, b"%d" % number)
        for number, name in enumerate(names):
            assert (await store.get(name)).data == b"%d" % number
        assert [info.name for info in await store.list()] == names


async def test_a_new_content_takes_the_place_of_the_old(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        first = await store.put("a", noise(5 * CHUNK))
        assert (await store.status()).stream_info.state.messages == 6
        second = await store.put("a", noise(2 * CHUNK, seed=2))
        assert first.nuid != second.nuid
        assert (await store.status()).stream_info.state.messages == 3
        assert (await store.get("a")).data == noise(2 * CHUNK, seed=2)


async def test_what_is_not_there(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        for attempt in (store.get("x"), store.get_info("x"), store.delete("x")):
            with pytest.raises(ObjectNotFoundError):
                await attempt
        with pytest.raises(NotFoundError):
            await store.list()


async def test_delete_takes_the_chunks_and_leaves_the_name(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        await store.put("a", noise(3 * CHUNK))
        await store.put("b", b"x")
        await store.delete("a")
        with pytest.raises(ObjectNotFoundError):
            await store.get("a")
        info = await store.get_info("a", show_deleted=True)
        assert (info.deleted, info.size, info.chunks) == (True, 0, 0)
        assert (await store.status()).stream_info.state.messages == 3
        assert [info.name for info in await store.list()] == ["b", "a"]
        assert [info.name for info in await store.list(ignore_deletes=True)] == ["b"]
        await store.put("a", b"again")
        assert (await store.get("a")).data == b"again"


async def test_meta_data_changes_without_the_content(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        await store.put("a", b"content")
        await store.put("taken", b"x")
        await store.update_meta("a", ObjectMeta(name="a", description="new", headers={"K": "v"}))
        found = await store.get("a")
        assert (found.data, found.info.description, found.info.headers) == (b"content", "new", {"K": "v"})
        with pytest.raises(ObjectDeletedError):
            await store.update_meta("missing", ObjectMeta(name="missing"))
        with pytest.raises(ObjectAlreadyExists):
            await store.update_meta("a", ObjectMeta(name="taken"))


async def test_links_lead_to_objects_here_and_elsewhere(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        other = await js.create_object_store("P", storage=StorageType(storage))
        await store.put("here", b"near")
        await other.put("there", b"far")
        info = await store.put("link", b"")
        for bucket_name, name, content in (("O", "here", b"near"), ("P", "there", b"far")):
            options = ObjectMetaOptions(link=ObjectLink(bucket=bucket_name, name=name)).as_dict()
            await rewrite_meta(js, info, options=options)
            assert (await store.get_info("link")).is_link()
            assert (await store.get("link")).data == content
        await rewrite_meta(js, info, options=ObjectMetaOptions(link=ObjectLink(bucket="P")).as_dict())
        with pytest.raises(LinkIsABucketError):
            await store.get("link")


async def test_damage_is_found(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        info = await store.put("a", noise(2 * CHUNK))
        wrong = "SHA-256=" + urlsafe_b64encode(hashlib.sha256(b"else").digest()).decode()
        await rewrite_meta(js, info, digest=wrong)
        with pytest.raises(DigestMismatchError):
            await store.get("a")


async def test_watching(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        empty = await store.watch()
        assert await empty.updates() is None
        await store.put("a", b"1")
        await store.put("b", b"1")
        await store.put("a", b"2")
        assert [(await empty.updates()).name for _ in range(3)] == ["a", "b", "a"]
        await store.delete("b")
        update = await empty.updates()
        assert (update.name, update.deleted) == ("b", True)
        await empty.stop()

        late = await store.watch()
        assert [(await late.updates()).name for _ in range(2)] == ["a", "b"]
        assert await late.updates() is None
        living = await store.watch(ignore_deletes=True)
        assert (await living.updates()).name == "a"
        assert await living.updates() is None
        new = await store.watch(updates_only=True)
        history = await store.watch(include_history=True)
        assert [(await history.updates()).name for _ in range(2)] == ["a", "b"]
        assert await history.updates() is None
        await store.put("c", b"1")
        for watcher in (late, living, new, history):
            assert (await watcher.updates()).name == "c"
            await watcher.stop()


async def test_a_sealed_store_is_for_reading(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage, ttl=3600.0)
        await store.put("a", b"kept")
        await store.seal()
        status = await store.status()
        config = status.stream_info.config
        assert status.sealed
        assert (config.max_age, config.allow_rollup_hdrs) == (0, False)
        assert config.deny_delete and config.deny_purge
        assert (await store.get("a")).data == b"kept"
        for attempt in (store.put("b", b"x"), store.delete("a"), store.update_meta("a", ObjectMeta(name="a"))):
            with pytest.raises(APIError) as caught:
                await attempt
            assert caught.value.err_code == 10109
        assert (await store.get("a")).data == b"kept"
        config.sealed = False
        with pytest.raises(APIError) as caught:
            await js.update_stream(config)
        assert caught.value.err_code == 10052
        assert await js.delete_object_store("O")


async def test_a_full_store_refuses_and_gives_back(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage, max_bytes=MIB)
        await store.put("fits", noise(4 * CHUNK))
        before = (await store.status()).size
        with pytest.raises(APIError) as caught:
            await store.put("does not", noise(8 * CHUNK))
        assert (caught.value.err_code, caught.value.description) == (10077, "maximum bytes exceeded")
        assert (await store.status()).size == before
        assert (await store.get("fits")).data == noise(4 * CHUNK)


async def test_objects_end_with_the_stores_ttl(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage, ttl=0.5)
        await store.put("a", noise(2 * CHUNK))
        while (await store.status()).size:
            pass
        with pytest.raises(ObjectNotFoundError):
            await store.get("a")


async def test_many_at_once(server, storage):
    async with server.js() as js:
        store = await bucket(js, storage)
        contents = {f"o{i}": noise(i * 40_000, seed=i) for i in range(1, 11)}
        await asyncio.gather(*(store.put(name, data) for name, data in contents.items()))
        found = await asyncio.gather(*(store.get(name) for name in contents))
        assert [result.data for result in found] == list(contents.values())
        assert sorted(info.name for info in await store.list()) == sorted(contents)
