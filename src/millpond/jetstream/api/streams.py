"""`$JS.API.STREAM.*`: create, update, info, names, list, delete, purge (reference 05.2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.jetstream import source_rules, stream_rules
from millpond.jetstream.api.pages import DeletedPage, ListPage, answer_page
from millpond.jetstream.api.request import STREAM_INFO, STREAM_LIST, STREAM_NAMES, STREAM_PURGE, Request, optional_body
from millpond.jetstream.api.sourcing import shown_count
from millpond.jetstream.api.subject_page import SubjectPage
from millpond.jetstream.config_wire import STREAM_REQUEST, stream_from_request, stream_to_json
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import Shape, decode, is_empty_request
from millpond.jetstream.go_time import ZERO_TIME, format_time
from millpond.jetstream.offline import listed
from millpond.jetstream.stream_config import StreamConfig
from millpond.subjects import pytokens

if TYPE_CHECKING:
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream

class StreamApi:
    """Handlers; each takes a `Request` and answers it now or when its effect is durable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, request: Request) -> None:
        body = decode(request.body, STREAM_REQUEST, self._engine.strict)
        config = stream_rules.with_required_level(stream_from_request(body))
        if config.name != request.args[0]:
            raise api_error("JSStreamMismatchErr")
        if "/" in config.name or "\\" in config.name:
            raise api_error("JSStreamNameContainsPathSeparatorsErr")
        stream_rules.check_create(config)
        self._engine.check_room(config)
        config = stream_rules.checked(config, body.get("pedantic", False), self._engine.limits, self._engine.config_of)
        stream_rules.check_single_server(config)
        existing = self._engine.streams.get(config.name)
        if existing is not None:
            if existing.config != config:
                raise api_error("JSStreamNameExistErr")
            self._engine.when_kept(existing, partial(self._created, request, existing))
            return
        if config.name in self._engine.offline:
            raise api_error("JSStreamNameExistErr")
        source_rules.check_filters(config)
        self._engine.check_overlap(config)

        self._engine.create_stream(config, partial(self._created, request))

    def _created(self, request: Request, stream: Stream, failure: str) -> None:
        if failure:
            request.fail(api_error("JSStreamStoreFailedF", err=failure))
        else:
            request.ok(**self.described(stream), did_create=True)

    def update(self, request: Request) -> None:
        body = decode(request.body, STREAM_REQUEST, self._engine.strict)
        pedantic, server, find = body.get("pedantic", False), self._engine.limits, self._engine.config_of
        config = stream_rules.checked(stream_from_request(body), pedantic, server, find)
        if config.name != request.args[0]:
            raise api_error("JSStreamMismatchErr")
        stream = self._engine.stream(config.name)
        config = stream_rules.with_required_level(config)
        config = stream_rules.updated(stream.config, stream_rules.checked(config, pedantic, server, find))
        self._engine.check_room(config)
        _check_consumers(stream, config)
        self._engine.check_overlap(config)

        def updated(failure: str) -> None:
            if failure:
                request.fail(api_error("JSStreamUpdateErrF", err=failure))
            else:
                request.ok(**self.described(stream, domain=self._domain))

        self._engine.update_stream(stream, config, updated)

    def delete(self, request: Request) -> None:
        if not is_empty_request(request.body):
            raise api_error("JSNotEmptyRequestErr")

        def deleted(failure: str) -> None:
            if failure:
                request.fail(api_error("JSStreamDeleteErrF", err=failure))
            else:
                request.ok(success=True)

        offline = self._engine.offline.get(request.args[0])
        if offline is not None:
            self._engine.delete_offline(offline, deleted)
        else:
            self._engine.delete_stream(self._engine.stream(request.args[0]), deleted)

    def info(self, request: Request) -> None:
        body = optional_body(request, STREAM_INFO, self._engine.strict)
        stream = self._engine.stream(request.args[0])
        filter = body.get("subjects_filter", "").encode("utf-8", "surrogateescape")
        page = SubjectPage(stream, filter, body.get("offset", 0)) if filter else None
        deleted = DeletedPage(stream) if body.get("deleted_details") else None
        work: list[SubjectPage | DeletedPage] = [part for part in (page, deleted) if part is not None]

        def step() -> bool:
            if self._engine.streams.get(stream.name) is not stream:
                request.fail(api_error("JSStreamNotFoundErr"))
                return False
            while work:
                if work[0].step():
                    return True
                work.pop(0)
            self._answer_info(request, body, stream, page, deleted)
            return False

        self._engine.answer(step, all(part.is_short for part in work), request.size)

    def _answer_info(
        self, request: Request, body: dict[str, Any], stream: Stream, page: SubjectPage | None,
        deleted: DeletedPage | None,
    ) -> None:  # fmt: skip
        paging = {"total": 0, "offset": 0, "limit": 0}
        subjects: msgspec.Raw | None = None
        if page is not None and page.total:
            paging = {"total": page.total, "offset": max(0, body.get("offset", 0)), "limit": limits.API_SUBJECTS_PAGE}
            subjects = page.json
        gaps = deleted.json if deleted is not None else None
        cluster = {"cluster": {"leader": self._engine.server_name}}
        request.ok(**paging, **self.described(stream, subjects, gaps, domain=self._domain, cluster=cluster))

    def names(self, request: Request) -> None:
        page = self._page(request, STREAM_NAMES, limits.API_NAMES_PAGE, None)
        answer_page(self._engine, request, page, "streams", None)

    def listing(self, request: Request) -> None:
        missing: list[str] = []
        reasons = {name: each.reason for name, each in self._engine.offline.items()}

        def describe(name: str) -> dict[str, Any] | None:
            stream = self._engine.streams.get(name)
            if stream is None and name in reasons:
                missing.append(name)
            return self.described(stream, domain=self._domain, managed=False) if stream is not None else None

        page = self._page(request, STREAM_LIST, limits.API_LIST_PAGE, describe)
        answer_page(self._engine, request, page, "streams", [], more=lambda: listed(missing, reasons))

    def _page(
        self, request: Request, shape: Shape, limit: int, describe: Callable[[str], dict[str, Any] | None] | None
    ) -> ListPage:
        """Of the streams that the request asks for."""
        body = optional_body(request, shape, self._engine.strict)
        subject = body.get("subject", "")

        def wanted(name: str) -> bool:
            config = self._engine.config_of(name)
            return config is not None and any(pytokens.overlap(subject, own) for own in config.subjects)

        kept = wanted if subject else None
        return ListPage(self._engine.names(), body.get("offset", 0), limit, wanted=kept, describe=describe)

    def purge(self, request: Request) -> None:
        body = optional_body(request, STREAM_PURGE, self._engine.strict)
        if body.get("seq") and body.get("keep"):
            raise api_error("JSBadRequestErr")
        stream = self._engine.open_stream(request.args[0], "JSStreamGeneralErrorF")
        if stream.config.sealed:
            raise api_error("JSStreamSealedErr")
        if stream.config.deny_purge:
            raise api_error("JSStreamPurgeFailedF", err="stream purge not permitted")
        subject = body.get("filter", "").encode("utf-8", "surrogateescape")

        def gone(purged: int) -> None:
            stream.after_commit(request.when_kept("JSStreamPurgeFailedF", success=True, purged=purged))

        def failed(why: str) -> None:
            request.fail(api_error("JSStreamPurgeFailedF", err=why))

        try:
            stream.start_purge(subject, body.get("seq", 0), body.get("keep", 0), gone, failed)
        except (OSError, StoreError) as error:
            failed(str(error))

    def needs_cluster(self, request: Request) -> None:
        raise api_error("JSClusterRequiredErr")

    @property
    def _domain(self) -> dict[str, Any]:
        return {"domain": self._engine.domain} if self._engine.domain else {}

    def described(
        self,
        stream: Stream,
        subjects: msgspec.Raw | None = None,
        deleted: msgspec.Raw | None = None,
        *,
        domain: dict[str, Any] | None = None,
        cluster: dict[str, Any] | None = None,
        managed: bool = True,
    ) -> dict[str, Any]:
        """StreamInfo; the optional members are those that only some replies carry."""
        return {
            "config": stream_to_json(stream.config, managed),
            "created": format_time(stream.created_ns),
            "state": state_json(stream, subjects, deleted),
            **(domain or {}),
            **(cluster or {}),
            **self._engine.sourcing_of(stream),
            "ts": format_time(self._engine.clock.wall_ns),
        }


