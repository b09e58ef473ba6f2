"""The lock workload: one connection that takes and releases locks at a steady rate, and checks every answer.

Five file streams that keep one message per subject and refuse a second one: publishing to
`locks.<stream>.<id>` takes the lock `<id>`. Each id is used once. The lock is released by purging its
subject, by deleting its message, or (mode `expiry`) not at all: `max_age` does it.

An operation is one request that the server answers: a publish, a purge, a delete. The load speaks the
protocol itself and writes many requests at once, so that it takes a small part of one core; it lives
outside the memory groups of the servers that it loads.

What counts as failed: an answer with an error, a purge that purged anything but one message, an answer
that does not come in `ANSWER_TIMEOUT_S`, locks that are still there at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from array import array
from typing import Any, Final, Literal

import msgspec

Mode = Literal["purge", "delete", "expiry"]
MODES: Final[tuple[Mode, ...]] = ("purge", "delete", "expiry")

STREAMS: Final = 5
MAX_AGE_NS: Final = 5_000_000_000
ANSWER_TIMEOUT_S: Final = 5.0
UNANSWERED_MAX: Final = 2000
TICK_S: Final = 0.01
CATCH_UP_S: Final = 0.1
"""How much of a pause is made good afterwards; the rest is lost, not sent as a burst."""
LATENCY_BUCKET_NS: Final = 20_000
LATENCY_BUCKETS: Final = 50_000
ERRORS_KEPT: Final = 5
OWNER: Final = b"owner-7c9e6679-7425-40de-944b-e07fc1"


class LoadResult(msgspec.Struct, kw_only=True):
    """What was asked of one server in one mode, and how it answered."""

    published: int = 0
    released: int = 0
    failed: int = 0
    errors: list[str] = []
    """The first few, in words."""
    seconds: float = 0.0
    p50_us: int = 0
    p99_us: int = 0
    max_us: int = 0

    @property
    def operations(self) -> int:
        return self.published + self.released


class LoadError(Exception):
    """The load cannot go on: connection lost, stream refused."""


class LockLoad(asyncio.Protocol):
    """One client. `connect()`, then `run()` until stopped, then `finish()`."""

    def __init__(self, mode: Mode, operations_per_s: int) -> None:
        self.result = LoadResult()
        self._mode = mode
        self._publishes_per_s = operations_per_s if mode == "expiry" else operations_per_s / 2
        self._inbox = b"_INBOX." + os.urandom(8).hex().encode() + b"."
        self._run_id = os.urandom(4).hex()
        self._streams = [f"LOCKS_{number + 1}" for number in range(STREAMS)]
        self._number = 0
        self._pending: dict[int, tuple[int, int, bytes]] = {}
        """Request number -> (when sent, stream index or -1 - stream index for a release, subject)."""
        self._futures: dict[int, asyncio.Future[bytes]] = {}
        self._out: list[bytes] = []
        self._rest = b""
        self._latencies = array("Q", bytes(8 * LATENCY_BUCKETS))
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._lost = ""

    # --- the run ---

    async def connect(self, port: int) -> None:
        """Connect and make the streams. Raises LoadError, OSError."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", port)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self._ready
        for name in self._streams:
            config = {
                "name": name,
                "subjects": [f"locks.{name}.>"],
                "retention": "limits",
                "storage": "file",
                "num_replicas": 1,
                "max_consumers": -1,
                "max_msgs": -1,
                "max_bytes": -1,
                "max_msg_size": -1,
                "max_msgs_per_subject": 1,
                "discard": "new",
                "discard_new_per_subject": True,
                "max_age": MAX_AGE_NS,
                "duplicate_window": MAX_AGE_NS,
            }
            answer = await self._ask(f"$JS.API.STREAM.CREATE.{name}", json.dumps(config).encode())
            if "error" in answer:
                raise LoadError(f"stream {name} refused: {answer['error']}")

    async def run(self, stop: asyncio.Event) -> None:
        """Take and release locks until `stop`, then wait for the answers under way. Raises LoadError."""
        began = previous = time.monotonic()
        owed = 0.0
        sweep = began + 1
        while not stop.is_set():
            await asyncio.sleep(TICK_S)
            if self._lost:
                raise LoadError(self._lost)
            now = time.monotonic()
            owed = min(owed + (now - previous) * self._publishes_per_s, self._publishes_per_s * CATCH_UP_S)
            previous = now
            room = UNANSWERED_MAX - len(self._pending)
            due = min(int(owed), max(0, room))
            owed -= due
            for _ in range(due):
                self._take()
            self._flush()
            if now >= sweep:
                sweep = now + 1
                self._give_up_on_late_answers()
        self.result.seconds = time.monotonic() - began
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while self._pending and time.monotonic() < deadline and not self._lost:
            await asyncio.sleep(TICK_S)
        self._give_up_on_late_answers(all_of_them=True)

    async def finish(self) -> LoadResult:
        """Check that no lock is left (expiry: after its age), close, and return the counts."""
        deadline = time.monotonic() + (MAX_AGE_NS / 1e9 + 5 if self._mode == "expiry" else 1)
        left = await self._messages_left()
        while left and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            left = await self._messages_left()
        if left:
            self._fail(f"{left} locks are still there at the end", times=left)
        self._summarise_latencies()
        self.close()
        return self.result

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def _messages_left(self) -> int:
        left = 0
        for name in self._streams:
            answer = await self._ask(f"$JS.API.STREAM.INFO.{name}", b"")
            if "error" in answer:
                raise LoadError(f"stream {name}: {answer['error']}")
            left += answer["state"]["messages"]
        return left

    # --- requests ---

    def _take(self) -> None:
        number = self._number
        index = number % STREAMS
        subject = f"locks.{self._streams[index]}.{self._run_id}-{number:012x}".encode()
        self._send(subject, OWNER, index, subject)

    def _release(self, index: int, subject: bytes, stream_seq: int) -> None:
        name = self._streams[index].encode()
        if self._mode == "purge":
            self._send(b"$JS.API.STREAM.PURGE." + name, b'{"filter":"%b"}' % subject, -1 - index, subject)
        else:
            body = b'{"seq":%d,"no_erase":true}' % stream_seq  # as the Go client's DeleteMsg
            self._send(b"$JS.API.STREAM.MSG.DELETE." + name, body, -1 - index, subject)

    def _send(self, to: bytes, body: bytes, kind: int, subject: bytes) -> None:
        number = self._number
        self._number += 1
        self._pending[number] = (time.monotonic_ns(), kind, subject)
        self._out.append(b"PUB %b %b%d %d\r\n%b\r\n" % (to, self._inbox, number, len(body), body))

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    async def _ask(self, to: str, body: bytes) -> dict[str, Any]:
        """One request of the set-up, by its answer. Raises LoadError."""
        number = self._number
        self._number += 1
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._futures[number] = future
        self._out.append(b"PUB %b %b%d %d\r\n%b\r\n" % (to.encode(), self._inbox, number, len(body), body))
        self._flush()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer: dict[str, Any] = json.loads(await future)
        except TimeoutError:
            raise LoadError(self._lost or f"no answer to {to} in {ANSWER_TIMEOUT_S:g} s") from None
        return answer

    # --- what comes back ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "echo": True}
        connect = json.dumps({**options, "lang": "millpond-bench", "version": "1", "protocol": 1}).encode()
        transport.write(b"CONNECT %b\r\nSUB %b* 1\r\nPING\r\n" % (connect, self._inbox))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or f"the server closed the connection ({exc or 'end of stream'})"
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._futures.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(LoadError(self._lost))
        for future in waiting:
            if not future.cancelled():
                future.exception()  # whoever waits for it is told; nobody else need be

    def data_received(self, data: bytes) -> None:
        chunk = self._rest + data if self._rest else data
        at = 0
        while (end := chunk.find(b"\r\n", at)) >= 0:
            line = chunk[at:end]
            if line.startswith((b"MSG ", b"HMSG ")):
                words = line.split()
                size = int(words[-1])
                after = end + 2 + size + 2
                if after > len(chunk):
                    break
                headers = int(words[-2]) if line[:1] == b"H" else 0
                self._answered(words[1], chunk[end + 2 : end + 2 + headers], chunk[end + 2 + headers : after - 2])
                at = after
            else:
                self._control(line)
                at = end + 2
        self._rest = chunk[at:]
        self._flush()

    def _control(self, line: bytes) -> None:
        if line == b"PING":
            self._out.append(b"PONG\r\n")
        elif line == b"PONG":
            if not self._ready.done():
                self._ready.set_result(None)
        elif line.startswith(b"-ERR"):
            self._lost = f"the server said {line.decode(errors='replace')}"
            self._fail(self._lost)

    def _answered(self, reply: bytes, headers: bytes, body: bytes) -> None:
        number = int(reply[len(self._inbox) :])
        future = self._futures.pop(number, None)
        if future is not None:
            if headers.startswith(b"NATS/1.0 503"):
                future.set_exception(LoadError("nobody answers JetStream requests: is JetStream on?"))
            else:
                future.set_result(body)
            return
        sent = self._pending.pop(number, None)
        if sent is None:
            return  # its time was up: counted as failed already
        sent_ns, kind, subject = sent
        bucket = (time.monotonic_ns() - sent_ns) // LATENCY_BUCKET_NS
        self._latencies[min(bucket, LATENCY_BUCKETS - 1)] += 1
        if kind >= 0:
            self._taken(kind, subject, headers, body)
        elif b'"success":true' not in body or (self._mode == "purge" and b'"purged":1' not in body):
            self._fail(f"{self._mode} of {subject.decode()}: {_words(headers, body)}")
        else:
            self.result.released += 1

    def _taken(self, index: int, subject: bytes, headers: bytes, body: bytes) -> None:
        found = body.find(b'"seq":')
        if found < 0 or b'"error"' in body:
            self._fail(f"publish to {subject.decode()}: {_words(headers, body)}")
            return
        self.result.published += 1
        if self._mode != "expiry":
            stream_seq = int(body[found + 6 :].lstrip().split(b",", 1)[0].rstrip(b"}\r\n "))
            self._release(index, subject, stream_seq)

    # --- what went wrong ---

    def _fail(self, why: str, times: int = 1) -> None:
        self.result.failed += times
        if len(self.result.errors) < ERRORS_KEPT:
            self.result.errors.append(why)

    def _give_up_on_late_answers(self, all_of_them: bool = False) -> None:
        before = time.monotonic_ns() - int(ANSWER_TIMEOUT_S * 1e9)
        late = []
        for number, (sent_ns, _, _) in self._pending.items():
            if sent_ns > before and not all_of_them:
                break  # in the order of sending
            late.append(number)
        for number in late:
            _, kind, subject = self._pending.pop(number)
            what = "publish to" if kind >= 0 else f"{self._mode} of"
            self._fail(self._lost or f"{what} {subject.decode()}: no answer in {ANSWER_TIMEOUT_S:g} s")

    def _summarise_latencies(self) -> None:
        total = sum(self._latencies)
        wanted = {"p50_us": total * 0.50, "p99_us": total * 0.99, "max_us": float(total)}
        seen = 0
        for bucket, count in enumerate(self._latencies):
            seen += count
            for name in [name for name, rank in wanted.items() if count and seen >= rank]:
                setattr(self.result, name, (bucket + 1) * LATENCY_BUCKET_NS // 1000)
                del wanted[name]


def _words(headers: bytes, body: bytes) -> str:
    """An answer that is not what was hoped for, short."""
    if headers.startswith(b"NATS/1.0 503"):
        return "no responders"
    return body[:200].decode(errors="replace") or "empty answer"
