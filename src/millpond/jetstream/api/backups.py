"""`$JS.API.STREAM.SNAPSHOT.<stream>` and `$JS.API.STREAM.RESTORE.<stream>` (reference 03.9, 05.2).

Snapshots and restores run on after their requests were answered; they are kept here until they end.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.base.errors import ApiError, BackupError
from millpond.jetstream import stream_rules
from millpond.jetstream.advisories import Advisories
from millpond.jetstream.api.request import RESPONSE, Request, error_body
from millpond.jetstream.api.streams import StreamApi, state_json
from millpond.jetstream.backup_documents import SEQ_MAX, StateDocument
from millpond.jetstream.config_wire import STREAM_FIELDS, stream_from_request, stream_to_json
from millpond.jetstream.engine import Engine
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import ListOf, MapOf, Shape, decode, encode, is_empty_request
from millpond.jetstream.restore import Outcome, Restore
from millpond.jetstream.snapshot import Snapshot
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import StreamConfig
from millpond.subjects import pytokens

log = logging.getLogger("millpond")

SNAPSHOT: Final = Shape(
    "JSApiStreamSnapshotRequest",
    {"deliver_subject": "string", "no_consumers": "bool", "chunk_size": "int", "window_size": "int", "jsck": "bool"},
)
STATE: Final = Shape(
    "StreamState",
    {
        "messages": "uint64",
        "bytes": "uint64",
        "first_seq": "uint64",
        "first_ts": "time.Time",
        "last_seq": "uint64",
        "last_ts": "time.Time",
        "num_subjects": "int",
        "subjects": MapOf("uint64"),
        "num_deleted": "int",
        "deleted": ListOf("uint64"),
        "lost": Shape("LostStreamData", {"msgs": ListOf("uint64"), "bytes": "uint64"}),
        "consumer_count": "int",
    },
    pointer=False,
)
RESTORE: Final = Shape(
    "JSApiStreamRestoreRequest",
    {"config": Shape("StreamConfig", STREAM_FIELDS, pointer=False), "state": STATE},
)


class BackupApi:
    """Handlers, and what they have started."""

    def __init__(self, engine: Engine, advisories: Advisories) -> None:
        self._engine, self._advisories = engine, advisories
        self._streams = StreamApi(engine)
        self._running: set[Snapshot | Restore] = set()
        engine.backup_bytes = self.held_bytes

    def close(self) -> None:
        """The server stops: what runs is dropped."""
        for job in self._running:
            job.stop()
        self._running.clear()

    def held_bytes(self) -> int:
        """What snapshots and restores hold in memory."""
        return sum(job.held_bytes() for job in self._running)

    def _check_room(self) -> None:
        if len(self._running) >= limits.BACKUPS_MAX or self._engine.pump.refusing:
            raise api_error("JSInsufficientResourcesErr")

    # --- snapshots ---

    def snapshot(self, request: Request) -> None:
        if is_empty_request(request.body):
            raise api_error("JSBadRequestErr")
        name = request.args[0]
        if self._engine.config_of(name) is None:
            raise api_error("JSStreamNotFoundErr")
        asked = decode(request.body, SNAPSHOT, self._engine.strict)
        if not pytokens.is_valid_subject(asked.get("deliver_subject", "").encode()):
            raise api_error("JSSnapshotDeliverSubjectInvalidErr")
        stream = self._engine.open_stream(name, "JSStreamSnapshotErrF")
        self._check_room()
        start_ns, state = self._engine.clock.wall_ns, state_json(stream)

        def ended(error: str) -> None:
            self._running.discard(job)
            if error:
                log.warning("snapshot of stream %s failed: %s", name, error)
            self._advisories.snapshot_complete(name, start_ns, request.client, error)

        job = Snapshot(self._engine, stream, asked, state, ended)
        self._running.add(job)
        request.ok(config=stream_to_json(stream.config, managed=False), state=state)
        self._advisories.snapshot_create(name, state, request.client)
        job.start()

    # --- restores ---

    def restore(self, request: Request) -> None:
        if is_empty_request(request.body):
            raise api_error("JSBadRequestErr")
        body = decode(request.body, RESTORE, self._engine.strict)
        name = request.args[0]
        config = stream_from_request(body.get("config", {}))
        config = msgspec.structs.replace(config, name=config.name or name)
        if config.name != name:
            raise api_error("JSStreamMismatchErr")
        if "/" in name or "\\" in name:
            raise api_error("JSStreamNameContainsPathSeparatorsErr")
        config = stream_rules.checked(config, False, self._engine.limits, self._engine.config_of)
        self._engine.check_room(config)
        if self._engine.config_of(name) is not None:
            raise api_error("JSStreamNameExistRestoreFailedErr")
        self._check_room()
        start_ns, client = self._engine.clock.wall_ns, request.client

        def ended(job: Restore, outcome: Outcome, stream: Stream | None, reply: bytes) -> None:
            self._running.discard(job)
            if not job.stalled:
                self._advisories.restore_complete(name, start_ns, job.bytes, client)
            if reply:
                self._engine.router.publish(reply, encode(self._result(outcome, stream)))

        state = body.get("state", {})
        asked = StateDocument(
            first_seq=min(state.get("first_seq", 0), SEQ_MAX), last_seq=min(state.get("last_seq", 0), SEQ_MAX),
            last_ts_ns=max(0, state.get("last_ts", 0)),
        )  # fmt: skip
        job = Restore(self._engine, config, asked, lambda: self._check_free(config), ended)
        self._running.add(job)
        self._advisories.restore_create(name, client)
        request.ok(deliver_subject=job.subject)

    def _check_free(self, config: StreamConfig) -> None:
        """Raises ApiError or BackupError when the stream cannot be added to those there are now."""
        if self._engine.config_of(config.name) is not None:
            raise api_error("JSStreamNameExistRestoreFailedErr")
        self._engine.check_room(config)
        try:
            stream_rules.check_single_server(config)
            self._engine.check_overlap(config)
        except ApiError as error:
            raise BackupError(f"error adding stream: {error}") from None

    def _result(self, outcome: Outcome, stream: Stream | None) -> dict[str, Any]:
        """The answer to the last chunk."""
        if outcome is not None or stream is None:
            error = outcome if isinstance(outcome, ApiError) else api_error("JSStreamRestoreErrF", err=str(outcome))
            return error_body("stream_create_response", error, {})
        return {"type": RESPONSE + "stream_create_response", **self._streams.described(stream)}

