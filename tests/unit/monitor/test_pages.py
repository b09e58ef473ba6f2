"""The pages of a live server: what they say is what happened."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from pages_rig import STREAM, Peer, busy, get, page, run

import millpond
from millpond.jetstream.go_json import parse_time


def test_connz_sorts_filters_and_pages() -> None:
    async def scenario(server: millpond.Server) -> None:
        peers = [await Peer.open(server, name) for name in (b"a", b"b", b"c")]
        await peers[1].say(b"SUB x 1\r\nSUB y.* q 2\r\n")
        await peers[2].say(b"SUB z 1\r\nPUB x 3\r\nabc\r\nPUB x 3\r\nabc\r\n")
        names = [row["name"] for row in (await page(server, "/connz?sort=subs"))["connections"]]
        assert names == ["b", "c", "a"]
        names = [row["name"] for row in (await page(server, "/connz?sort=bytes_from"))["connections"]]
        assert names[0] == "c"
        second = await page(server, "/connz?offset=1&limit=1&subs=detail")
        assert (second["num_connections"], second["total"], second["offset"], second["limit"]) == (1, 3, 1, 1)
        details = second["connections"][0]["subscriptions_list_detail"]
        assert details == [
            {"subject": "x", "sid": "1", "msgs": 2, "cid": 2},
            {"subject": "y.*", "qgroup": "q", "sid": "2", "msgs": 0, "cid": 2},
        ]
        assert (await page(server, "/connz?cid=3&subs=1"))["connections"][0]["subscriptions_list"] == ["z"]
        assert (await page(server, "/connz?acc=nobody"))["connections"] is None
        assert (await page(server, "/connz?user=nobody"))["connections"] == []

    run(scenario, jetstream=False)


def test_closed_connections_keep_their_reason_and_subscriptions() -> None:
    async def scenario(server: millpond.Server) -> None:
        peer = await Peer.open(server, b"gone")
        await peer.say(b"SUB x 1\r\n")
        peer.writer.write(b"NONSENSE\r\n")
        await asyncio.wait_for(peer.reader.read(), 5)
        closed = await page(server, "/connz?state=closed&sort=stop&subs=1")
        assert (closed["num_connections"], closed["total"]) == (1, 1)
        row = closed["connections"][0]
        assert (row["reason"], row["name"], row["subscriptions"]) == ("Protocol Violation", "gone", 1)
        assert row["subscriptions_list"] == ["x"]
        assert (await page(server, "/connz"))["connections"] == []
        for filtered in ("state=any", "state=closed&acc=$G"):
            assert (await page(server, f"/connz?{filtered}"))["total"] == 1

    run(scenario, jetstream=False)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/connz?sort=size", "invalid sorting option: size"),
        ("/connz?sort=stop", "sort by stop only valid on closed connections"),
        ("/connz?sort=reason&state=any", "sort by reason only valid on closed connections"),
        ("/connz?state=ajar", "Error decoding state for ajar"),
        ("/subsz?test=a..b", "invalid test subject, must be valid publish subject: a..b"),
        ("/subsz?test=a.*", "invalid test subject, must be valid publish subject: a.*"),
        ("/accountz?acc=NO", "Account NO does not exist"),
        ("/metrics?prefix=1", "invalid prefix '1': letters, digits and '_', 64 at most, no digit first"),
        ("/jsz?leader-only=1", "filtered response: not leader"),
    ],
)
def test_bad_queries_are_refused_in_words(target: str, error: str) -> None:
    async def scenario(server: millpond.Server) -> None:
        assert await get(server, target) == (400, "text/plain; charset=utf-8", error.encode())

    run(scenario, jetstream=False)


def test_subsz_lists_and_tests() -> None:
    async def scenario(server: millpond.Server) -> None:
        before = await page(server, "/subsz")
        peer = await Peer.open(server)
        await peer.say(b"SUB a.* 1\r\nSUB a.b.c q 2\r\nUNSUB 2 9\r\nSUB > 3\r\n")
        found = await page(server, "/subsz?subs=1&test=a.b.c")
        assert found["total"] == 2
        rows = {row["subject"]: row for row in found["subscriptions_list"]}
        assert set(rows) == {"a.b.c", ">"}
        assert (rows["a.b.c"]["max"], rows["a.b.c"]["qgroup"], rows["a.b.c"]["cid"]) == (9, "q", 1)
        plain = await page(server, "/subscriptionsz")
        assert [plain[name] - before[name] for name in ("num_subscriptions", "num_inserts", "total")] == [3, 3, 0]
        assert "subscriptions_list" not in plain

    run(scenario, jetstream=False)


def test_requests_are_counted_and_unknown_paths_are_not() -> None:
    async def scenario(server: millpond.Server) -> None:
        for target in ("/healthz", "/healthz", "/connz?limit=x", "/nowhere", "/", "/varz/"):
            await get(server, target)
        assert (await page(server, "/varz"))["http_req_stats"] == {"/": 1, "/healthz": 2, "/varz": 1}
        assert (await get(server, "/nowhere"))[0] == 404
        status, kind, body = await get(server, "/")
        assert (status, kind) == (200, "text/html; charset=utf-8") and b'href="/varz"' in body
        status, _, body = await get(server, "//a%0d%0aX:%20y//?b=1")
        assert status == 307 and b'href="/a%0D%0AX%3A%20y/?b=1"' in body

    run(scenario, jetstream=False)


def test_a_reload_shows() -> None:
    async def scenario(server: millpond.Server) -> None:
        before = await page(server, "/varz")
        server.reload(msgspec.structs.replace(server.options, ping_max=7, config_digest="sha256:1"))
        after = await page(server, "/varz")
        assert (after["ping_max"], after["config_digest"]) == (7, "sha256:1")
        assert after["config_load_time"] > before["config_load_time"] == before["start"]
        assert after["jetstream"]["config"] == before["jetstream"]["config"]

    run(scenario)


def test_base_path() -> None:
    async def scenario(server: millpond.Server) -> None:
        assert (await page(server, "/nats/varz"))["http_base_path"] == "/nats"
        assert (await get(server, "/varz"))[0] == 404
        assert (await get(server, "/natsy"))[0] == 404
        assert b'href="/nats/varz"' in (await get(server, "/nats"))[2]

    run(scenario, jetstream=False, http_base_path="/nats")


def test_health_names_what_is_wrong() -> None:
    async def scenario(server: millpond.Server) -> None:
        assert await get(server, "/healthz") == (200, "application/json", b'{"status":"ok"}')
        server.view.ready = False
        status, _, body = await get(server, "/healthz")
        assert (status, json.loads(body)["status"]) == (500, "error")
        server.view.ready = True
        status, _, body = await get(server, "/healthz?account=$G&stream=S&details=1")
        text = 'JetStream stream "S" not found on account "$G"'
        errors = [{"type": "STREAM", "account": "$G", "stream": "S", "error": text}]
        assert (status, json.loads(body)) == (404, {"status": "error", "errors": errors})

    run(scenario)


def test_jsz_tells_of_what_streams_made_for_themselves_when_asked(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        await busy(server)
        for flags, direct in (("consumers=1", 0), ("consumers=1&direct-consumers=1", 2)):
            found = await page(server, f"/jsz?{flags}")
            assert found["consumers"] == 1
            rows = {row["name"]: row for row in found["account_details"][0]["stream_detail"]}["S"]
            assert [row["name"] for row in rows["consumer_detail"]] == ["C"]
            assert len(rows.get("direct_consumer_detail", [])) == direct
        assert "account_details" not in await page(server, "/jsz?acc=nobody")
        assert len((await page(server, "/jsz?acc=nobody&accounts=1&limit=-1&offset=5"))["account_details"]) == 1

    run(scenario, store_dir=str(tmp_path))


def test_ages_are_told_while_nothing_happens(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        async def told_ns() -> int:
            accounts = (await page(server, "/jsz?consumers=1"))["account_details"]
            (ts,) = [row["consumer_detail"][0]["ts"] for row in accounts[0]["stream_detail"] if row["name"] == "S"]
            return parse_time(ts)

        await busy(server)
        before_ns = await told_ns()
        while (after_ns := await told_ns()) == before_ns:      # as long as run() lets it
            pass
        assert after_ns > before_ns

    run(scenario, store_dir=str(tmp_path))


def test_memz_says_how_much_of_what() -> None:
    async def scenario(server: millpond.Server) -> None:
        peer = await Peer.open(server)
        await peer.say(b"SUB r 1\r\nPUB $JS.API.STREAM.CREATE.S r %d\r\n%s\r\n" % (len(STREAM), STREAM))
        await peer.say(b"HPUB s.a r 28 33\r\nNATS/1.0\r\nNats-Msg-Id: 1\r\n\r\nhello\r\n")
        found = await page(server, "/memz")
        for name in ("connections", "streams", "messages", "subjects", "message_ids"):
            assert found["counts"][name] == 1, name
        (stream,) = found["streams"]
        memory = found["memory"]
        assert stream["name"] == "S" and stream["bytes"] >= memory["used_by_messages"] > 5
        named = sum(value for name, value in memory.items() if name.startswith("used_by_"))
        assert memory["used"] == named <= memory["budget"]
        assert memory["used_by_connections"] > 1000 and memory["used_by_runtime"] > 1_000_000

    run(scenario)


def test_monitoring_is_off_unless_asked_for() -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False) as server:
            assert server.monitor_url == ""

    asyncio.run(main())


def test_a_taken_port_is_named() -> None:
    async def main() -> None:
        async with millpond.Server(jetstream=False, http_port=-1) as first:
            port = int(first.monitor_url.rsplit(":", 1)[1])
            second = millpond.Server(jetstream=False, http_port=port)
            with pytest.raises(OSError, match=f"can't listen to the monitor port 127.0.0.1:{port}: "):
                await second.start()

    asyncio.run(main())
