"""Requests over NATS: who may ask, who is meant, and what bad options get."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import millpond
from millpond.monitor.system_requests import SystemRequests, _is_local

PING = "$SYS.REQ.SERVER.PING"


class Peer:
    """One client; `ask` gives the answer, or None when nobody answers before the PONG that follows a later request."""

    @classmethod
    async def open(cls, server: millpond.Server) -> Peer:
        peer = cls()
        peer.reader, peer.writer = await asyncio.open_connection("127.0.0.1", server.port)
        peer.writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB r.* 1\r\nPING\r\n')
        await peer.reader.readuntil(b"PONG\r\n")
        return peer

    async def ask(self, subject: str, body: Any = b"", reply: bytes = b"r.1") -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.writer.write(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply, len(data), data))
        line = await asyncio.wait_for(self.reader.readline(), 5)
        words = line.split()
        payload = (await self.reader.readexactly(int(words[-1]) + 2))[:-2]
        if words[0] == b"HMSG":
            return "no responders" if b" 503" in payload else payload
        return json.loads(payload)


def run(scenario: Any, **settings: Any) -> None:
    async def main() -> None:
        async with millpond.Server(**settings) as server:
            await asyncio.wait_for(scenario(server, await Peer.open(server)), 20)

    asyncio.run(main())


def test_ping_and_pages() -> None:
    async def scenario(server: millpond.Server, peer: Peer) -> None:
        answer = await peer.ask(PING)
        assert answer["server"]["id"] == server.broker.server_id and answer["statsz"]["connections"] == 1
        for name in ("VARZ", "CONNZ", "SUBSZ", "JSZ", "ACCOUNTZ", "ROUTEZ", "GATEWAYZ", "LEAFZ"):
            assert (await peer.ask(f"{PING}.{name}"))["data"]["server_id"] == server.broker.server_id
        assert (await peer.ask(f"{PING}.HEALTHZ"))["data"] == {"status": "ok", "status_code": 200}
        assert (await peer.ask(f"$SYS.REQ.SERVER.{server.broker.server_id}.VARZ"))["data"]["connections"] == 1
        assert (await peer.ask(f"{PING}.IDZ"))["name"] == server.broker.server_name
        assert (await peer.ask("$SYS.REQ.USER.INFO"))["data"] == {"user": "", "account": "$G", "account_name": "$G"}
        assert (await peer.ask("$SYS.REQ.ACCOUNT.PING.STATZ"))["data"]["account_statz"][0]["conns"] == 1
        assert (await peer.ask("$SYS.REQ.ACCOUNT.PING.CONNZ"))["data"]["num_connections"] == 1

    run(scenario)


def test_options_and_their_errors() -> None:
    async def scenario(server: millpond.Server, peer: Peer) -> None:
        assert (await peer.ask(f"{PING}.CONNZ", {"limit": 7, "subscriptions": True}))["data"]["limit"] == 7
        assert (await peer.ask(f"{PING}.CONNZ", {"limit": "x"}))["error"]["code"] == 400
        assert (await peer.ask(f"{PING}.CONNZ", b"{"))["error"]["code"] == 400
        answer = await peer.ask(f"{PING}.CONNZ", {"sort": "bad"})
        assert answer["error"] == {"code": 500, "description": "invalid sorting option: bad"}
        assert answer["data"] is None

    run(scenario, jetstream=False)


def test_a_filter_says_who_is_meant() -> None:
    async def scenario(server: millpond.Server, peer: Peer) -> None:
        for reply, body in enumerate(
            [{"server_name": "other"}, {"cluster": "c"}, {"tags": ["t"]}, {"domain": "d"}, {"host": "elsewhere"},
             {"server_name": "sho", "exact_match": True}]
        ):  # fmt: skip
            peer.writer.write(b"PUB %s.VARZ r.no%d %d\r\n%s\r\n" % (
                PING.encode(), reply, len(json.dumps(body)), json.dumps(body).encode()))
        answer = await peer.ask(f"{PING}.VARZ", {"server_name": "sho"})
        assert answer["data"]["server_name"] == "shop", "the first that answers is the one that is meant"

    run(scenario, jetstream=False, server_name="shop")


@pytest.mark.parametrize("subject", [f"{PING}.KICK", f"{PING}.PROFILEZ", "$SYS.REQ.SERVER.NOBODY.VARZ"])
def test_what_is_not_served_has_no_responder(subject: str) -> None:
    async def scenario(server: millpond.Server, peer: Peer) -> None:
        assert await peer.ask(subject) == "no responders"

    run(scenario, jetstream=False)


def test_only_clients_on_this_machine_may_ask_about_the_server() -> None:
    class Remote:
        ip = "192.0.2.1"

    async def scenario(server: millpond.Server, peer: Peer) -> None:
        requests = server._system
        assert isinstance(requests, SystemRequests)
        assert requests._receive(f"{PING}.VARZ".encode(), b"r.1", b"", b"", Remote()) is False
        assert requests._receive(b"$SYS.REQ.USER.INFO", b"", b"", b"", Remote()) is True
        for ip, local in (("127.0.0.1", True), ("::1", True), ("10.0.0.1", False), ("", False), ("localhost", False)):
            source = Remote()
            source.ip = ip
            assert _is_local(source) is local
        assert _is_local(None)

    run(scenario, jetstream=False)
