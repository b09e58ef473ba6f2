"""Starts after a kill, of very many streams and of a very large one: everything is there, and how long it took is told.

    make starts                                 # 35,000 streams; 10,000,000 messages of 1 KiB: 12 GB of disk
    make starts STREAMS=1000 MESSAGES=100000
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..conformance import target as conformance
from ..conformance.target import MILLPOND, Target

STREAMS = int(os.environ.get("MILLPOND_STREAMS", "2000"))
MESSAGES = int(os.environ.get("MILLPOND_MESSAGES", "1000000"))
AT_ONCE = 5_000
"""Streams that are made before the next kill: each one that was written to has some files open."""
IN_FLIGHT = 512
BODY = b"b" * 1024

pytestmark = pytest.mark.slow


class Requests:
    """Sends requests `in_flight` at a time over one connection, and gives every answer."""

    def __init__(self, target: Target) -> None:
        self._socket = socket.create_connection(("127.0.0.1", target.port))
        self._file = self._socket.makefile("rb")
        self._socket.sendall(b'CONNECT {"verbose":false}\r\nSUB _I.> 1\r\n')

    def ping(self) -> None:
        self._socket.sendall(b"PING\r\n")
        while self._file.readline() != b"PONG\r\n":
            pass

    def ask(self, subject: str, body: bytes = b"") -> dict[str, object]:
        (answer,) = self.all([0], lambda _: (subject, body))
        return answer

    def all(self, items: range | list[int], make: Callable[[int], tuple[str, bytes]]) -> Iterator[dict[str, object]]:
        """The answer to `make(item)`, for each item in turn."""
        left, waiting = iter(items), 0
        while True:
            out = []
            while waiting < IN_FLIGHT and (item := next(left, None)) is not None:
                subject, body = make(item)
                out.append(b"PUB %s _I.x %d\r\n%s\r\n" % (subject.encode(), len(body), body))
                waiting += 1
            if out:
                self._socket.sendall(b"".join(out))
            if not waiting:
                return
            line = self._file.readline()
            assert line, "the server is gone"
            if line.startswith(b"MSG"):
                yield json.loads(self._file.read(int(line.split()[-1]) + 2))
                waiting -= 1
            elif line == b"PING\r\n":
                self._socket.sendall(b"PONG\r\n")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.setattr(conformance, "READY_SECONDS", 600.0)
    target = Target(MILLPOND).start()
    yield target
    target.discard()


def started_again(server: Target, what: str, first: Callable[[Requests], object]) -> Requests:
    """After a kill. Tells how long it took until `first` was answered, what of that the processor did, and memory."""
    server.stop(kill=True)
    began = time.monotonic()
    server.start()
    ready = time.monotonic() - began
    requests = Requests(server)
    requests.ping()
    first(requests)
    took = time.monotonic() - began
    assert server.process is not None
    user, system = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    most, now = (int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) >> 10 for name in ("VmHWM", "VmRSS"))  # type: ignore[index]
    print(
        f"\n{what}: ready after {ready:.2f} s, answered after {took:.2f} s; processor {int(user) / 100:.2f} + "
        f"{int(system) / 100:.2f} s; memory {now} MiB, at most {most} MiB; load {os.getloadavg()[0]:.1f}"
    )
    return requests


def stream_of(number: int) -> tuple[str, bytes]:
    config = {"name": f"S{number}", "subjects": [f"s.{number}.*"], "storage": "file", "max_msgs_per_subject": 5}
    return f"$JS.API.STREAM.CREATE.S{number}", json.dumps(config).encode()


def consumer_of(number: int) -> tuple[str, bytes]:
    config = {"durable_name": "C", "ack_policy": "explicit", "filter_subject": f"s.{number}.*"}
    asked = {"stream_name": f"S{number}", "config": config}
    return f"$JS.API.CONSUMER.DURABLE.CREATE.S{number}.C", json.dumps(asked).encode()


def test_many_streams(server: Target) -> None:
    made = 0
    while made < STREAMS:
        some = range(made, min(made + AT_ONCE, STREAMS))
        requests = Requests(server)
        for make in (stream_of, consumer_of, lambda number: (f"s.{number}.a", b"%d" % number)):
            assert not [answer for answer in requests.all(some, make) if "error" in answer]
        requests.close()
        server.restart(kill=True)
        made = some.stop
    requests = started_again(server, f"{STREAMS} streams", lambda each: each.ask(f"s.{STREAMS - 1}.b", b"first"))
    seen = requests.all(range(STREAMS), lambda number: (f"$JS.API.STREAM.INFO.S{number}", b""))
    for number, info in enumerate(seen):
        state = info["state"]
        assert isinstance(state, dict)
        assert state["messages"] == state["last_seq"] == (2 if number == STREAMS - 1 else 1)
        assert state["consumer_count"] == 1
    pending = requests.all(range(STREAMS), lambda number: (f"$JS.API.CONSUMER.INFO.S{number}.C", b""))
    assert [info["num_pending"] for info in pending] == [1] * (STREAMS - 1) + [2]
    some = range(0, STREAMS, max(STREAMS // AT_ONCE, 1))
    answers = requests.all(some, lambda number: (f"s.{number}.c", b"again"))
    found = {answer["stream"]: answer["seq"] for answer in answers}     # syncs end in any order
    assert found == {f"S{number}": 3 if number == STREAMS - 1 else 2 for number in some}
    account = requests.ask("$JS.API.INFO")
    assert (account["streams"], account["consumers"]) == (STREAMS, STREAMS)
    requests.close()


def test_many_messages(server: Target) -> None:
    requests = Requests(server)
    config = {"name": "L", "subjects": ["l.*"], "storage": "file"}
    assert "error" not in requests.ask("$JS.API.STREAM.CREATE.L", json.dumps(config).encode())
    acked = 0
    for answer in requests.all(range(MESSAGES), lambda number: (f"l.{number % 1000}", BODY)):
        acked += 1
        assert answer["seq"] == acked
    requests.close()
    for _ in range(2):
        requests = started_again(server, f"{MESSAGES} messages", lambda each: each.ask("l.0", BODY))
        acked += 1
        state = requests.ask("$JS.API.STREAM.INFO.L")["state"]
        assert isinstance(state, dict)
        assert (state["messages"], state["last_seq"], state["num_subjects"]) == (acked, acked, 1000)
        requests.close()
