"""`$JS.API.STREAM.*`: create, update, info, names, list, delete, purge (reference 05.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millpond.base import limits
from millpond.jetstream import stream_rules
from millpond.jetstream.api.request import PAGED, STREAM_INFO, STREAM_PURGE, Request
from millpond.jetstream.config_wire import STREAM_REQUEST, stream_from_request, stream_to_json
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import ZERO_TIME, decode, format_time
from millpond.jetstream.stream_config import StreamConfig
from millpond.subjects import pytokens

if TYPE_CHECKING:
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream

DELETED_DETAILS_MAX: Final = 1_000_000


def page(items: list[Any], offset: int, limit: int) -> tuple[list[Any], dict[str, int]]:
    """One page; an offset beyond the end is clamped to it, a negative one to 0."""
    offset = min(max(0, offset), len(items))
    return items[offset : offset + limit], {"total": len(items), "offset": offset, "limit": limit}


class StreamApi:
    """Handlers; each takes a `Request` and answers it now or when its effect is durable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _find(self, name: str) -> Stream:
        stream = self._engine.streams.get(name)
        if stream is None:
            raise api_error("JSStreamNotFoundErr")
        return stream

    def _asked(self, request: Request) -> StreamConfig:
        body = decode(request.body, STREAM_REQUEST, self._engine.strict) if request.body else {}
        if body.get("name", "") != request.args[0]:
            raise api_error("JSStreamMismatchErr")
        config = stream_from_request(body)
        stream_rules.check_name(config.name)
        return stream_rules.with_defaults(config, pedantic=body.get("pedantic", False))

    def create(self, request: Request) -> None:
        config = self._asked(request)
        stream_rules.check_create(config)
        stream_rules.check(config)
        existing = self._engine.streams.get(config.name)
        if existing is not None:
            if existing.config != config:
                raise api_error("JSStreamNameExistErr")
            request.ok(**self.described(existing), did_create=True)
            return
        stream_rules.check_overlap(config, self._engine.configs())
        self._engine.create_stream(config, lambda stream: request.ok(**self.described(stream), did_create=True))

    def update(self, request: Request) -> None:
        config = self._asked(request)
        stream = self._engine.streams.get(config.name)
        if stream is None:
            stream_rules.check(config)
            raise api_error("JSStreamNotFoundErr")
        config = stream_rules.sealed_form(config)
        stream_rules.check(config)
        stream_rules.check_update(stream.config, config)
        stream_rules.check_overlap(config, self._engine.configs())
        self._engine.update_stream(stream, config, lambda: request.ok(**self.described(stream)))

    def delete(self, request: Request) -> None:
        self._engine.delete_stream(self._find(request.args[0]), lambda: request.ok(success=True))

    def info(self, request: Request) -> None:
        stream = self._find_for_info(request)
        body = decode(request.body, STREAM_INFO, self._engine.strict) if request.body else {}
        paging = {"total": 0, "offset": 0, "limit": 0}
        subjects: dict[str, int] | None = None
        if body.get("subjects_filter"):
            rows = sorted(stream.subjects(body["subjects_filter"].encode()))
            if rows:
                shown, paging = page(rows, body.get("offset", 0), limits.API_SUBJECTS_PAGE)
                subjects = {subject.decode("utf-8", "replace"): count for subject, count in shown}
        deleted = stream.deleted(DELETED_DETAILS_MAX) if body.get("deleted_details") else []
        described = self.described(stream, subjects, deleted)
        now = described.pop("ts")
        request.ok(**paging, **described, cluster={"leader": self._engine.server_name}, ts=now)

    def _find_for_info(self, request: Request) -> Stream:
        stream = self._engine.streams.get(request.args[0])
        if stream is None:
            if request.body:
                decode(request.body, STREAM_INFO, self._engine.strict) if request.body[:1] == b"{" else None
            raise api_error("JSStreamNotFoundErr")
        return stream

    def names(self, request: Request) -> None:
        body = decode(request.body, PAGED, self._engine.strict) if request.body else {}
        names = sorted(config.name for config in self._matching(body.get("subject", "")))
        shown, paging = page(names, body.get("offset", 0), limits.API_NAMES_PAGE)
        request.ok(**paging, streams=shown or None)

    def listing(self, request: Request) -> None:
        body = decode(request.body, PAGED, self._engine.strict) if request.body else {}
        names = sorted(config.name for config in self._matching(body.get("subject", "")))
        shown, paging = page(names, body.get("offset", 0), limits.API_LIST_PAGE)
        request.ok(**paging, streams=[self.described(self._engine.streams[name]) for name in shown])

    def _matching(self, subject: str) -> list[StreamConfig]:
        configs = list(self._engine.configs())
        if not subject:
            return configs
        return [config for config in configs if any(pytokens.overlap(subject, own) for own in config.subjects)]

    def purge(self, request: Request) -> None:
        body = decode(request.body, STREAM_PURGE, self._engine.strict) if request.body else {}
        stream = self._find(request.args[0])
        if stream.config.sealed:
            raise api_error("JSStreamSealedErr")
        if stream.config.deny_purge:
            raise api_error("JSStreamPurgeFailedF", err="stream purge not permitted")
        if body.get("seq") and body.get("keep"):
            raise api_error("JSBadRequestErr")
        purged = stream.purge(body.get("filter", "").encode(), body.get("seq", 0), body.get("keep", 0))
        stream.after_commit(lambda: request.ok(success=True, purged=purged))

    def needs_cluster(self, request: Request) -> None:
        raise api_error("JSClusterRequiredErr")

    def described(
        self, stream: Stream, subjects: dict[str, int] | None = None, deleted: list[int] | None = None
    ) -> dict[str, Any]:
        """StreamInfo without what only some replies carry."""
        return {
            "config": stream_to_json(stream.config),
            "created": format_time(stream.created_ns),
            "state": state_json(stream, subjects, deleted),
            "ts": format_time(self._engine.clock.wall_ns),
        }


def state_json(
    stream: Stream, subjects: dict[str, int] | None = None, deleted: list[int] | None = None
) -> dict[str, Any]:
    """StreamState in the server's order; a stream that never held a message begins at 0."""
    state = stream.state()
    fresh = state["last_seq"] == 0
    out: dict[str, Any] = {
        "messages": state["messages"],
        "bytes": state["bytes"],
        "first_seq": 0 if fresh else state["first_seq"],
        "first_ts": format_time(state["first_ts_ns"]) if state["messages"] else ZERO_TIME,
        "last_seq": state["last_seq"],
        "last_ts": format_time(state["last_ts_ns"]),
    }
    if state["num_subjects"]:
        out["num_subjects"] = state["num_subjects"]
    if subjects:
        out["subjects"] = subjects
    if state["num_deleted"]:
        out["num_deleted"] = state["num_deleted"]
    if deleted:
        out["deleted"] = deleted
    out["consumer_count"] = len(stream.consumers)
    return out
