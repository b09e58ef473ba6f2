"""Pages that go over very much do so a share at a time: counted in the times that the loop may run in between."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.unit.broker.session_rig import Wire

import millpond
from millpond.base import limits
from millpond.monitor.connz import ConnzOptions, connz
from millpond.monitor.encodings import encoded, packed
from millpond.monitor.memz import memz
from millpond.monitor.subsz import SubszOptions, subsz


def breaths(page: Coroutine[Any, Any, Any]) -> tuple[int, Any]:
    count = 0
    try:
        while True:
            page.send(None)
            count += 1
    except StopIteration as end:
        return count, end.value


def test_connections_are_sorted_in_parts_as_if_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False) as server:
            wires = [await Wire.open(server) for _ in range(7)]
            for number, wire in enumerate(wires):
                await wire.say(b"PUB x 0\r\n\r\n" * (number * 3 % 5))
            for sort in ("msgs_from", "cid", "idle", "subs"):
                for offset, limit in ((0, 100), (2, 3)):
                    options = ConnzOptions(sort=sort, offset=offset, limit=limit)
                    _, whole = breaths(connz(server.view, options))
                    monkeypatch.setattr("millpond.base.limits.SORTED_PER_STEP", 2)
                    count, parted = breaths(connz(server.view, options))
                    monkeypatch.undo()
                    assert [row["cid"] for row in parted["connections"]] == [row["cid"] for row in whole["connections"]]
                    assert count == 3, "between four parts"

    asyncio.run(asyncio.wait_for(main(), 30))


def test_packing_goes_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    body = bytes(range(256)) * 40
    monkeypatch.setattr("millpond.base.limits.PACKED_PER_STEP", 1024)
    asked = b"NATS/1.0\r\nAccept-Encoding: gzip\r\n\r\n"
    count, (whole, headers) = breaths(encoded(body, asked))
    assert gzip.decompress(whole) == body and headers.endswith(b"Content-Encoding: gzip\r\n\r\n")
    assert count >= len(body) // 1024
    assert (whole, headers) == packed(body, b"gzip")
    count, found = breaths(encoded(body, asked.replace(b"gzip", b"snappy")))
    assert found == packed(body, b"snappy") and count >= len(body) // 1024
    assert breaths(encoded(body, b"")) == (0, (body, b""))
    assert packed(body, b"br") == (body, b"NATS/1.0\r\nContent-Encoding: identity\r\n\r\n")


def test_streams_are_counted_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with millpond.Server() as server:
            wire = await Wire.open(server)
            for number in range(5):
                body = b'{"name":"S%d","subjects":["s.%d"],"storage":"memory"}' % (number, number)
                await wire.say(b"PUB $JS.API.STREAM.CREATE.S%d %d\r\n%b\r\n" % (number, len(body), body))
                await wire.say(b"PUB s.%d 100\r\n%b\r\n" % (number, b"x" * 100) * number)
            monkeypatch.setattr("millpond.base.limits.SURVEYED_PER_STEP", 2)
            at_work = asyncio.ensure_future(memz(server.view))
            steps = 0
            while not at_work.done():
                steps += 1
                await asyncio.sleep(0)
            page = await at_work
            assert steps > 4
            assert page["counts"]["streams"] == 5 and page["counts"]["messages"] == 10
            sizes = [row["bytes"] for row in page["streams"]]
            assert sizes == sorted(sizes, reverse=True)
            assert {row["name"] for row in page["streams"]} == {f"S{number}" for number in range(5)}

    asyncio.run(asyncio.wait_for(main(), 30))


def test_subscriptions_that_are_not_shown_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False, system_account="") as server:
            wire = await Wire.open(server)
            await wire.say(b"".join(b"SUB a.%d %d\r\n" % (number, number) for number in range(9)))
            page = await subsz(server.view, SubszOptions(subscriptions=True, offset=2, limit=3))
            assert page["total"] == 9 and len(page["subscriptions_list"]) == 3
            found = []
            for offset in range(0, 9, 3):
                found += (await subsz(server.view, SubszOptions(subscriptions=True, offset=offset, limit=3)))[
                    "subscriptions_list"
                ]
            assert sorted(row["sid"] for row in found) == [str(number) for number in range(9)]
            page = await subsz(server.view, SubszOptions(subscriptions=True, test="a.7"))
            assert page["total"] == 1

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_long_page_ends_its_connection_once() -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        from millpond.monitor.http import Answer, HttpServer, Request

        async def big(request: Request) -> Answer:
            return Answer(b"x" * 20_000_000)

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        server = HttpServer(big)
        reader, writer = await asyncio.open_connection("127.0.0.1", await server.listen("127.0.0.1", 0))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = 0
        while part := await asyncio.wait_for(reader.read(1 << 16), 10):
            got += len(part)
        assert got > 20_000_000
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        server.close()

    asyncio.run(asyncio.wait_for(main(), 30))
    assert not complaints


def test_limits_of_steps_are_sane() -> None:
    assert limits.PACKED_PER_STEP % 65536 == 0, "blocks of Snappy are cut as if the whole was packed at once"