def _check_consumers(stream: Stream, config: StreamConfig) -> None:
    """New consumer limits below what consumers have already."""
    old, new = stream.config.consumer_limits, config.consumer_limits
    threshold = new.inactive_threshold if new.inactive_threshold != old.inactive_threshold else 0
    pending = new.max_ack_pending if new.max_ack_pending != old.max_ack_pending else 0
    if threshold <= 0 and pending <= 0:
        return
    beyond = [
        consumer.name
        for consumer in stream.consumers.values()
        if 0 < new.inactive_threshold < consumer.config.inactive_threshold
        or 0 < new.max_ack_pending < consumer.config.max_ack_pending
    ]
    if beyond:
        raise api_error("JSStreamUpdateErrF", err=f"change to limits violates consumers: {', '.join(beyond)}")


def state_json(
    stream: Stream, subjects: msgspec.Raw | None = None, deleted: msgspec.Raw | None = None
) -> dict[str, Any]:
    """StreamState in the server's order; an untouched stream begins at 0, or where it was made to begin."""
    state = stream.state()
    fresh = state["last_seq"] == 0 and state["first_seq"] == 1 and not stream.was_purged
    out: dict[str, Any] = {
        "messages": state["messages"],
        "bytes": state["bytes"],
        "first_seq": int(stream.config.first_seq == 1) if fresh else state["first_seq"],
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
    if lost := stream.store.losses:
        out["lost"] = {"msgs": lost.sequences(limits.LOST_SHOWN_MAX), "bytes": lost.bytes}
    out["consumer_count"] = shown_count(stream)
    return out
