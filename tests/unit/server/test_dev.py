"""Dev mode: clients without credentials ask and hear what the system account may; nobody else's server changes."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.conformance import wire_client
from tests.unit.server.process import Running

import millpond
from millpond.server import lifecycle
from millpond.server.system import ACCOUNT_PAGES, OWN_PAGES, PREFIX, SERVER_PAGES

SECONDS = 20
Scenario = Callable[[millpond.Server, Client], Awaitable[None]]


def run(scenario: Scenario, **settings: Any) -> None:
    """A server in dev mode and a client of it without credentials."""

    async def main() -> None:
        async with millpond.Server(dev=True, **settings) as server:
            nc = await nats.connect(server.client_url)
            await scenario(server, nc)
            await nc.close()

    asyncio.run(asyncio.wait_for(main(), SECONDS))


async def asked(nc: Client, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await nc.request(subject, json.dumps(body).encode() if body else b"", timeout=5)
    found: dict[str, Any] = json.loads(answer.data)
    return found


def test_every_request_of_the_system_account_is_answered() -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        server_id = server.broker.server_id
        subjects = [f"SERVER.{whom}.{page}" for whom in ("PING", server_id) for page in SERVER_PAGES]
        subjects += ["SERVER.PING", *(f"ACCOUNT.$G.{page}" for page in ACCOUNT_PAGES)]
        for subject in subjects:
            answer = await asked(nc, PREFIX + subject)
            identity = answer.get("server", answer)
            assert server_id == (identity["id"] if isinstance(identity, dict) else answer["id"]), subject
            assert "error" not in answer, subject
        subscribers = await nc.request(PREFIX + "ACCOUNT.NSUBS", b'{"acc": "$G", "subject": "a"}', timeout=5)
        assert subscribers.data == b"0"

    run(scenario)


def test_each_answer_comes_once() -> None:
    """What an account asks about itself (`OWN_PAGES`) keeps its meaning, and is not answered a second time."""

    async def scenario(server: millpond.Server, nc: Client) -> None:
        found: list[str] = []
        last = asyncio.Event()

        async def came(message: Msg) -> None:
            found.append(message.subject)
            if {"all.end.1", "all.end.2"} <= set(found):
                last.set()

        await nc.subscribe("all.>", cb=came)
        subjects = ["SERVER.PING", *(f"SERVER.PING.{page}" for page in SERVER_PAGES), *OWN_PAGES, "USER.INFO"]
        for number, subject in enumerate(subjects):
            await nc.publish(PREFIX + subject, b"", f"all.{number}")
        # Two queues, of the system account and of this one, each in its order.
        await nc.publish(PREFIX + "SERVER.PING.IDZ", b"", "all.end.1")
        await nc.publish(PREFIX + "ACCOUNT.PING.STATZ", b"", "all.end.2")
        await last.wait()
        wanted = [f"all.{number}" for number in range(len(subjects))]
        assert sorted(found) == sorted([*wanted, "all.end.1", "all.end.2"])
        statz = await asked(nc, PREFIX + "ACCOUNT.PING.STATZ")
        assert [row["acc"] for row in statz["data"]["account_statz"]] == ["$G"]
        connections = await asked(nc, PREFIX + "SERVER.PING.CONNZ")
        assert [row["cid"] for row in connections["data"]["connections"]] == [nc.client_id]

    run(scenario)


def test_events_are_heard_by_who_names_them() -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        named = await nc.subscribe("$SYS.ACCOUNT.*.*")
        numbers = await nc.subscribe("$SYS.SERVER.*.STATSZ")
        everything = await nc.subscribe(">")
        await nc.flush()
        other = await nats.connect(server.client_url, name="other")
        await other.publish("hello", b"")
        await other.close()
        events = [await named.next_msg(5) for _ in range(2)]
        assert [message.subject for message in events] == ["$SYS.ACCOUNT.$G.CONNECT", "$SYS.ACCOUNT.$G.DISCONNECT"]
        assert {json.loads(message.data)["client"]["name"] for message in events} == {"other"}
        await nc.publish(PREFIX + "SERVER.PING", b"")
        assert json.loads((await numbers.next_msg(5)).data)["statsz"]["active_accounts"] == 1
        assert [(await everything.next_msg(5)).subject for _ in range(2)] == ["hello", PREFIX + "SERVER.PING"]

    run(scenario)


def test_a_client_may_be_kicked() -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        gone = asyncio.Event()

        async def disconnected() -> None:
            gone.set()

        other = await nats.connect(server.client_url, allow_reconnect=False, disconnected_cb=disconnected)
        answer = await asked(nc, f"{PREFIX}SERVER.{server.broker.server_id}.KICK", {"cid": other.client_id})
        assert "error" not in answer
        await gone.wait()
        await other.close()

    run(scenario)


def test_it_serves_streams_and_pages() -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        js = nc.jetstream()
        await js.add_stream(name="S", subjects=["s.>"])
        assert (await js.publish("s.x", b"1")).seq == 1
        page = await asked(nc, PREFIX + "SERVER.PING.JSZ", {"accounts": True})
        assert [row["name"] for row in page["data"]["account_details"]] == ["$G"]
        assert page["data"]["messages"] == 1
        assert server.monitor_url.startswith("http://127.0.0.1:")

    run(scenario)


def test_the_banner_says_what_works() -> None:
    async def scenario(server: millpond.Server, nc: Client) -> None:
        text = lifecycle.banner(server)
        assert f"monitoring {server.monitor_url}" in text
        assert "data in a private directory, gone when the server stops" in text
        assert "Dev server: this machine only, no credentials" in text
        assert f"Try:   nats -s {server.client_url} server list" in text

    run(scenario)


def test_without_it_nobody_is_answered() -> None:
    async def main() -> None:
        async with millpond.Server() as server:
            nc = await nats.connect(server.client_url)
            events = await nc.subscribe("$SYS.ACCOUNT.>")
            for subject in ("SERVER.PING", f"SERVER.{server.broker.server_id}.VARZ", "ACCOUNT.$G.INFO"):
                with pytest.raises(nats.errors.NoRespondersError):
                    await nc.request(PREFIX + subject, b"")
            await (await nats.connect(server.client_url)).close()
            await nc.flush()
            assert events.pending_msgs == 0
            assert server.monitor_url == ""
            await nc.close()

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_the_process(tmp_path: Path) -> None:
    """Its life from a file: the private directory goes, a reload leaves clients what they may."""
    path = tmp_path / "f.conf"
    path.write_text("port: -1\nmax_payload: 5000\n")
    with Running("--dev", "-c", str(path)) as server:
        pages = server.line("Starting http monitor on 127.0.0.1:").split()[-1]
        store = Path(server.line("Store Directory:").split('"')[1])
        server.line("[WRN] Dev mode: whoever connects from this machine")
        with wire_client.Client(server.ready()) as client:
            assert b'"statsz"' in client.request("$SYS.REQ.SERVER.PING").payload
            events = client.subscribe("$SYS.ACCOUNT.$G.CONNECT")
            path.write_text("port: -1\nmax_payload: 6000\n")
            server.signal(signal.SIGHUP)
            server.line("Reloaded server configuration")
            assert b'"max_payload":6000' in client.request("$SYS.REQ.SERVER.PING.VARZ").payload
            with wire_client.Client(int(client.info["port"]), name="later"):
                assert b'"later"' in client.next_message(sid=events).payload
        with urllib.request.urlopen(f"http://{pages}/healthz", timeout=5) as page:
            assert page.status == 200
        assert store.exists()
        server.signal(signal.SIGTERM)
        assert server.end()[0] == 0
        assert not store.parent.exists()


def test_a_process_that_others_could_reach() -> None:
    with Running("--dev", "-a", "0.0.0.0", "-p", "-1") as server:
        code, text = server.end()
        assert code == 1
        assert text.startswith("millpond: dev mode listens on loopback only, because ")
