"""One restore of a stream from the chunks that a client sends (reference 03.9).

    RECEIVING ── all is read, the client has sent its last ──> SETTLING ── all is durable ──> the stream runs

Chunks are requests. Each is answered when it was taken, the last, empty one with what became of the restore. What
they bring goes into a place that nobody sees: should the server end meanwhile, it is given back at the next start.
Only when everything is durable does it become a stream; whether its name, its subjects and its reservation are free
is asked once more then. A restore that fails leaves nothing behind.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from millpond.base import limits
from millpond.base.errors import ApiError, BackupError, StoreError
from millpond.base.ids import nuid
from millpond.broker.sink import CallableSink
from millpond.broker.timers import CallbackTimer
from millpond.jetstream.backup_documents import StateDocument
from millpond.jetstream.dedupe import Dedupe
from millpond.jetstream.message_ttl import parse_ttl
from millpond.jetstream.pause import Pause
from millpond.jetstream.restore_reading import Reading
from millpond.jetstream.restored import Restored
from millpond.jetstream.steps import Steps
from millpond.store.backup.archive import ArchiveReader
from millpond.store.backup.load import Loader

if TYPE_CHECKING:
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream
    from millpond.jetstream.stream_config import StreamConfig

log = logging.getLogger("millpond")

Outcome = ApiError | BackupError | None


class Restore:
    """`config` is checked, `asked` the state in the request; `check()` raises when the stream cannot be added as things
    are. `ended(restore, outcome, stream, reply)` is called once: without an error in `outcome` the `stream` runs, and
    `reply` is where the client waits, empty when nobody does."""

    def __init__(
        self,
        engine: Engine,
        config: StreamConfig,
        asked: StateDocument,
        check: Callable[[], None],
        ended: Callable[[Restore, Outcome, Stream | None, bytes], None],
    ) -> None:
        self._engine, self._config, self._check, self._ended = engine, config, check, ended
        self.name, self.bytes = config.name, 0
        self.stalled = False
        self._shelf = engine.hidden_shelf(config)
        self._loader = Loader(
            self._shelf.store, engine.payload_max, config.max_msg_size, parse_ttl, config.allow_msg_ttl,
            engine.clock.wall_ns,
        )  # fmt: skip
        self._window = Dedupe(config.duplicate_window)
        self._loader.ids_from_ns = engine.clock.wall_ns - config.duplicate_window
        self._loader.on_id = self._window.py_add if config.duplicate_window else None
        self._loader.on_committed = self._committed
        if self._shelf.journal is not None:
            self._shelf.journal.on_committed = self._shelf.journal.on_failed = self._committed
        self._archive = ArchiveReader()
        self._reading = Reading(self._archive, self._loader, config.name, asked)
        self._going: Iterator[Pause] | None = self._reading.run()
        self._outcome: Outcome = None
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._waiting_bytes = 0
        self._owed: bytes | None = None
        """Where the answer to the chunk that is being read goes."""
        self._last: bytes | None = None
        """Where the client waits for the end; None: it has not sent its last chunk."""
        self._consumers: list[Restored] | None = None
        self._created_ns = 0
        self._over = self._saving = False
        self.subject = f"$JS.SNAPSHOT.RESTORE.{config.name}.{nuid()}"
        self._chunks = engine.router.subscribe(self.subject.encode(), CallableSink(self._chunk))
        self._timer = CallbackTimer(self._stall)
        self._steps = Steps(self._step, engine.pump, engine.turn)
        self._active()

    def held_bytes(self) -> int:
        """What is held in memory."""
        return self._waiting_bytes + int(self._archive.held_bytes())

    # --- what comes in ---

    def _active(self) -> None:
        self._engine.turn.timers.start(self._timer, self._engine.clock.mono_ns + limits.RESTORE_IDLE_NS)

    def _chunk(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        if self._over or self._last is not None:
            return
        self._active()
        if not reply:
            self._refuse_input("requires reply subject for each chunk")
        elif not body:
            self._last = reply
            self._engine.turn.timers.stop(self._timer)
        elif self._waiting_bytes + len(body) > limits.RESTORE_WAITING_BYTES_MAX:
            self._refuse_input("received chunks faster than it takes them")
        else:
            self._waiting.append((reply, body))
            self._waiting_bytes += len(body)
        self._steps.wake()

    def _refuse_input(self, why: str) -> None:
        """The client broke the protocol: nobody is told but the account."""
        self._outcome = BackupError(f"restore for stream '{self._engine.account} > {self.name}' {why}")
        log.warning("%s", self._outcome)
        self._going, self._last = None, b""

    def _stall(self) -> None:
        if self._owed is not None or self._waiting:
            return self._active()                  # it is the server that is late
        log.warning("restore for stream '%s > %s' is stalled", self._engine.account, self.name)
        self.stalled = True
        self._give_up(BackupError("stalled"))

    def _committed(self) -> None:
        if self._last is None:
            self._active()
        failure = self._loader.failure or (self._shelf.journal.failure if self._shelf.journal is not None else "")
        if failure and self._going is None and self._outcome is None:
            self._outcome = BackupError(failure)
        self._steps.wake()

    # --- the work ---

    def _step(self) -> bool:
        """True: there is more to do at once."""
        try:
            return not self._over and self._do_step()
        except Exception:
            log.exception("restore of stream %s failed", self.name)
            self._give_up(BackupError("internal error"))
            return False

    def _do_step(self) -> bool:
        if self._going is not None:
            return self._read()
        self._acknowledge_all()
        if self._last is None:
            return False                           # whatever the client still sends is acknowledged
        if self._outcome is not None:
            self._give_up(self._outcome)
        elif self._consumers is None:
            self._prepare()
            return True
        elif not self._saving and self._engine.is_settled(self._shelf):
            self._saving = True
            try:
                self._engine.save_restored(self._config, self._created_ns, self._shelf, self._saved)
            except (StoreError, OSError) as error:
                self._give_up(BackupError(str(error)))
        return False

    def _read(self) -> bool:
        assert self._going is not None
        try:
            pause = next(self._going, None)
        except (BackupError, ApiError) as error:
            self._stop_reading(error)
            return True
        except (StoreError, OSError) as error:
            self._stop_reading(BackupError(str(error)))
            return True
        if pause is None:
            self._stop_reading(None)
        elif pause is Pause.HUNGRY:
            return self._take_next()
        return pause is not Pause.UNWRITTEN

    def _stop_reading(self, outcome: Outcome) -> None:
        self._going, self._outcome = None, outcome
        if outcome is not None:
            log.warning("restore of stream %s fails: %s", self.name, outcome)

    def _take_next(self) -> bool:
        """Answers the chunk that was read, and gives the next one to the reader if there is one."""
        if self._owed is not None:
            self._engine.router.publish(self._owed, b"")
            self._owed = None
            if self._last is None:
                self._active()
        if self._waiting:
            self._owed, chunk = self._waiting.popleft()
            self._waiting_bytes -= len(chunk)
            self.bytes += len(chunk)
            if self._going is not None:
                self._archive.feed(chunk)
            return True
        if self._last is not None and self._going is not None:
            self._archive.end()
            return True
        return False

    def _acknowledge_all(self) -> None:
        """Nothing is read any more."""
        if self._owed is not None:
            self._engine.router.publish(self._owed, b"")
            self._owed = None
        while self._waiting:
            reply, chunk = self._waiting.popleft()
            self.bytes += len(chunk)
            self._engine.router.publish(reply, b"")
        self._waiting_bytes = 0

    # --- the end ---

    def _prepare(self) -> None:
        """All messages are there; the consumers come to them. Then everything has to become durable."""
        try:
            self._check()
            self._created_ns = self._reading.created_ns or self._engine.clock.wall_ns
            self._consumers = self._engine.restore_consumers(self._config, self._shelf, self._reading.consumers)
        except (ApiError, BackupError) as error:
            self._outcome = error
        except (StoreError, OSError) as error:
            self._outcome = BackupError(str(error))

    def _saved(self, failure: str) -> None:
        """The configuration is durable too."""
        if self._over:
            return
        try:
            if failure:
                raise BackupError(failure)
            self._check()
            self._shelf.reveal(self._revealed)
        except (ApiError, BackupError) as error:
            return self._give_up(error)
        self._engine.turn.wake()

    def _revealed(self, failure: str) -> None:
        """It would be there after a restart: now it has to be."""
        if self._over:
            return
        try:
            if failure:
                raise BackupError(failure)
            self._check()
        except (ApiError, BackupError) as error:
            return self._give_up(error)
        self._finish()
        window = (self._window, self._loader.last_id)
        stream = self._engine.run_restored(self._config, self._created_ns, self._shelf, self._consumers or [], window)
        self._ended(self, None, stream, self._last or b"")

    def _finish(self) -> None:
        self._over = True
        self._going = None
        self._waiting.clear()
        self._waiting_bytes = 0
        self._engine.turn.timers.stop(self._timer)
        self._engine.router.unsubscribe(self._chunks)
        self._steps.stop()

    def _give_up(self, outcome: ApiError | BackupError) -> None:
        self.stop()
        self._ended(self, outcome, None, self._last or b"")

    def stop(self) -> None:
        """Give back what was taken; nobody is told."""
        self._finish()
        self._shelf.abandon(lambda _: self._shelf.store.destroy(), self._engine.in_steps)
        self._engine.turn.wake()
