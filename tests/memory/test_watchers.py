"""Watchers over a bucket of many keys: the server's memory grows with neither their number nor the keys' number.

A watcher is what clients make of one: an ordered consumer (push, flow control, no acknowledgements) on a connection of
its own. The worst ones do not read: everything that is still to come for them is on the server's side.

    python -m pytest -s -m slow tests/memory/test_watchers.py     # 300,000 keys, and nats-server beside it
"""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.target import MILLPOND, REFERENCE, Target, why_missing

MIB = 1 << 20
REVISIONS = 2
WATCHERS = 8
VALUE = b"v" * 64
PER_WATCHER_MAX = 192 * 1024
"""Anonymous memory of a watcher that reads nothing: what waits for it, and its connection. Of a list of 300,000
messages 8 bytes each would be 2.3 MiB."""
SHARED_MAX = 4 * MIB
"""Caches and buffers that all of them use, and the heap's slack."""
OUTPUT_MAX = 32 * MIB
"""What may wait for all clients that are reading is a quarter of the whole budget (docs/memory.md); a buffer that
grows is copied into one twice as large."""
ENDLESS_S = 600.0
KINDS = {
    "last of each key": {"deliver_policy": "last_per_subject"},
    "keys": {"deliver_policy": "last_per_subject", "headers_only": True},
    "history": {"deliver_policy": "all"},
}
KEY = re.compile(rb"MSG \$KV\.W\.k(\d+) ")
FLOW = re.compile(rb"(?:HMSG \S+ \d+ (\$JS\.FC\.\S+) |Nats-Consumer-Stalled: (\S+)\r)")


