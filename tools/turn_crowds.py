"""Crowds of connections, pages, accounts, and how a server ends: for tools/longest_turn.py."""

from __future__ import annotations

import asyncio
import selectors
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from turn_rig import Run, Server

from millpond.config.file import read
from millpond.server import reload
from millpond.server.server import Server as Millpond

GREETING = b'CONNECT {"verbose":false,"headers":true,"protocol":1}\r\n'


class Crowd:
    """Connections that say the same and count what comes."""

    def __init__(self, server: Server, many: int, words: bytes = GREETING) -> None:
        self.sockets = []
        for _ in range(many):
            self.sockets.append(socket.create_connection(("127.0.0.1", server.port)))
        self.say(words + b"PING\r\n")
        self.hear(b"PONG\r\n")

    def say(self, words: bytes) -> None:
        for each in self.sockets:
            each.sendall(words)

    def hear(self, end: bytes, size: int = 0) -> None:
        """Until each has heard these words, or so many bytes, or its end."""
        with selectors.DefaultSelector() as selector:
            heard = {}
            for each in self.sockets:
                selector.register(each, selectors.EVENT_READ)
                heard[each] = b""
            waiting = len(heard)
            while waiting:
                for key, _ in selector.select():
                    each = key.fileobj
                    assert isinstance(each, socket.socket)
                    data = each.recv(1 << 16)
                    heard[each] = heard[each] + data if not size else b"x" * (len(heard[each]) + len(data))
                    if not data or (len(heard[each]) >= size if size else end in heard[each]):
                        selector.unregister(each)
                        waiting -= 1

    def leave(self) -> None:
        for each in self.sockets:
            each.close()
        self.sockets = []


@contextmanager
def another(run: Run, **settings: object) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as root, run.on(Server(Path(root), **settings)) as server:  # type: ignore[arg-type]
        yield server


