"""Monitoring pages: after the same load both servers show the same, key for key, in the same order.

Every member counts, with its type and value, but for what `HIDDEN` names (identities, clocks, the process
itself), where only the type does, and for what `OURS` names, which we alone have.
"""

from __future__ import annotations

import difflib
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from .compare import clean
from .target import REFERENCE, Target
from .wire_client import Client, ConnectionGone

pytestmark = pytest.mark.reference

HIDDEN = frozenset({
    "server_id", "git_commit", "host", "port", "now", "start", "stop", "uptime", "idle", "last_activity", "rtt", "mem",
    "cpu", "cores", "gomaxprocs", "cid", "created", "pending_bytes", "first_ts", "last_ts", "last_active", "ts",
    "config_load_time", "store_dir", "max_storage", "http_req_stats", "update_time",
    # Both have subscriptions of their own, in different numbers.
    "num_subscriptions", "num_cache", "num_inserts", "num_removes", "num_matches", "cache_hit_rate", "max_fanout",
    "avg_fanout",
})  # fmt: skip
OURS = {"/varz": frozenset({"memory", "turn_us"}), "config": frozenset({"sync_always"})}
OF_THE_SERVER = frozenset({"/varz", "/accountz", "/accstatz"})
"""Pages whose `subscriptions` count the server's own ones too."""


UNORDERED = {
    "subscriptions_list": str, "subscriptions_list_detail": str, "stream_detail": lambda row: row["name"],
    "accounts": str, "imports": str, "exports": str,
}  # fmt: skip
"""Lists that nats-server makes from a map, in any order: how to sort them."""


def shown(value: Any, target: Target, key: str = "", top: str = "") -> Any:
    """The page without what one run only has."""
    if key in HIDDEN or (key == "subscriptions" and top in OF_THE_SERVER):
        return "<number>" if isinstance(value, (int, float)) else f"<{type(value).__name__}>"
    if isinstance(value, dict):
        extra = frozenset() if target.kind == REFERENCE else OURS.get(key or top, frozenset())
        return {name: shown(item, target, name, top) for name, item in value.items() if name not in extra}
    if isinstance(value, list):
        ordered = sorted(value, key=UNORDERED[key]) if key in UNORDERED else value
        return [shown(item, target, "row", top) for item in ordered]
    return value


def difference(reference: Any, other: Any) -> str:
    """A unified diff of two pages; key order counts."""
    texts = [json.dumps(page, indent=1).splitlines() for page in (reference, other)]
    return "\n".join(difflib.unified_diff(*texts, "nats-server", "other", lineterm="", n=2))


