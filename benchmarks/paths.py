"""The hot paths of the server, each as one prepared piece of work without sockets.

A path is a function that gets a `Replay` and a number of operations, prepares everything (streams, bytes to
feed), warms up, and returns a callable that does exactly the work to be counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from millpond.bench.replay import Client, Replay

Work = Callable[[], None]
BATCH: Final = 250
"""Messages of one read: what a fast client has sent by the time the server looks."""


def pub(subject: str, body: bytes, reply: str = "", header: str = "") -> bytes:
    """One PUB or HPUB frame."""
    words = " ".join(word for word in (subject, reply) if word)
    if not header:
        return f"PUB {words} {len(body)}\r\n".encode() + body + b"\r\n"
    block = f"NATS/1.0\r\n{header}\r\n\r\n".encode()
    return f"HPUB {words} {len(block)} {len(block) + len(body)}\r\n".encode() + block + body + b"\r\n"


def inbox(number: int) -> str:
    """A reply subject of its own for every request, as clients make them."""
    return f"_INBOX.abcdefghijklmnopqrstuv.{number}"


def listener(replay: Replay) -> Client:
    client = replay.client()
    client.feed(b"SUB _INBOX.abcdefghijklmnopqrstuv.* 1\r\n")
    return client


def stream(replay: Replay, storage: str, **config: Any) -> None:
    settings = {"name": "S", "subjects": ["s.>"], "storage": storage, **config}
    replay.api("STREAM.CREATE.S", json.dumps(settings).encode())


def batches(frames: list[bytes], size: int = BATCH) -> list[bytes]:
    return [b"".join(frames[at : at + size]) for at in range(0, len(frames), size)]


def feeding(replay: Replay, client: Client, data: list[bytes], warm_up: int = 2) -> Work:
    """Feed each piece and finish the turn; the first `warm_up` of them now."""
    for piece in data[:warm_up]:
        client.feed(piece)
        replay.turn()

    def work() -> None:
        for piece in data[warm_up:]:
            client.feed(piece)
            replay.turn()

    return work


def numbers(count: int, size: int = BATCH) -> range:
    """As many as are counted, and two pieces more to warm up."""
    return range(count + 2 * size)


# --- core ---


def core_publish(replay: Replay, count: int) -> Work:
    client = replay.client()
    return feeding(replay, client, batches([pub("a.b.c", b"x" * 128) for _ in numbers(count)]))


def core_publish_header(replay: Replay, count: int) -> Work:
    """With one header, of a length that ids have: is a trace asked for?"""
    client = replay.client()
    frame = pub("a.b.c", b"x" * 128, header="Nats-Msg-Id: 4Lm0b8LRfBqAgQzHbYx1Vt")
    return feeding(replay, client, batches([frame for _ in numbers(count)]))


def _fan(replay: Replay, count: int, receivers: int, queue: str) -> Work:
    for _ in range(receivers):
        replay.client().feed(f"SUB a.b.c {queue} 1\r\n".encode())
    return core_publish(replay, count)


def fan_out_1(replay: Replay, count: int) -> Work:
    return _fan(replay, count, 1, "")


def fan_out_4(replay: Replay, count: int) -> Work:
    return _fan(replay, count, 4, "")


def queue_group_4(replay: Replay, count: int) -> Work:
    return _fan(replay, count, 4, "group")


def request_reply(replay: Replay, count: int) -> Work:
    """A request and its answer, 25 in flight."""
    asker, responder = listener(replay), replay.client()
    responder.feed(b"SUB service 1\r\n")
    asked = batches([pub("service", b"x" * 128, inbox(n)) for n in numbers(count, 25)], 25)
    answered = batches([pub(inbox(n), b"x" * 128) for n in numbers(count, 25)], 25)

    def round_trips(pairs: list[tuple[bytes, bytes]]) -> None:
        for request, answer in pairs:
            asker.feed(request)
            replay.turn()
            responder.feed(answer)
            replay.turn()

    pairs = list(zip(asked, answered, strict=True))
    round_trips(pairs[:2])
    return lambda: round_trips(pairs[2:])


# --- JetStream ---


def _js_publish(replay: Replay, count: int, storage: str, size: int = BATCH, distinct: bool = False) -> Work:
    stream(replay, storage)
    client = listener(replay)
    frames = [pub(f"s.{n}" if distinct else "s.x", b"x" * 128, inbox(n)) for n in numbers(count, size)]
    return feeding(replay, client, batches(frames, size))


def js_publish_memory(replay: Replay, count: int) -> Work:
    return _js_publish(replay, count, "memory")


def js_publish_memory_sync(replay: Replay, count: int) -> Work:
    """One message a turn."""
    return _js_publish(replay, count, "memory", 1)


def js_publish_memory_subjects(replay: Replay, count: int) -> Work:
    """Every message on a subject of its own."""
    return _js_publish(replay, count, "memory", distinct=True)


def _consumer(replay: Replay, **config: Any) -> None:
    settings = {"durable_name": "C", "ack_policy": "none", **config}
    body = json.dumps({"stream_name": "S", "config": settings}).encode()
    replay.api("CONSUMER.DURABLE.CREATE.S.C", body)


def _pulls(count: int) -> list[bytes]:
    body = b'{"batch":%d,"expires":20000000000}' % BATCH
    return [pub("$JS.API.CONSUMER.MSG.NEXT.S.C", body, inbox(n)) for n in range(count // BATCH + 2)]


def fetch(replay: Replay, count: int) -> Work:
    client = listener(replay)
    js_publish_memory(replay, count)()
    _consumer(replay)
    return feeding(replay, client, _pulls(count))


def fetch_with_acks(replay: Replay, count: int) -> Work:
    client = listener(replay)
    js_publish_memory(replay, count)()
    _consumer(replay, ack_policy="explicit", max_ack_pending=20_000)
    acks = batches([pub(f"$JS.ACK.S.C.1.{n + 1}.{n + 1}.1700000000000000000.1000", b"") for n in numbers(count)])
    turns = [piece for pair in zip(_pulls(count), acks, strict=True) for piece in pair]
    return feeding(replay, client, turns, 4)


def push(replay: Replay, count: int) -> Work:
    """A push consumer, from its creation on."""
    client = replay.client()
    js_publish_memory(replay, count - 2 * BATCH)()
    client.feed(b"SUB deliver 9\r\n")
    return lambda: _consumer(replay, deliver_subject="deliver")


def push_apart(replay: Replay, count: int) -> Work:
    """Publishes, each of which one of 200 push consumers wants, and their deliveries."""
    stream(replay, "memory")
    client = listener(replay)
    client.feed(b"SUB deliver 9\r\n")
    for number in range(200):
        config = {"durable_name": f"C{number}", "ack_policy": "none", "deliver_subject": "deliver"}
        body = json.dumps({"stream_name": "S", "config": {**config, "filter_subject": f"s.{number}"}}).encode()
        replay.api(f"CONSUMER.DURABLE.CREATE.S.C{number}", body)
    frames = [pub(f"s.{n % 200}", b"x" * 128, inbox(n)) for n in numbers(count)]
    return feeding(replay, client, batches(frames))


# --- buckets and locks ---


def _bucket(replay: Replay) -> Client:
    stream(
        replay, "memory", max_msgs_per_subject=1, discard="new", allow_direct=True, deny_delete=True,
        allow_rollup_hdrs=True,
    )  # fmt: skip
    return listener(replay)


def kv_put(replay: Replay, count: int) -> Work:
    client = _bucket(replay)
    return feeding(replay, client, batches([pub(f"s.{n % 100}", b"x" * 128, inbox(n)) for n in numbers(count)]))


def kv_get(replay: Replay, count: int) -> Work:
    client = _bucket(replay)
    client.feed(b"".join(pub(f"s.{n}", b"x" * 128) for n in range(100)))
    frames = [pub(f"$JS.API.DIRECT.GET.S.s.{n % 100}", b"", inbox(n)) for n in numbers(count)]
    return feeding(replay, client, batches(frames))


def kv_cas(replay: Replay, count: int) -> Work:
    client = _bucket(replay)
    head = "Nats-Expected-Last-Subject-Sequence: "
    frames = [pub(f"s.{n % 100}", b"x" * 128, inbox(n), f"{head}{max(0, n - 99)}") for n in numbers(count)]
    return feeding(replay, client, batches(frames))


def _locks(replay: Replay, count: int, release: Callable[[int], bytes]) -> Work:
    stream(replay, "memory", max_msgs_per_subject=1, discard="new", discard_new_per_subject=True)
    client = listener(replay)
    pieces = []
    for first in range(0, len(numbers(count, 25)), 25):
        span = range(first, first + 25)
        pieces.append(b"".join(pub(f"s.{n}", b"x" * 128, inbox(n)) for n in span))
        pieces.append(b"".join(release(n) for n in span))
    return feeding(replay, client, pieces, 4)


def lock_delete(replay: Replay, count: int) -> Work:
    """Take and release by sequence, 25 in flight."""

    def release(n: int) -> bytes:
        return pub("$JS.API.STREAM.MSG.DELETE.S", b'{"seq":%d,"no_erase":true}' % (n + 1), inbox(n))

    return _locks(replay, count, release)


def lock_purge(replay: Replay, count: int) -> Work:
    """Take and release by purging the subject, 25 in flight."""
    return _locks(replay, count, lambda n: pub("$JS.API.STREAM.PURGE.S", b'{"filter":"s.%d"}' % n, inbox(n)))


PATHS: Final[dict[str, Callable[[Replay, int], Work]]] = {
    path.__name__: path
    for path in (
        core_publish, core_publish_header, fan_out_1, fan_out_4, queue_group_4, request_reply, js_publish_memory,
        js_publish_memory_sync, js_publish_memory_subjects, fetch, fetch_with_acks, push, push_apart,
        kv_put, kv_get, kv_cas, lock_delete, lock_purge,
    )
}  # fmt: skip
