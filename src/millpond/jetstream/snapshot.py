"""One snapshot of a stream on its way to a client (reference 03.9).

The archive is made a step at a time and leaves in chunks. A chunk takes a slot of the window, its acknowledgement
gives it back, so what is under way is bounded, and so is what is held here: a chunk and what is being encoded.

    WAITING ── somebody listens, or two seconds passed ──> RUNNING ──> ended, with a marker for the receiver

The marker is an empty message: without headers when all fitted into one unfinished chunk, with status 204 behind
full chunks, 408 when nobody listens or acknowledges any more, 500 when the stream cannot be read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from millpond.base import limits
from millpond.base.ids import nuid
from millpond.broker.sink import CallableSink
from millpond.broker.timers import CallbackTimer
from millpond.jetstream.backup_documents import CONSUMERS, STATE, consumer_document
from millpond.jetstream.go_json import encode
from millpond.jetstream.steps import Steps
from millpond.store.backup.dump import Dump

if TYPE_CHECKING:
    from millpond.jetstream.consumer import Consumer
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream

log = logging.getLogger("millpond")

FULL, MORE, COLD, OVER, FAILED = range(5)
"""Filled, in store/backup/dump.pxd."""
NO_INTEREST: Final = "no interest"
NO_FLOW: Final = "no flow response"
HEADERS: Final = {NO_INTEREST: "408 No Interest", NO_FLOW: "408 No Flow Response"}


def clamp(asked: int, default: int, least: int, most: int) -> int:
    """0 asks for the default."""
    return min(max(asked or default, least), most)


class Snapshot:
    """`asked` is the request, `state` the stream's state as it was answered. `ended(error)` is called once the marker
    is sent; "" is success."""

    def __init__(
        self,
        engine: Engine,
        stream: Stream,
        asked: dict[str, Any],
        state: dict[str, Any],
        ended: Callable[[str], None],
    ) -> None:
        self._engine, self._stream, self._ended = engine, stream, ended
        self._deliver = asked["deliver_subject"].encode()
        self._chunk_bytes = clamp(
            asked.get("chunk_size", 0), limits.SNAPSHOT_CHUNK_BYTES,
            limits.SNAPSHOT_CHUNK_BYTES_MIN, limits.SNAPSHOT_CHUNK_BYTES_MAX,
        )  # fmt: skip
        window = clamp(
            asked.get("window_size", 0), limits.SNAPSHOT_WINDOW_BYTES,
            limits.SNAPSHOT_WINDOW_BYTES_MIN, limits.SNAPSHOT_WINDOW_BYTES_MAX,
        )  # fmt: skip
        self._slots = self._window = max(window, self._chunk_bytes) // self._chunk_bytes
        self._last_seq = int(state["last_seq"])
        self._dump = Dump(stream.store, self._last_seq)
        shown = [consumer for consumer in stream.consumers.values() if not consumer.config.direct]
        self._documents = self._describe([] if asked.get("no_consumers") else shown, state)
        self._index = 0
        self._running = self._had_listener = self._over = False
        self._ack_subject = f"$JS.SNAPSHOT.ACK.{stream.name}.{nuid()}".encode()
        self._acks = engine.router.subscribe(self._ack_subject + b".>", CallableSink(self._acknowledged))
        self._timer = CallbackTimer(self._look)
        self._steps = Steps(self._step, engine.pump, engine.turn)
        self._since_ns = engine.clock.mono_ns
        """When waiting began, or the last chunk left."""

    def _describe(self, consumers: list[Consumer], state: dict[str, Any]) -> Iterator[None]:
        """Puts one document into the archive each time it is asked to go on."""
        now_ns = self._engine.clock.wall_ns
        self._dump.archive.put_document(STATE, now_ns, encode({**state, "consumer_count": len(consumers)}))
        yield
        for consumer in consumers:
            content = consumer_document(consumer, self._last_seq)
            self._dump.archive.put_document(CONSUMERS + consumer.name.encode(), now_ns, content)
            yield

    def start(self) -> None:
        self._look()

    def held_bytes(self) -> int:
        """What is held in memory."""
        return int(self._dump.held_bytes())

    def stop(self) -> None:
        """The server stops: nothing is sent any more."""
        self._over = True
        self._dump.close()
        self._engine.turn.timers.stop(self._timer)
        self._engine.router.unsubscribe(self._acks)
        self._steps.stop()

    # --- what may end the waiting ---

    def _acknowledged(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        if self._slots < self._window:
            self._slots += 1
            self._steps.wake()

    def _look(self) -> None:
        now_ns, listened = self._engine.clock.mono_ns, self._listened()
        waited_ns = now_ns - self._since_ns
        if not self._running:
            if listened or waited_ns >= limits.SNAPSHOT_INTEREST_WAIT_NS:
                self._running, self._had_listener, self._since_ns = True, listened, now_ns
                self._steps.wake()
        elif self._had_listener and not listened:
            return self._end(NO_INTEREST)
        elif self._slots == 0 and waited_ns >= limits.SNAPSHOT_ACK_WAIT_NS:
            return self._end(NO_FLOW)
        next_ns = limits.SNAPSHOT_LOOK_NS if self._running else limits.SNAPSHOT_FIRST_LOOK_NS
        self._engine.turn.timers.start(self._timer, now_ns + next_ns)

    def _listened(self) -> bool:
        """Is there a subscription to exactly this subject? Clients ask first and subscribe then; the wildcard behind
        their requests' replies does not receive for them."""
        found = self._engine.router.sublist.find(self._deliver).plain
        return any(interest.subject == self._deliver for interest in found)

    # --- the work ---

    def _step(self) -> bool:
        """True: there is more to do at once."""
        try:
            return not self._over and self._running and self._slots > 0 and self._do_step()
        except Exception:
            log.exception("snapshot of stream %s failed", self._stream.name)
            self._end("internal error")
            return False

    def _do_step(self) -> bool:
        running: Any = self._engine.streams.get(self._stream.name)
        if running is not self._stream:
            self._end("stream closed")
            return False
        for _ in self._documents:
            return True
        found = self._dump.fill(self._chunk_bytes, limits.BACKUP_STEP_BYTES)
        if found == FULL:
            self._send_chunk()
        elif found == COLD:
            self._stream.on_warm(self._steps.wake)
        elif found == FAILED:
            self._end(self._dump.failure)
        elif found == OVER:
            rest = self._dump.take(self._chunk_bytes)
            if rest:
                self._engine.router.publish(self._deliver, rest)
            self._end("")
        return not self._over and found in (FULL, MORE)

    def _send_chunk(self) -> None:
        self._slots -= 1
        self._index += 1
        self._since_ns = self._engine.clock.mono_ns
        reply = b"%s.%d.%d" % (self._ack_subject, self._chunk_bytes, self._index)
        self._engine.router.publish(self._deliver, self._dump.take(self._chunk_bytes), reply)

    def _end(self, error: str) -> None:
        status = HEADERS.get(error, f"500 {error}") if error else "204" if self._index else ""
        headers = f"NATS/1.0 {status}\r\n\r\n".encode() if status else b""
        self.stop()
        self._engine.router.publish(self._deliver, b"", b"", headers)
        self._ended(error)