def connections(run: Run) -> None:
    s, many = run.server, min(8000, run.messages // 100)
    with run.work(f"{many} clients connect"):
        crowd = Crowd(s, many)
    with run.work(f"{many} clients subscribe"):
        crowd.say(b"SUB all 1\r\nSUB all.* 2\r\nPING\r\n")
        crowd.hear(b"PONG\r\n")
    with run.work(f"one message to {many} clients"):
        s.send(b"PUB all 5\r\nhello\r\n")
        crowd.hear(b"hello\r\n")
    with run.work(f"one message to {many} clients, again"):
        s.send(b"PUB all 5\r\nhello\r\n")
        crowd.hear(b"hello\r\n")
    with run.work(f"100 messages to {many} clients, at once"):
        s.send(b"PUB all 5\r\nhello\r\n" * 99 + b"PUB all 3\r\nend\r\n")
        crowd.hear(b"end\r\n")
    with run.work(f"one message of 20,000 bytes to {many} clients"):
        s.send(b"PUB all 20000\r\n%b\r\n" % (b"x" * 20_000))
        crowd.hear(b"", 20_000)
    with run.work(f"{many} clients publish to one another: 8 messages in one write, to all"):
        for each in crowd.sockets[:8]:
            each.sendall(b"PUB all.%d 3\r\nend\r\n" % each.fileno())
        crowd.hear(b"", 8 * len(b"MSG all.9 2 3\r\nend\r\n"))
    for page in ("connz?limit=8000", "connz?limit=8000&sort=bytes_to&subs=detail&auth=1", "connz?sort=idle",
                 "subsz?subs=1", "accstatz?unused=1", "accountz?acc=$G", "metrics", "varz", "healthz",
                 "memz"):  # fmt: skip
        with run.work(f"/{page}, {many} connections"):
            s.page(page)
    for subject, body in (
        ("SERVER.PING.CONNZ", {"limit": 8000, "sort": "msgs_to", "subscriptions": True}),
        ("SERVER.PING.STATSZ", {}), ("ACCOUNT.$G.CONNZ", {"limit": 8000}), ("ACCOUNT.$G.SUBSZ", {}),
        ("SERVER.PING.VARZ", {}), ("ACCOUNT.$G.INFO", {}),
    ):  # fmt: skip
        for headers in (b"", b"Accept-Encoding: gzip", b"Accept-Encoding: snappy"):
            with run.work(f"$SYS.REQ.{subject} {headers[17:].decode()}"):
                s.request(f"$SYS.REQ.{subject}", body, headers)
                s.message()
    with run.work(f"{many} subscriptions end"):
        crowd.say(b"UNSUB 2\r\nPING\r\n")
        crowd.hear(b"PONG\r\n")
    with run.work(f"{many} clients leave in one moment"):
        crowd.leave()
        while s.server.broker.sessions and len(s.server.broker.sessions) > 1:
            time.sleep(0.05)
    with run.work("/connz?state=closed"):
        s.page("connz?state=closed&limit=10000&sort=stop&subs=1")


def busy(run: Run) -> None:
    """One client with very many subscriptions."""
    s, many = run.server, run.messages // 10
    crowd = Crowd(s, 1)
    with run.work(f"{many} subscriptions of one client"):
        crowd.say(b"".join(b"SUB s.%d %d\r\n" % (n, n) for n in range(many)) + b"PING\r\n")
        crowd.hear(b"PONG\r\n")
    for page in ("subsz?subs=1", "connz?subs=1", "connz?subs=detail", "metrics"):
        with run.work(f"/{page} with it"):
            s.page(page)
    with run.work("it leaves"):
        crowd.leave()
        while len(s.server.broker.sessions) > 1:
            time.sleep(0.05)


def first_pages(run: Run) -> None:
    """Needs a process of its own to be true: run it alone."""
    with another(run) as s:
        for page in ("healthz", "varz", "metrics", "connz", "jsz"):
            with run.work(f"/{page}, for the first time", ends=True):
                s.page(page)
        with run.work("$SYS.REQ.SERVER.PING.IDZ, for the first time", ends=True):
            s.ask("$SYS.REQ.SERVER.PING.IDZ")
        for storage in ("memory", "file"):
            with run.work(f"the first stream, {storage}"):
                s.stream(storage, storage=storage)
        with run.work("the first consumer"):
            s.consumer("file", "c", ack_policy="explicit")
        with run.work("the first mirror"):
            s.api("STREAM.CREATE.M", {"name": "M", "mirror": {"name": "file"}})
        with run.work("the first snapshot"):
            s.send(b"SUB snap 8\r\n")
            s.api("STREAM.SNAPSHOT.file", {"deliver_subject": "snap"})
            time.sleep(0.2)
        with run.work("the first KICK of nobody"):
            s.request(f"$SYS.REQ.SERVER.{s.server.broker.server_id}.KICK", {"cid": 12345})
            time.sleep(0.2)


def pages(run: Run) -> None:
    s, many = run.server, max(1000, run.messages // 100)
    bodies = [b'{"name":"S%d","subjects":["S%d.>"],"storage":"memory"}' % (number, number) for number in range(many)]
    with run.work(f"{many} streams are made, requests in a row"):
        s.send(b"".join(b"PUB $JS.API.STREAM.CREATE.S%d in.a %d\r\n%b\r\n" % (number, len(body), body)
                        for number, body in enumerate(bodies)))  # fmt: skip
        for _ in range(many):
            s.message()
    for number in range(many):
        s.consumer(f"S{number}", "c", ack_policy="explicit")
    for page in ("jsz?streams=1", "jsz?consumers=1&config=1", "metrics", "metrics", "varz", "subsz", "subsz?subs=1",
                 "memz", "healthz", "healthz?details=1", "jsz"):  # fmt: skip
        with run.work(f"/{page} of {many} streams"):
            s.page(page)
    for headers in (b"", b"Accept-Encoding: gzip", b"Accept-Encoding: snappy"):
        with run.work(f"$SYS.REQ.SERVER.PING.JSZ {headers[17:].decode()}"):
            s.request("$SYS.REQ.SERVER.PING.JSZ", {"streams": True, "config": True}, headers)
            s.message()
    for subject in ("SERVER.PING.STATSZ", "SERVER.PING.HEALTHZ", "ACCOUNT.$G.JSZ"):
        with run.work(f"$SYS.REQ.{subject}"):
            s.request(f"$SYS.REQ.{subject}", {})
            s.message()
    with run.work("a quiet while"):
        time.sleep(12)
    with run.work(f"{many} streams are deleted, requests in a row"):
        s.send(b"".join(b"PUB $JS.API.STREAM.DELETE.S%d in.a 0\r\n\r\n" % number for number in range(many)))
        for _ in range(many):
            s.message()
    s.stream("S", storage="memory", max_consumers=2 * many + 1)
    for number in range(2 * many):
        s.consumer("S", f"c{number}", ack_policy="explicit")
    for page in ("jsz?consumers=1", "metrics", "varz"):
        with run.work(f"/{page} of {2 * many} consumers of one stream"):
            s.page(page)
    run.drop("S", f"delete of a stream with {2 * many} consumers")


def _configuration(many: int, other: int) -> bytes:
    rows = b"".join(
        b"  A%d { jetstream: enabled, users: [{user: u%d, password: p%d}] }\n" % (n, n, n) for n in range(many)
    )
    more = b"".join(
        b"{user: v%d, password: q%d, permissions: {publish: [a.%d, b.>], subscribe: c.*}}\n" % (n, n + other, n)
        for n in range(many)
    )
    head = b"listen: 127.0.0.1:-1\nhttp: 127.0.0.1:-1\njetstream {}\nno_auth_user: a\n"
    return head + b"accounts {\n%b  ALL { users: [{user: a, password: a}\n%b] }\n}\n" % (rows, more)


def accounts(run: Run) -> None:
    many = max(100, run.messages // 100)
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "c.conf"
        path.write_bytes(_configuration(many, 0))
        settings = read(str(path)).settings
        for name in ("host", "port", "http_host", "http_port", "jetstream", "config_file", "config_digest"):
            settings.pop(name, None)
        with another(run, **{**settings, "dev": False}) as s:
            crowd = Crowd(s, 1000, b'CONNECT {"user":"a","pass":"a","verbose":false,"protocol":1}\r\nSUB c.x 1\r\n')
            path.write_bytes(_configuration(many, 1))
            with run.work(f"reload of {2 * many} users and {many} accounts, 1000 clients"):
                s.do(_reload(s.server, str(path)))
            for page in ("varz", "accountz", "accountz?acc=A1", "accstatz?unused=1", "jsz?accounts=1&limit=100000",
                         "metrics", "connz", "subsz?subs=1", "healthz"):  # fmt: skip
                with run.work(f"/{page} with {many} accounts"):
                    s.page(page)
            crowd.leave()


async def _reload(server: Millpond, path: str) -> None:
    """As a server's process does it (server/lifecycle)."""
    settings = (await asyncio.to_thread(read, path)).settings
    fields = {name: settings[name] for name in ("users", "accounts")}
    reload.apply(server, msgspec.structs.replace(server.asked, **fields))


def ends(run: Run) -> None:
    many, clients = max(1000, run.messages // 100), min(8000, run.messages // 100)
    with another(run, lame_duck_grace_period_ns=10**9, lame_duck_duration_ns=10 * 10**9) as s:
        crowd = Crowd(s, clients)
        with run.work(f"lame duck mode with {clients} clients", ends=True):
            s.do(s.server.lame_duck_mode())
        crowd.leave()
    with another(run) as s:
        crowd = Crowd(s, clients)
        with run.work(f"stop with {clients} clients", ends=True):
            s.do(s.server.stop())
        crowd.leave()
    with another(run) as s:
        for number in range(many := many // 5):        # each has two files open
            s.stream(f"S{number}")
            s.consumer(f"S{number}", "c", ack_policy="explicit")
        with run.work(f"stop with {many} streams", ends=True):
            s.do(s.server.stop())
        with run.work(f"start with {many} streams", ends=True):
            s.do(s.server.start())
            s.varz = s.server.monitor_url + "/varz"
        with run.work(f"stop with {many} streams", ends=True):
            s.do(s.server.stop())


PARTS = (connections, busy, first_pages, pages, accounts, ends)
