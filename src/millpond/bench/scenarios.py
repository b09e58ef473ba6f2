"""What can be measured: one function per kind of load, each from an empty server to a result.

A scenario makes its streams, warms up for a moment, then measures for `seconds` or `messages`, whichever
ends first. The server's CPU time is taken over the same span and divided by the same operations.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from millpond.bench.calls import CompareAndSet, CoreRequest, DirectGet, LockCycle, StreamPublish
from millpond.bench.consume import Consume, Fetch
from millpond.bench.control import Control
from millpond.bench.deliver import PublishDeliver
from millpond.bench.flood import Flood
from millpond.bench.histogram import Histogram
from millpond.bench.loop import Loop
from millpond.bench.process import Process, ServerError
from millpond.bench.secure import secured

EVERYTHING: Final = 1 << 62
STORED_MAX: Final = 1_000_000
STORED_BYTES_MAX: Final = 512 * 2**20
STREAM: Final = "BENCH"
BUCKET: Final = "KV_BENCH"
SUBJECT: Final = "bench"
CORE: Final = ("pub", "fan", "request", "idle")
"""Kinds without streams."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario's settings; each kind reads those that it has."""

    kind: str
    size: int = 128
    """Bytes of payload."""
    window: int = 1
    """Operations in flight, over all connections."""
    connections: int = 1
    receivers: int = 1
    """Subscribers, or consumers."""
    queue: bool = False
    storage: str = "memory"
    acks: bool = False
    batch: int = 256
    distinct: int = 0
    """Subjects (or keys, subscriptions); 0: one."""
    filled: bool = False
    """Each subject of the stream holds a message before the measurement."""
    streams: int = 1
    apart: bool = False
    """Each consumer filters a subject of its own; else each gets every message."""
    release: str = "delete"
    seconds: float = 2.0
    messages: int = 0
    """Most operations; 0: for core NATS no bound, for JetStream STORED_MAX, or what STORED_BYTES_MAX hold."""

    @property
    def most(self) -> int:
        stored = min(STORED_MAX, STORED_BYTES_MAX // max(self.size, 1))
        return self.messages or (EVERYTHING if self.kind in CORE else stored)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came out. Latencies are 0 where none is taken; CPU and RSS None for a server that is elsewhere."""

    operations: int
    seconds: float
    failures: int
    first_failure: str
    p50_us: float
    p99_us: float
    p999_us: float
    cpu_ns: float | None
    """Of the server, user and kernel, per operation."""
    rss_bytes: int | None
    rss_growth_bytes: int | None
    load_cpu_share: float
    """Of one processor, used by the load generator itself; near 1 it is what limits the rate."""

    @property
    def rate(self) -> float:
        return self.operations / self.seconds if self.seconds else 0.0


class Bench:
    """One server under one load."""

    def __init__(self, server: Process, load: Load) -> None:
        self.server, self.load = server, load
        self.loop = Loop()
        self._control: Control | None = None

    @property
    def control(self) -> Control:
        if self._control is None:
            self._control = Control(self.server.host, self.server.port, self.server.tls)
        return self._control

    def connect(self, count: int = 1) -> list[Any]:
        server, secure = self.server, secured if self.server.tls else None
        return [self.loop.connect(server.host, server.port, secure=secure) for _ in range(count)]

    def stream(self, name: str, subjects: list[str], **config: Any) -> None:
        settings = {"name": name, "subjects": subjects, "storage": self.load.storage, "num_replicas": 1, **config}
        self.control.request(f"STREAM.CREATE.{name}", settings)

    def drop(self, name: str) -> None:
        self.control.request(f"STREAM.DELETE.{name}", {})

    def fill(self, conn: Any, subject: str, messages: int, distinct: int = 0) -> None:
        """Store so many messages, before the measurement."""
        driver = StreamPublish([conn], 1000, messages, subject.encode(), self.load.size, distinct)
        self.loop.run(driver, 120.0)
        if driver.failures:
            raise ServerError(f"a publish was refused: {driver.first_failure}")

    def measure(
        self, driver: Any, begin: Callable[[], None] | None = None, settled: Callable[[], None] | None = None
    ) -> Result:
        """`begin()` starts what the server does of its own; `settled()` returns when it has done everything."""
        load, server = self.load, self.server
        rss, cpu, own_cpu = server.rss_bytes(), server.idle_cpu_ns(), time.process_time_ns()
        self.loop.run(driver, load.seconds, 60.0, begin)
        if settled is not None:
            settled()
        seconds = (time.monotonic_ns() - self.loop.started_ns) / 1e9
        own_s = (time.process_time_ns() - own_cpu) / 1e9
        result = _result(server, driver.operations, seconds, own_s=own_s, cpu=cpu, rss=rss, latency=driver.latency)
        return msgspec.structs.replace(result, failures=driver.failures, first_failure=driver.first_failure or "")

    def close(self) -> None:
        self.loop.close()
        if self._control is not None:
            self._control.close()


def _result(
    server: Process, operations: int, seconds: float, *, own_s: float, cpu: int | None, rss: int | None,
    latency: Histogram,
) -> Result:  # fmt: skip
    """What has happened since the server had used `cpu` and held `rss`."""
    cpu_after, rss_after = server.idle_cpu_ns(), server.rss_bytes()
    return Result(
        operations=operations,
        seconds=seconds,
        failures=0,
        first_failure="",
        p50_us=latency.percentile(50) / 1e3,
        p99_us=latency.percentile(99) / 1e3,
        p999_us=latency.percentile(99.9) / 1e3,
        cpu_ns=(cpu_after - cpu) / operations if cpu is not None and cpu_after is not None and operations else None,
        rss_bytes=rss_after,
        rss_growth_bytes=rss_after - rss if rss is not None and rss_after is not None else None,
        load_cpu_share=own_s / seconds if seconds else 0.0,
    )


def run(server: Process, load: Load) -> Result:
    """Raises ServerError, LoadError, OSError."""
    bench = Bench(server, load)
    with contextlib.closing(bench):
        return KINDS[load.kind](bench)


@contextlib.contextmanager
def _warm(bench: Bench) -> Iterator[Bench]:
    """The same bench for a short round that nobody looks at."""
    load = bench.load
    bench.load = msgspec.structs.replace(load, seconds=min(0.2, load.seconds / 5), messages=20_000)
    yield bench
    bench.load = load


def _twice(bench: Bench, make: Callable[[int], Any]) -> Result:
    """Warm up, then measure: make(most operations) -> driver."""
    with _warm(bench):
        bench.measure(make(bench.load.messages))
    return bench.measure(make(bench.load.most))


# --- core NATS ---


def publish(bench: Bench) -> Result:
    """One publisher, nobody listens."""
    (conn,) = bench.connect()
    return _twice(bench, lambda most: Flood(conn, SUBJECT.encode(), bench.load.size, 0, 0, most))


def fan_out(bench: Bench) -> Result:
    """One publisher; every receiver gets each message, or one of a queue group does. On `distinct` subjects in turn,
    with a subscription for each."""
    load = bench.load
    (publisher,) = bench.connect()
    subjects = [f"{SUBJECT}.{n}" for n in range(load.distinct)] or [SUBJECT]
    for conn in bench.connect(load.receivers):
        for subject in subjects:
            conn.subscribe(subject.encode(), b"group" if load.queue else b"")
        bench.loop.settle(conn, 120.0)
    each = 1 if load.queue else load.receivers
    window = max(4, min(20_000, 8_000_000 // max(load.size, 64)))
    return _twice(bench, lambda most: Flood(publisher, SUBJECT.encode(), load.size, each, window, most, load.distinct))


def request(bench: Bench) -> Result:
    """Requests to one responder, `window` of them in flight over `connections`."""
    load = bench.load
    (responder,) = bench.connect()
    responder.subscribe(SUBJECT.encode())
    bench.loop.settle(responder)
    conns = bench.connect(load.connections)
    window = max(load.window, load.connections)
    return _twice(bench, lambda most: CoreRequest(conns, window, most, SUBJECT.encode(), load.size, responder))


def idle(bench: Bench) -> Result:
    """`connections` that do nothing: what it takes to make one, and to keep it."""
    load, server = bench.load, bench.server
    rss, cpu, began, own_cpu = server.rss_bytes(), server.idle_cpu_ns(), time.monotonic(), time.process_time()
    bench.connect(load.connections)
    seconds, own_cpu = time.monotonic() - began, time.process_time() - own_cpu
    return _result(server, load.connections, seconds, own_s=own_cpu, cpu=cpu, rss=rss, latency=Histogram())


# --- JetStream ---


def js_publish(bench: Bench) -> Result:
    """Acknowledged publishes, `window` of them in flight over `connections`; into `streams` in turn, or on `distinct`
    subjects of one."""
    load = bench.load
    conns = bench.connect(load.connections)
    window = max(load.window, load.connections)
    bench.stream("WARM", ["warm.>"])
    with _warm(bench):
        bench.measure(StreamPublish(conns, window, bench.load.messages, b"warm.up", load.size))
    bench.drop("WARM")
    if load.streams > 1:
        return _into_streams(bench, conns, window)
    bench.stream(STREAM, [f"{SUBJECT}.>"])
    subject = f"{SUBJECT}.x".encode()
    if load.filled:
        bench.fill(conns[0], subject.decode(), load.distinct, load.distinct)
    return bench.measure(StreamPublish(conns, window, load.most, subject, load.size, load.distinct))


def _into_streams(bench: Bench, conns: list[Any], window: int) -> Result:
    """Each of them has its files before the measurement."""
    load = bench.load
    for n in range(load.streams):
        bench.stream(f"{STREAM}-{n}", [f"{SUBJECT}.{n}"])

    def make(most: int) -> StreamPublish:
        return StreamPublish(conns, window, most, SUBJECT.encode(), load.size, load.streams)

    bench.loop.run(make(2 * load.streams), 120.0)
    return bench.measure(make(load.most))


def deliver(bench: Bench) -> Result:
    """Acknowledged publishes into a stream with `receivers` push consumers, on the way to all of them, or (`apart`)
    each to one. An operation is a delivery; it lasts from the publish to its last one."""
    load = bench.load
    conn, receiver = bench.connect(2)
    for n in range(load.receivers):
        receiver.subscribe(f"deliver.{n}".encode())          # a wildcard does not make a push consumer active
    bench.loop.settle(receiver)
    bench.stream(STREAM, [f"{SUBJECT}.>"])
    for n in range(load.receivers):
        config = {"name": f"C{n}", "deliver_subject": f"deliver.{n}", "ack_policy": "none", "mem_storage": True}
        if load.apart:
            config["filter_subject"] = f"{SUBJECT}.{n}"
        bench.control.request(f"CONSUMER.CREATE.{STREAM}.C{n}", {"stream_name": STREAM, "config": config})
    each, subjects = (1, load.receivers) if load.apart else (load.receivers, 1)

    def make(most: int) -> PublishDeliver:
        return PublishDeliver([conn], load.window, most, SUBJECT.encode(), load.size, subjects, receiver, each)

    return _twice(bench, make)


def fetch(bench: Bench) -> Result:
    """A pull consumer over stored messages, two overlapping batches; each message acked when `acks`."""
    load = bench.load
    (conn,) = bench.connect()
    messages = load.most // load.batch * load.batch
    bench.stream(STREAM, [f"{SUBJECT}.>"])
    bench.fill(conn, f"{SUBJECT}.x", messages)
    policy = "explicit" if load.acks else "none"
    config = {"durable_name": "C", "ack_policy": policy, "deliver_policy": "all", "max_ack_pending": 20_000}
    if not load.acks:
        del config["max_ack_pending"]
    bench.control.request(f"CONSUMER.DURABLE.CREATE.{STREAM}.C", {"stream_name": STREAM, "config": config})
    return bench.measure(
        Fetch(conn, STREAM, "C", load.batch, 2, messages, load.acks), settled=lambda: _all_acked(bench, "C")
    )


def _all_acked(bench: Bench, consumer: str) -> None:
    """Wait until the server has taken every acknowledgement; some take them later than they read them."""
    deadline = time.monotonic() + 10
    while pending := bench.control.request(f"CONSUMER.INFO.{STREAM}.{consumer}", {})["num_ack_pending"]:
        if time.monotonic() > deadline:
            raise ServerError(f"{pending} acknowledged messages are still pending")
        time.sleep(0.001)


def consume(bench: Bench) -> Result:
    """A push consumer over stored messages: ordered (flow control, no acks), or acked one by one."""
    load = bench.load
    conn, filler = bench.connect(2)
    bench.stream(STREAM, [f"{SUBJECT}.>"])
    bench.fill(filler, f"{SUBJECT}.x", load.most)
    conn.subscribe(b"deliver.bench")
    bench.loop.settle(conn)
    config: dict[str, Any] = {"name": "C", "deliver_subject": "deliver.bench", "deliver_policy": "all"}
    if load.acks:
        config |= {"ack_policy": "explicit", "max_ack_pending": 20_000}
    else:
        config |= {"ack_policy": "none", "flow_control": True, "idle_heartbeat": 5_000_000_000,
                   "mem_storage": True, "max_deliver": 1}  # fmt: skip

    def begin() -> None:
        bench.control.request(f"CONSUMER.CREATE.{STREAM}.C", {"stream_name": STREAM, "config": config})

    return bench.measure(Consume(conn, load.most, load.acks), begin, lambda: _all_acked(bench, "C"))


# --- buckets and locks ---


def _bucket(bench: Bench) -> None:
    bench.stream(
        BUCKET, ["$KV.BENCH.>"], max_msgs_per_subject=1, discard="new", allow_direct=True,
        allow_rollup_hdrs=True, deny_delete=True,
    )  # fmt: skip


def kv_put(bench: Bench) -> Result:
    """Writes of a bucket's keys, `distinct` of them in turn."""
    load = bench.load
    conns = bench.connect(load.connections)
    _bucket(bench)
    return _twice(
        bench,
        lambda most: StreamPublish(conns, load.window, most, b"$KV.BENCH.key", load.size, load.distinct or 1000),
    )


def kv_get(bench: Bench) -> Result:
    """Reads of a bucket's keys by direct get."""
    load = bench.load
    conns = bench.connect(load.connections)
    _bucket(bench)
    keys = load.distinct or 1000
    bench.loop.run(StreamPublish(conns, 64, keys, b"$KV.BENCH.key", load.size, keys), 60.0)
    prefix = f"$JS.API.DIRECT.GET.{BUCKET}.$KV.BENCH.key.".encode()
    return _twice(bench, lambda most: DirectGet(conns, load.window, most, prefix, keys))


def kv_cas(bench: Bench) -> Result:
    """Each slot updates its own key with the revision it saw last."""
    load = bench.load
    conns = bench.connect(load.connections)
    _bucket(bench)
    with _warm(bench):
        bench.measure(CompareAndSet(conns, load.window, bench.load.messages, b"$KV.BENCH.warm", load.size))
    return bench.measure(CompareAndSet(conns, load.window, load.most, b"$KV.BENCH.key", load.size))


def locks(bench: Bench) -> Result:
    """Take and release on ever-new subjects: publish, then delete by sequence or purge by subject."""
    load = bench.load
    conns = bench.connect(load.connections)
    bench.stream(
        STREAM, [f"{SUBJECT}.>"], max_msgs_per_subject=1, discard="new", discard_new_per_subject=True,
        max_age=5_000_000_000, duplicate_window=5_000_000_000,
    )  # fmt: skip
    by_purge = load.release == "purge"
    names = iter((f"{SUBJECT}.warm", f"{SUBJECT}.locks"))

    def make(most: int) -> LockCycle:
        return LockCycle(conns, load.window, most, STREAM.encode(), next(names).encode(), load.size, by_purge)

    return _twice(bench, make)


KINDS: Final[dict[str, Callable[[Bench], Result]]] = {
    "pub": publish,
    "fan": fan_out,
    "request": request,
    "idle": idle,
    "js-publish": js_publish,
    "deliver": deliver,
    "fetch": fetch,
    "consume": consume,
    "kv-put": kv_put,
    "kv-get": kv_get,
    "kv-cas": kv_cas,
    "locks": locks,
}
"""Name on the command line -> load. Each function's docstring says what it does."""