class Loaded:
    """A server after the scripted load, and the clients that are still connected."""

    def __init__(self, target: Target) -> None:
        self.target = target
        clean(target)
        self.clients: list[Client] = []
        api = self.client("api")
        config = {"name": "S", "subjects": ["s.>"], "storage": "memory", "max_msgs": 100, "description": "a <b> & c"}
        self._ask(api, "STREAM.CREATE.S", config)
        self._ask(api, "STREAM.CREATE.EMPTY", {"name": "EMPTY", "subjects": ["e"], "storage": "memory"})
        consumer = {"durable_name": "C", "ack_policy": "explicit", "filter_subject": "s.a"}
        self._ask(api, "CONSUMER.DURABLE.CREATE.S.C", {"stream_name": "S", "config": consumer})
        for number in range(3):
            api.request("s.a", b"x" * number, {"H": "v"})
        api.publish("$JS.API.CONSUMER.MSG.NEXT.S.C", b'{"batch":2}', "_INBOX.me.pull")
        first = api.next_message(sid="1")
        api.next_message(sid="1")
        api.request(first.reply, b"+ACK")
        api.close()  # its byte counts depend on the wording of API replies
        busy = self.client("busy")
        busy.subscribe("news.*")
        busy.subscribe("work", "crew")
        for number in range(5):
            busy.publish("news.x", b"y" * number)
        busy.publish("nobody", b"z", headers={"A": "b"})
        busy.unsubscribe(busy.subscribe("soon"), 7)
        busy.flush()
        self.client("calm", lang="", version="").flush()
        rude = self.client("rude")
        rude.subscribe("left.over")
        rude.send(b"NONSENSE\r\n")
        with pytest.raises(ConnectionGone):
            while True:
                rude.read_frame()
        rude.close()
        self._await_closed(2)

    def client(self, name: str, **options: Any) -> Client:
        client = self.target.connect(name=name, at_once=True, **options)
        self.clients.append(client)
        return client

    def _ask(self, client: Client, verb: str, body: Any) -> None:
        answer = json.loads(client.request(f"$JS.API.{verb}", json.dumps(body).encode()).payload)
        assert "error" not in answer, answer

    def _await_closed(self, least: int) -> None:
        """Both servers notice the end of a connection a moment later: the page says when they have."""
        for _ in range(1000):
            names = [row.get("name") for row in json.loads(self.target.http("/connz?state=closed")[1])["connections"]]
            if names.count("api") + names.count("rude") >= least:
                return
        raise AssertionError(f"{self.target.kind}: {least} closed connections never showed")

    def page(self, path: str) -> tuple[int, Any]:
        status, body = self.target.http(path)
        if not body.startswith(b"{"):
            return status, body.decode()
        return status, shown(json.loads(body), self.target, top=path.partition("?")[0])

    def discard(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture(scope="module")
def loaded(pair: tuple[Target, Target]) -> Any:
    both = [Loaded(target) for target in pair]
    yield both
    for each in both:
        each.discard()


PAGES = [
    "/connz", "/connz?subs=1", "/connz?subs=detail", "/connz?auth=1", "/connz?sort=msgs_to", "/connz?sort=subs&limit=1",
    "/connz?sort=bytes_from&offset=1", "/connz?offset=9", "/connz?limit=-1", "/connz?cid=99999", "/connz?acc=nobody",
    "/connz?acc=$G&user=nobody", "/connz?sort=size", "/connz?sort=stop", "/connz?sort=reason", "/connz?state=ajar",
    "/connz?subs=maybe", "/connz?limit=ten", "/connz?cid=-1", "/connz?auth=yes", "/connz?filter_subject=a",
    "/subsz", "/subsz?test=a..b", "/subsz?limit=5", "/subsz?acc=nobody", "/subsz?offset=0x1", "/subscriptionsz",
    "/jsz", "/jsz?accounts=1", "/jsz?streams=1", "/jsz?consumers=1", "/jsz?consumers=true&config=true&raft=true",
    "/jsz?acc=$G", "/jsz?acc=nobody&streams=1", "/jsz?accounts=1&offset=1", "/jsz?limit=x", "/jsz?leader-only=1",
    "/jsz?config=2",
    "/healthz", "/healthz?js-enabled-only=1", "/healthz?js-server-only=true", "/healthz?js-enabled=1",
    "/healthz?js-meta-only=1", "/healthz?details=1", "/healthz?stream=S", "/healthz?consumer=C",
    "/healthz?stream=S&details=1", "/healthz?account=nobody", "/healthz?account=nobody&details=t",
    "/healthz?js-enabled-only=x",
    "/routez", "/routez?subs=1", "/routez?subs=x", "/gatewayz", "/gatewayz?accs=x", "/leafz", "/leafz?subs=x",
    "/accountz", "/accountz?acc=$G", "/accountz?acc=$SYS", "/accountz?acc=nobody", "/accstatz?unused=x", "/raftz",
    "/ipqueuesz",
    "/ipqueuesz?all=x", "/nowhere", "/varz/",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_same_page(loaded: list[Loaded], path: str) -> None:
    reference, other = loaded
    assert not difference(reference.page(path), other.page(path))


CLOSED = ["/connz?state=closed&sort=reason", "/connz?state=closed&subs=detail", "/connz?state=closed&auth=1"]


@pytest.mark.parametrize("path", CLOSED)
def test_same_closed_connections(loaded: list[Loaded], path: str) -> None:
    def rows(server: Loaded) -> Any:
        """By name, without the connections that set the scene and the bytes of API replies."""
        page = json.loads(server.target.http(path)[1])
        kept = {row["name"]: row for row in page["connections"] if row.get("name")}
        kept["api"]["out_bytes"] = kept["api"]["in_bytes"] = 0
        return {name: shown(row, server.target, "row") for name, row in sorted(kept.items())}

    reference, other = loaded
    assert set(rows(reference)) == {"api", "rude"}
    assert not difference(rows(reference), rows(other))


def test_same_varz(loaded: list[Loaded]) -> None:
    def page(server: Loaded) -> Any:
        """Without the bytes of API replies."""
        page = json.loads(server.target.http("/varz")[1])
        return shown({**page, "out_bytes": 0, "out_client_bytes": 0}, server.target, top="/varz")

    reference, other = loaded
    assert not difference(page(reference), page(other))


def test_same_accstatz(loaded: list[Loaded]) -> None:
    def page(server: Loaded) -> Any:
        """Without the bytes of API replies."""
        page = json.loads(server.target.http("/accstatz")[1])
        for row in page["account_statz"]:
            row["sent"]["bytes"] = 0
        return shown(page, server.target, top="/accstatz")

    reference, other = loaded
    assert not difference(page(reference), page(other))


def test_subscriptions_come_and_go_alike(loaded: list[Loaded]) -> None:
    grown = []
    for server in loaded:
        before = json.loads(server.target.http("/varz")[1])["subscriptions"]
        with server.target.connect(at_once=True) as client:
            for number in range(10):
                client.subscribe(f"some.{number}")
            client.flush()
            grown.append(json.loads(server.target.http("/varz")[1])["subscriptions"] - before)
    assert grown == [11, 11]


def test_same_labels_before_and_after_a_reload(pair: tuple[Target, Target], tmp_path: Path) -> None:
    """`server_tags` and `server_metadata` in /varz."""
    seen = []
    name = "server_name: conformance\n"  # nats-server forgets a name of the command line when it reads the file again
    for target in pair:
        file = tmp_path / f"{target.kind}.conf"
        file.write_text(f"{name}server_tags: [B, 'a c', b ]\nserver_metadata: {{z: y, A: ''}}\n")
        server = Target(target.kind, jetstream=False, flags=("-c", str(file))).start()
        try:
            pages = [json.loads(server.http("/varz")[1])]
            file.write_text(f"{name}server_tags: one\n")
            assert server.process is not None
            server.process.send_signal(signal.SIGHUP)
            while "Reloaded server configuration" not in server.log():
                assert "Failed to reload" not in server.log()
                assert server.alive()
                time.sleep(0.005)
            pages.append(json.loads(server.http("/varz")[1]))
            told = [line for line in ("Reloaded: tags", "Reloaded: metadata") if line in server.log()]
        finally:
            server.discard()
        seen.append(([[page.get("tags"), page.get("metadata")] for page in pages], told))
    assert seen[0] == seen[1]
    assert seen[0][1] == ["Reloaded: tags", "Reloaded: metadata"]
    assert seen[0][0] == [[["b", "a c"], {"A": "", "z": "y"}], [["one"], None]]