def anonymous_bytes(target: Target) -> int:
    """Of the server's process: heap and stacks, without file pages."""
    assert target.process is not None
    status = Path(f"/proc/{target.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def fill(target: Target, keys: int) -> None:
    """A bucket that keeps five revisions, with two of each key."""
    with target.connect() as client:
        config = {
            "name": "KV_W", "subjects": ["$KV.W.>"], "max_msgs_per_subject": 5, "allow_rollup_hdrs": True,
            "allow_direct": True, "discard": "new", "storage": "file",
        }  # fmt: skip
        made = client.request("$JS.API.STREAM.CREATE.KV_W", json.dumps(config).encode())
        assert "error" not in json.loads(made.payload)
        for first in range(0, keys * REVISIONS, 2000):
            rows = [b"PUB $KV.W.k%d %d\r\n%b\r\n" % (n % keys, len(VALUE), VALUE) for n in range(first, first + 1999)]
            client.send(b"".join(rows))
            # The answer to the last one says that all are stored: nats-server drops what it has no time for.
            client.request(f"$KV.W.k{(first + 1999) % keys}", VALUE)


class Watcher:
    """One connection with one ordered consumer. Its small receive buffer keeps what it does not read elsewhere."""

    def __init__(self, target: Target, number: int, config: dict[str, object], keys: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.connect(("127.0.0.1", target.port))
        self.seen = bytearray(keys)
        self.kept = b""
        inbox = f"_INBOX.{number}"
        ordered = {
            "name": f"w{number}", "deliver_subject": inbox, "ack_policy": "none", "max_deliver": 1, "mem_storage": True,
            "filter_subject": "$KV.W.>", "flow_control": True, "idle_heartbeat": 5_000_000_000, "num_replicas": 1,
            "ack_wait": 22 * 3600 * 10**9, "inactive_threshold": 300 * 10**9, **config,
        }  # fmt: skip
        body = json.dumps({"stream_name": "KV_W", "config": ordered}).encode()
        connect = b'CONNECT {"verbose":false,"headers":true,"no_responders":true,"protocol":1}\r\n'
        self.send(connect + b"SUB %b 1\r\nSUB made.%d 2\r\n" % (inbox.encode(), number))
        self.send(b"PUB $JS.API.CONSUMER.CREATE.KV_W.w%d made.%d %d\r\n%b\r\n" % (number, number, len(body), body))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> int:
        """What is there; how many messages that completes. Flow control is answered, as clients do."""
        data = self.socket.recv(1 << 18)
        assert data, "the server has closed a watcher's connection"
        data = self.kept + data
        end = data.rfind(b"\r\n") + 2
        data, self.kept = data[:end], data[end:]
        for first, second in FLOW.findall(data):
            self.send(b"PUB %b 0\r\n\r\n" % (first or second))
        for key in KEY.findall(data):
            self.seen[int(key)] += 1
        if b"PING\r\n" in data:
            self.send(b"PONG\r\n")
        return len(KEY.findall(data))


def read_all(watchers: list[Watcher], each: int, target: Target) -> int:
    """Until every watcher has so many messages. Returns the most memory that the server had meanwhile."""
    left = {watcher.socket: each for watcher in watchers}
    of = {watcher.socket: watcher for watcher in watchers}
    most, looked_s, deadline = 0, 0.0, time.monotonic() + ENDLESS_S
    while left:
        assert time.monotonic() < deadline, f"{sum(left.values())} messages did not come"
        for ready in select.select(list(left), [], [], 1.0)[0]:
            left[ready] -= of[ready].read()
            assert left[ready] >= 0, "a message came twice"
            if left[ready] == 0:
                del left[ready]
        if time.monotonic() - looked_s > 0.05:
            looked_s, most = time.monotonic(), max(most, anonymous_bytes(target))
    return most


def until_waiting(target: Target) -> None:
    """Until all watchers have begun and the server has sent them what it may."""
    with target.connect() as client:
        client.socket.settimeout(ENDLESS_S)  # nats-server makes the lists of all watchers first
        before = -1
        while True:
            names = [f"w{number}" for number in range(WATCHERS)]
            infos = [json.loads(client.request(f"$JS.API.CONSUMER.INFO.KV_W.{name}").payload) for name in names]
            delivered = sum(info.get("delivered", {}).get("consumer_seq", 0) for info in infos)
            if all("error" not in info for info in infos) and delivered == before > 0:
                return
            before = delivered
            time.sleep(0.2)  # what a consumer does not do is told by nobody


@pytest.fixture(params=[pytest.param(30_000, id="30k"), pytest.param(300_000, id="300k", marks=pytest.mark.slow)])
def keys(request: pytest.FixtureRequest) -> int:
    return request.param


def measured(kind: str, keys: int) -> Iterator[tuple[str, int, int]]:
    """For each kind of watcher: growth while none of them reads, and growth at most while all read everything."""
    target = Target(kind, flags=("--memory", "64MiB") if kind == MILLPOND else ()).start()
    try:
        fill(target, keys)
        for name, config in KINDS.items():
            before = anonymous_bytes(target)
            watchers = [Watcher(target, number, config, keys) for number in range(WATCHERS)]
            until_waiting(target)
            waiting = anonymous_bytes(target) - before
            times = REVISIONS if name == "history" else 1
            reading = read_all(watchers, times * keys, target) - before
            for watcher in watchers:
                assert watcher.seen == bytes([times]) * keys, "each message once"
                watcher.socket.close()
            with target.connect() as client:
                for number in range(WATCHERS):
                    client.request(f"$JS.API.CONSUMER.DELETE.KV_W.w{number}")
            yield name, waiting, reading
    finally:
        target.discard()


def test_memory_does_not_grow_with_keys_and_watchers(keys: int) -> None:
    found = {}
    for name, waiting, reading in measured(MILLPOND, keys):
        found[name] = (waiting, reading)
        print(f"\nMillpond, {keys} keys, {WATCHERS} watchers, {name}: {waiting / MIB:+.1f} / {reading / MIB:+.1f} MiB")
    for name, (waiting, reading) in found.items():
        assert waiting <= SHARED_MAX + WATCHERS * PER_WATCHER_MAX, name
        assert reading <= SHARED_MAX + WATCHERS * PER_WATCHER_MAX + OUTPUT_MAX, name


@pytest.mark.slow
@pytest.mark.reference
def test_the_same_of_nats_server() -> None:
    if (reason := why_missing(REFERENCE)) is not None:
        pytest.skip(reason)
    for name, waiting, reading in measured(REFERENCE, 300_000):
        print(f"\nnats-server, 300000 keys, {name}: {waiting / MIB:+.1f} / {reading / MIB:+.1f} MiB")
