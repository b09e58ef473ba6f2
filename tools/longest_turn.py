"""How long does long work hold the event loop?

    python tools/longest_turn.py [messages] [only]

Fills streams with so many messages (a million unless told otherwise), asks for what goes over all of them, and prints
for each of these

    held    the most processor time that one callback of the loop has taken
    of it   the longest run of the garbage collector, which is in `held` where the loop's thread began it
    turn    the longest turn: the highest bucket of `turn_us` in /varz that has grown, an upper bound. It counts waiting
            for a processor, too: on a busy machine it says more of the machine than of the server.

`only`: a part of the names of those to run. The server runs in a thread of this process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import millpond
from millpond.server.collector import Collector
from millpond.server.lifecycle import gone_subscriptions

CHUNK = 20_000
ANSWER_S = 120.0


class Loop(asyncio.SelectorEventLoop):
    """Measures its callbacks."""

    held_ns = 0

    def _measured(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            began = time.thread_time_ns()
            try:
                return callback(*args)
            finally:
                self.held_ns = max(self.held_ns, time.thread_time_ns() - began)

        return call

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        super().add_reader(fd, self._measured(callback), *args)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_soon(self._measured(callback), *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_at(when, self._measured(callback), *args, context=context)


class Pauses:
    """Measures the garbage collector."""

    def __init__(self) -> None:
        self.longest_ns = self._began_ns = 0
        gc.callbacks.append(self._told)

    def _told(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began_ns = time.thread_time_ns()
        else:
            self.longest_ns = max(self.longest_ns, time.thread_time_ns() - self._began_ns)


class Server:
    """A server in a thread, and one connection to it."""

    def __init__(self, root: Path) -> None:
        self.loop, self._root = Loop(), root
        self._ready, self._enough = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait()
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.settimeout(ANSWER_S)
        self.input = self.socket.makefile("rb")
        self.input.readline()
        self.send(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB in.> 1\r\n')

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with millpond.Server(store_dir=str(self._root), http_port=-1, memory_bytes=1 << 30) as server:
            self.port = int(server.client_url.rsplit(":", 1)[1])
            self.varz = server.monitor_url + "/varz"
            # As in a process of its own.
            Collector(lambda: gone_subscriptions(server), server.broker.subscriptions).start()
            self._ready.set()
            await self._enough.wait()

    def stop(self) -> None:
        self.socket.close()
        self.loop.call_soon_threadsafe(self._enough.set)
        self._thread.join()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def message(self) -> tuple[bytes, bytes]:
        """The header block and the body of the next message."""
        while not (line := self.input.readline()).startswith((b"MSG", b"HMSG")):
            if line == b"PING\r\n":
                self.send(b"PONG\r\n")
        parts = line.split()
        body = self.input.read(int(parts[-1]) + 2)[:-2]
        header = int(parts[-2]) if parts[0] == b"HMSG" else 0
        return body[:header], body[header:]

    def ask(self, subject: str, body: Any = b"", headers: bytes = b"") -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if headers:
            block = b"NATS/1.0\r\n" + headers + b"\r\n\r\n"
            head = b"HPUB %b in.a %d %d\r\n" % (subject.encode(), len(block), len(block) + len(data))
            self.send(head + block + data + b"\r\n")
        else:
            self.send(b"PUB %b in.a %d\r\n%b\r\n" % (subject.encode(), len(data), data))
        found = json.loads(self.message()[1])
        assert "error" not in found, found
        return found

    def get(self, stream: str, **request: Any) -> list[bytes]:
        """The header blocks that answer a direct get, but for the end of a batch."""
        data = json.dumps(request).encode()
        self.send(b"PUB $JS.API.DIRECT.GET.%b in.a %d\r\n%b\r\n" % (stream.encode(), len(data), data))
        found = [self.message()[0]]
        while ("batch" in request or "multi_last" in request) and not found[-1].startswith(b"NATS/1.0 "):
            found.append(self.message()[0])
        return [header for header in found if not header.startswith(b"NATS/1.0 204")]

    def api(self, verb: str, body: Any = b"") -> Any:
        return self.ask(f"$JS.API.{verb}", body)

    def stream(self, name: str, **config: Any) -> None:
        self.api(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"], **config})

    def update(self, name: str, **config: Any) -> None:
        self.api(f"STREAM.UPDATE.{name}", {"name": name, "subjects": [f"{name}.>"], **config})

    def consumer(self, stream: str, name: str, **config: Any) -> None:
        body = {"stream_name": stream, "config": {"durable_name": name, **config}}
        self.api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)

    def fill(self, name: str, messages: int, subject: Callable[[int], str]) -> None:
        for begin in range(0, messages, CHUNK):
            rows = (b"PUB %b.%b 64\r\n%064d\r\n" % (name.encode(), subject(n).encode(), n)
                    for n in range(begin, min(begin + CHUNK, messages)))  # fmt: skip
            self.send(b"".join(rows))
            self.ask(f"{name}.{subject(begin)}", b"x")     # answered: what came before is stored

    def pull(self, stream: str, consumer: str, messages: int) -> None:
        """Gets so many, and acknowledges none."""
        for begin in range(0, messages, CHUNK):
            body = b'{"batch":%d,"expires":%d}' % (min(CHUNK, messages - begin), int(ANSWER_S * 1e9))
            self.send(b"PUB $JS.API.CONSUMER.MSG.NEXT.%b.%b in.pull %d\r\n%b\r\n"
                      % (stream.encode(), consumer.encode(), len(body), body))  # fmt: skip
            for _ in range(min(CHUNK, messages - begin)):
                self.message()

    def turns(self) -> dict[int, int]:
        with urllib.request.urlopen(self.varz, timeout=ANSWER_S) as page:
            return {int(bound): count for bound, count in json.load(page)["turn_us"].items()}


class Run:
    """Prints a line for each piece of work."""

    def __init__(self, server: Server, messages: int, only: str) -> None:
        self.server, self.messages, self._only = server, messages, only
        self._pauses = Pauses()

    @contextmanager
    def work(self, what: str) -> Iterator[None]:
        before, began = self.server.turns(), time.monotonic()
        self.server.loop.held_ns = self._pauses.longest_ns = 0
        yield
        took, held_ms = time.monotonic() - began, self.server.loop.held_ns / 1e6
        after = self.server.turns()
        longest_ms = max((bound for bound, count in after.items() if count > before.get(bound, 0)), default=0) / 1000
        of_it_ms = self._pauses.longest_ns / 1e6
        print(f"{what:56} held {held_ms:6.1f} ms   of it {of_it_ms:6.1f} ms   turn < {longest_ms:6.1f} ms"
              f"   took {took:7.3f} s", flush=True)  # fmt: skip

    def wants(self, name: str) -> bool:
        return self._only in name

    def filled(self, name: str, subject: Callable[[int], str] = "k.{}".format, **config: Any) -> Server:
        self.server.stream(name, **config)
        self.server.fill(name, self.messages, subject)
        return self.server

    def drop(self, name: str, what: str = "") -> None:
        with self.work(what) if what else self.work(f"(delete of {name})"):
            self.server.api(f"STREAM.DELETE.{name}")


def rollups(run: Run) -> None:
    for storage in ("file", "memory"):
        s = run.filled("R", storage=storage, allow_rollup_hdrs=True)
        with run.work(f"rollup of everything, {storage}, a subject each"):
            s.ask("R.k.0", b"x", b"Nats-Rollup: all")
        run.drop("R")
    s = run.filled("R", lambda n: f"k.{n % 2}", allow_rollup_hdrs=True)
    with run.work("rollup of one of two subjects"):
        s.ask("R.k.0", b"x", b"Nats-Rollup: sub")
    run.drop("R")


def lowered(run: Run) -> None:
    for what, change in (("max_msgs 10", {"max_msgs": 10}), ("max_msgs_per_subject 1", {"max_msgs_per_subject": 1})):
        s = run.filled("L", lambda n: f"k.{n % 7}")
        with run.work(f"update to {what}"):
            s.update("L", **change)
        run.drop("L")
    s = run.filled("L")
    with run.work("update to max_age: all expire"):
        s.update("L", max_age=10**9, duplicate_window=10**9)
        while s.api("STREAM.INFO.L")["state"]["messages"]:
            time.sleep(0.05)
    run.drop("L")


def gaps(run: Run) -> None:
    s = run.filled("G", lambda n: f"{'keep' if n % 2 else 'gone'}.{n % 1000}")
    with run.work("purge of every other message"):
        s.api("STREAM.PURGE.G", {"filter": "G.gone.>"})
    with run.work("STREAM.INFO with deleted_details"):
        found = s.api("STREAM.INFO.G", {"deleted_details": True})["state"]
    assert len(found["deleted"]) >= run.messages // 2 - CHUNK
    run.drop("G")


def gets(run: Run) -> None:
    rare = run.messages // 2 + 1
    s = run.filled("M", lambda n: f"k.{n}" if n != rare else "rare.x", allow_direct=True)
    for what, request, found in (
        ("next_by_subj, rare", {"next_by_subj": "M.rare.*"}, 1),
        ("last_by_subj, rare", {"last_by_subj": "M.rare.*"}, 1),
        ("next_by_subj, none", {"next_by_subj": "M.none.*"}, 0),
        ("last_by_subj, none", {"last_by_subj": "M.none.*"}, 0),
    ):
        if found:
            with run.work(f"STREAM.MSG.GET {what}"):
                s.api("STREAM.MSG.GET.M", request)
        with run.work(f"direct get {what}"):
            (header,) = s.get("M", **request)
        assert header.startswith(b"NATS/1.0 404") == (not found)
    with run.work("direct get of a batch, and its num_pending"):
        assert len(s.get("M", next_by_subj="M.*.*", batch=1000, seq=rare)) == 1000
    with run.work("direct get of a batch that is rare"):
        assert len(s.get("M", next_by_subj="M.rare.*", batch=1000)) == 1
    for what, request, found in (
        ("rare", {"multi_last": ["M.rare.*"]}, 1),
        ("none", {"multi_last": ["M.none.*"]}, 1),
        ("as it was", {"multi_last": ["M.rare.*", "M.k.0"], "up_to_seq": run.messages}, 2),
        ("by name", {"multi_last": [f"M.k.{number}" for number in range(1000)]}, 1000),
    ):
        with run.work(f"direct get multi_last, {what}"):
            assert len(s.get("M", **request)) == found
        s.ask("M.k.0", b"x")
    run.drop("M")


def purges(run: Run) -> None:
    s = run.filled("P", lambda n: f"k.{n}" if n % (run.messages // 3) else f"rare.{n}")
    with run.work("purge, keep 2, of a rare wildcard filter"):
        s.api("STREAM.PURGE.P", {"filter": "P.rare.*", "keep": 2})
    with run.work("purge of a filter that matches nothing"):
        s.api("STREAM.PURGE.P", {"filter": "P.none.*"})
    with run.work("purge of everything"):
        s.api("STREAM.PURGE.P")
    run.drop("P")


def consumers(run: Run) -> None:
    s = run.filled("C")
    for name, filter in (("a", ">"), ("w", "C.k.>")):
        with run.work(f"consumer with last_per_subject of {filter}"):
            s.consumer("C", name, deliver_policy="last_per_subject", ack_policy="explicit", filter_subject=filter)
        with run.work("CONSUMER.INFO"):
            s.api(f"CONSUMER.INFO.C.{name}")
    with run.work("consumer with filters, and its num_pending"):
        s.consumer("C", "f", filter_subjects=["C.k.1*", "C.none.>"], ack_policy="explicit")
    s.api("CONSUMER.DELETE.C.f")
    from_time = {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z"}
    for policy in ({"deliver_policy": "last"}, from_time):
        for filters in (["C.none.>", "C.no.*"], ["C.k.0", "C.none.*"], [f"C.k.{run.messages - 1}", "C.none.*"]):
            with run.work(f"consumer with filters, {policy['deliver_policy']}"):
                s.consumer("C", "f", filter_subjects=filters, ack_policy="explicit", **policy)
            s.api("CONSUMER.DELETE.C.f")
    with run.work("STREAM.INFO with subjects_filter"):
        s.api("STREAM.INFO.C", {"subjects_filter": ">"})
    run.drop("C", "delete of a file stream with consumers")


def interest(run: Run) -> None:
    s = run.server
    s.stream("I", retention="interest")
    s.consumer("I", "c", ack_policy="explicit")
    s.fill("I", run.messages, "k.{}".format)
    with run.work("delete of the only consumer, interest retention"):
        s.api("CONSUMER.DELETE.I.c")
        while s.api("STREAM.INFO.I")["state"]["messages"]:
            time.sleep(0.05)
    run.drop("I")


def pending(run: Run) -> None:
    for storage in ("memory", "file"):
        s = run.filled("D", storage=storage)
        messages = s.api("STREAM.INFO.D")["state"]["messages"]
        s.consumer("D", "c", ack_policy="explicit", max_ack_pending=-1, ack_wait=5 * 10**9)
        for what in ("delivered", "delivered again", "delivered a third time"):
            with run.work(f"{messages} messages are {what}, {storage}"):
                s.pull("D", "c", messages)
        run.drop("D")


def crowds(run: Run) -> None:
    s = run.server
    for crowd, storage in ((3000, "file"), (run.messages // 50, "memory")):
        s.stream("W", max_consumers=crowd, storage=storage)
        with run.work(f"{crowd} consumers are made"):
            for number in range(crowd):
                s.consumer("W", f"c{number}", ack_policy="explicit")
        s.fill("W", 8192, "k.{}".format)
        with run.work(f"purge of 8192 messages with {crowd} consumers"):
            s.api("STREAM.PURGE.W")
        with run.work(f"delete of a stream with {crowd} consumers"):
            s.api("STREAM.DELETE.W")


def lists(run: Run) -> None:
    s, many = run.server, max(1000, run.messages // 50)
    with run.work(f"{many} streams are made"):
        for number in range(many):
            s.stream(f"S{number}", storage="memory", max_consumers=many + 1)
    for verb in ("STREAM.NAMES", "STREAM.LIST", "INFO"):
        with run.work(f"{verb} of {many} streams"):
            s.api(verb)
    with run.work(f"STREAM.NAMES by subject of {many} streams"):
        s.api("STREAM.NAMES", {"subject": "S777.>"})
    with run.work(f"{many} consumers are made"):
        for number in range(many):
            s.consumer("S0", f"c{number}", ack_policy="explicit")
    for verb in ("NAMES", "LIST"):
        with run.work(f"CONSUMER.{verb} of {many}"):
            s.api(f"CONSUMER.{verb}.S0")
    run.drop("S0", f"delete of a stream with {many} consumers")


def pages(run: Run) -> None:
    s, many = run.server, max(1000, run.messages // 100)
    for number in range(many):
        s.stream(f"S{number}", storage="memory")
        s.consumer(f"S{number}", "c", ack_policy="explicit")
    others = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(many // 10)]
    for page in ("jsz?streams=1", "jsz?consumers=1&config=1", "metrics", f"connz?limit={many}", "varz", "subsz"):
        address = s.varz.replace("varz", page)
        with run.work(f"/{page} of {many} streams, {len(others)} connections"), urllib.request.urlopen(address) as got:
            got.read()
    for other in others:
        other.close()


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as root:
        server = Server(Path(root))
        run = Run(server, messages, sys.argv[2] if len(sys.argv) > 2 else "")
        try:
            for part in (rollups, lowered, gaps, gets, purges, consumers, interest, lists, pending, crowds, pages):
                if run.wants(part.__name__):
                    part(run)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
