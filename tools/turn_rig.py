"""A server in a thread whose loop is measured, and what its clients say to it: the rig of tools/longest_turn.py."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import millpond
from millpond.server.collector import Collector

CHUNK = 20_000
ANSWER_S = 240.0


def _name(callback: Any) -> str:
    """What a callback is, in a word or two; of a task: its coroutine."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return str(getattr(owner.get_coro(), "__qualname__", owner))
    found = getattr(callback, "func", callback)
    return str(getattr(found, "__qualname__", getattr(found, "__name__", type(found).__name__)))


class Loop(asyncio.SelectorEventLoop):
    """Measures its callbacks."""

    held_ns = 0
    holder = ""

    def _measured(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            began = time.thread_time_ns()
            try:
                return callback(*args)
            finally:
                took = time.thread_time_ns() - began
                if took > self.held_ns:
                    self.held_ns, self.holder = took, _name(callback)

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
    """A server in a thread, and one connection to it. embedded: in a program that has the collector that it has."""

    def __init__(self, root: Path, *, embedded: bool = False, **settings: Any) -> None:
        self.loop, self._root, self._settings, self._embedded = Loop(), root, settings, embedded
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
        settings = {"http_port": -1, "memory_bytes": 1 << 30, "dev": True, **self._settings}
        server = self.server = millpond.Server(store_dir=str(self._root), **settings)
        await server.start()
        self.port = int(server.client_url.rsplit(":", 1)[1])
        self.varz = server.monitor_url + "/varz"
        if not self._embedded:
            broker = server.broker
            self.collector = Collector(broker.gone_subscriptions, broker.subscriptions)
            self.collector.start()
        self._ready.set()
        await self._enough.wait()
        await server.stop()
        if not self._embedded:
            self.collector.stop()

    def stop(self) -> None:
        self.socket.close()
        self.loop.call_soon_threadsafe(self._enough.set)
        self._thread.join()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Have it done on the server's loop, and wait."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(ANSWER_S)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def message(self) -> tuple[bytes, bytes]:
        """The header block and the body of the next message."""
        while not (line := self.input.readline()).startswith((b"MSG", b"HMSG")):
            assert line, "the connection has ended"
            if line == b"PING\r\n":
                self.send(b"PONG\r\n")
        parts = line.split()
        body = self.input.read(int(parts[-1]) + 2)[:-2]
        header = int(parts[-2]) if parts[0] == b"HMSG" else 0
        return body[:header], body[header:]

    def ask(self, subject: str, body: Any = b"", headers: bytes = b"") -> Any:
        self.request(subject, body, headers)
        found = json.loads(self.message()[1])
        assert "error" not in found, found
        return found

    def request(self, subject: str, body: Any = b"", headers: bytes = b"", reply: bytes = b"in.a") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if headers:
            block = b"NATS/1.0\r\n" + headers + b"\r\n\r\n"
            head = b"HPUB %b %b %d %d\r\n" % (subject.encode(), reply, len(block), len(block) + len(data))
            self.send(head + block + data + b"\r\n")
        else:
            self.send(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply, len(data), data))

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

    def state(self, name: str) -> Any:
        return self.api(f"STREAM.INFO.{name}")["state"]

    def consumer(self, stream: str, name: str, **config: Any) -> None:
        body = {"stream_name": stream, "config": {"durable_name": name, **config}}
        self.api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)

    def fill(self, name: str, messages: int, subject: Callable[[int], str], headers: bytes = b"") -> None:
        block = b"NATS/1.0\r\n" + headers + b"\r\n\r\n" if headers else b""
        for begin in range(0, messages, CHUNK):
            each = range(begin, min(begin + CHUNK, messages))
            if headers:
                sizes = len(block), len(block) + 64
                rows = (b"HPUB %b.%b %d %d\r\n%b%064d\r\n"
                        % (name.encode(), subject(n).encode(), *sizes, block, n) for n in each)  # fmt: skip
            else:
                rows = (b"PUB %b.%b 64\r\n%064d\r\n" % (name.encode(), subject(n).encode(), n) for n in each)
            self.send(b"".join(rows))
            self.ask(f"{name}.{subject(begin)}", b"x", headers)     # answered: what came before is stored

    def pull(self, stream: str, consumer: str, messages: int) -> None:
        """Gets so many, and acknowledges none."""
        for begin in range(0, messages, CHUNK):
            body = b'{"batch":%d,"expires":%d}' % (min(CHUNK, messages - begin), int(ANSWER_S * 1e9))
            self.send(b"PUB $JS.API.CONSUMER.MSG.NEXT.%b.%b in.pull %d\r\n%b\r\n"
                      % (stream.encode(), consumer.encode(), len(body), body))  # fmt: skip
            for _ in range(min(CHUNK, messages - begin)):
                self.message()

    def page(self, name: str) -> bytes:
        with urllib.request.urlopen(self.varz.replace("varz", name), timeout=ANSWER_S) as got:
            return bytes(got.read())

    def turns(self) -> dict[int, int]:
        return {int(bound): count for bound, count in json.loads(self.page("varz"))["turn_us"].items()}


class Run:
    """Prints a line for each piece of work."""

    def __init__(self, server: Server, messages: int, only: str) -> None:
        self.server, self.messages, self._only = server, messages, only
        self._pauses = Pauses()

    @contextmanager
    def on(self, server: Server) -> Iterator[Server]:
        """Measure another server, which is stopped in the end."""
        mine, self.server = self.server, server
        try:
            yield server
        finally:
            self.server = mine
            server.stop()

    @contextmanager
    def work(self, what: str, *, ends: bool = False) -> Iterator[None]:
        """ends: no page is asked for but in it: the server may be gone in the end, or nobody has asked before."""
        before = {} if ends else self.server.turns()
        self.server.do(asyncio.sleep(0))               # the callback that has answered may not have ended
        began = time.monotonic()
        self.server.loop.held_ns = self._pauses.longest_ns = 0
        yield
        self.server.do(asyncio.sleep(0))
        took, held_ms, holder = time.monotonic() - began, self.server.loop.held_ns / 1e6, self.server.loop.holder
        after = {} if ends else self.server.turns()
        longest_ms = max((bound for bound, count in after.items() if count > before.get(bound, 0)), default=0) / 1000
        of_it_ms = self._pauses.longest_ns / 1e6
        print(f"{what:60} held {held_ms:6.1f} ms   of it {of_it_ms:6.1f} ms   turn < {longest_ms:6.1f} ms"
              f"   took {took:7.3f} s   {holder}", flush=True)  # fmt: skip

    def wants(self, name: str) -> bool:
        return self._only in name

    def filled(self, name: str, subject: Callable[[int], str] = "k.{}".format, **config: Any) -> Server:
        self.server.stream(name, **config)
        self.server.fill(name, self.messages, subject)
        return self.server

    def drop(self, name: str, what: str = "") -> None:
        with self.work(what) if what else self.work(f"(delete of {name})"):
            self.server.api(f"STREAM.DELETE.{name}")

    def until_empty(self, name: str) -> None:
        while self.server.state(name)["messages"]:
            time.sleep(0.05)
