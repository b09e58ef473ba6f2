"""The door of the JetStream API: `$JS.API.>` -> one handler per verb (reference 05).

An unknown subject gets no answer at all, as on nats-server. Every request is answered exactly once: by its
handler, later when its effect is durable, or with the error that it raised. Answers are counted, and told to
the account in an audit advisory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from millpond.base.errors import ApiError
from millpond.broker.connection_info import client_info
from millpond.jetstream import loading
from millpond.jetstream.advisories import Advisories
from millpond.jetstream.api.account import AccountApi
from millpond.jetstream.api.consumers import ConsumerApi
from millpond.jetstream.api.messages import MessageApi
from millpond.jetstream.api.request import Request
from millpond.jetstream.api.streams import StreamApi
from millpond.jetstream.api_door import ApiDoor, QuickRemovals
from millpond.jetstream.api_level import is_beyond_ours
from millpond.jetstream.domain_door import DomainDoor
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import encode
from millpond.jetstream.go_text import text
from millpond.jetstream.go_time import ZERO_TIME
from millpond.wire.headers import find_value

if TYPE_CHECKING:
    from millpond.broker.router import Router
    from millpond.jetstream.api.backups import BackupApi
    from millpond.jetstream.engine import Engine

log = logging.getLogger("millpond")

PREFIX: Final = "$JS.API."
VERB_WORDS_MAX: Final = 3
PAUSE_ZEROS: Final = {"paused": False, "pause_until": ZERO_TIME}
BACKUPS: Final = ("STREAM.SNAPSHOT", "STREAM.RESTORE")
"""Their advisories name the client."""
NEEDS: Final = {
    "STREAM.SNAPSHOT": loading.backups, "STREAM.RESTORE": loading.backups,
    "STREAM.CREATE": loading.following, "STREAM.UPDATE": loading.following,
}  # fmt: skip
PAGE: Final = {"total": 0, "offset": 0, "limit": 0}


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """`args`: how many tokens follow the verb (`more`: at least that many)."""

    verb: str
    args: int
    handler: Callable[[Request], None]
    kind: str
    zeros: dict[str, Any] = {}
    more: bool = False
    levelled: bool = True
    """The required API level counts; what only a cluster can do is refused before."""
    needs: Callable[[bytes], tuple[str, ...]] | None = None
    """The modules that a request with this body needs, most of which are not loaded at first."""


class Api:
    """Owns the subscriptions on `$JS.API.>` and on its name in a domain, and the counters that `$JS.API.INFO` shows.

    engine: None for an account without streams, which is told so (10039). served_by: the system account.
    """

    def __init__(
        self, engine: Engine | None, router: Router, advisories: Advisories, *, server_name: str, domain: str,
        served_by: str = "",
    ) -> None:  # fmt: skip
        self._enabled = engine is not None
        self._engine = cast("Engine", engine)  # without one, no handler is called
        self._server_name = server_name
        self._router = router
        self._advisories = advisories
        self._total = 0
        self.errors = 0
        self._backups: BackupApi | None = None
        self._routes: dict[str, list[Route]] = {}
        for route in self._table():
            self._routes.setdefault(route.verb, []).append(route)
        self._removals = QuickRemovals(engine.streams if engine is not None else {}, router)
        self._sink = ApiDoor(self._receive, self._removals, served_by)
        self._subscriptions = [router.subscribe(b"$JS.API.>", self._sink)]
        if domain:
            door = DomainDoor(router, domain)
            self._subscriptions.append(router.subscribe(door.subject, door))

    @property
    def total(self) -> int:
        """Requests answered so far."""
        return self._total + int(self._removals.taken)

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._router.unsubscribe(subscription)
        if self._backups is not None:
            self._backups.close()

    def _backup(self) -> BackupApi:
        """Loaded for the first backup: a quarter of a mebibyte that most servers never need."""
        from millpond.jetstream.api.backups import BackupApi

        if self._backups is None:
            self._backups = BackupApi(self._engine, self._advisories)
        return self._backups

    def _table(self) -> list[Route]:
        streams, messages = StreamApi(self._engine), MessageApi(self._engine)
        consumers, account = ConsumerApi(self._engine), AccountApi(self._engine, self)
        rows: list[tuple[Any, ...]] = [
            ("INFO", 0, account.info, "account_info_response", {}),
            ("STREAM.CREATE", 1, streams.create, "stream_create_response", {}),
            ("STREAM.UPDATE", 1, streams.update, "stream_update_response", {}),
            ("STREAM.DELETE", 1, streams.delete, "stream_delete_response", {}),
            ("STREAM.INFO", 1, streams.info, "stream_info_response", PAGE),
            ("STREAM.NAMES", 0, streams.names, "stream_names_response", {**PAGE, "streams": None}),
            ("STREAM.LIST", 0, streams.listing, "stream_list_response", {**PAGE, "streams": []}),
            ("STREAM.PURGE", 1, streams.purge, "stream_purge_response", {"purged": 0}),
            ("STREAM.MSG.GET", 1, messages.get, "stream_msg_get_response", {}),
            ("STREAM.MSG.DELETE", 1, messages.delete, "stream_msg_delete_response", {}),
            ("STREAM.SNAPSHOT", 1, lambda request: self._backup().snapshot(request), "stream_snapshot_response", {}),
            ("STREAM.RESTORE", 1, lambda request: self._backup().restore(request), "stream_restore_response",
             {"deliver_subject": ""}),
            ("STREAM.LEADER.STEPDOWN", 1, streams.needs_cluster, "stream_leader_stepdown_response", {}),
            ("STREAM.PEER.REMOVE", 1, streams.needs_cluster, "stream_remove_peer_response", {}),
            ("STREAM.PEER.EVACUATE", 1, streams.needs_cluster, "stream_evacuate_peer_response", {}),
            ("STREAM.CANCEL_MOVE", 1, streams.needs_cluster, "stream_cancel_move_response", {}),
            ("CONSUMER.DURABLE.CREATE", 2, consumers.create_durable, "consumer_create_response", {}),
            ("CONSUMER.CREATE", 1, consumers.create_ephemeral, "consumer_create_response", {}),
            ("CONSUMER.CREATE", 2, consumers.create_named, "consumer_create_response", {}),
            ("CONSUMER.INFO", 2, consumers.info, "consumer_info_response", {}),
            ("CONSUMER.DELETE", 2, consumers.delete, "consumer_delete_response", {}),
            ("CONSUMER.PAUSE", 2, consumers.pause, "consumer_pause_response", PAUSE_ZEROS),
            ("CONSUMER.UNPIN", 2, consumers.unpin, "consumer_unpin_response", {}),
            ("CONSUMER.RESET", 2, consumers.reset, "consumer_reset_response", {"reset_seq": 0}),
            ("CONSUMER.NAMES", 1, consumers.names, "consumer_names_response", {**PAGE, "consumers": []}),
            ("CONSUMER.LIST", 1, consumers.listing, "consumer_list_response", {**PAGE, "consumers": []}),
            ("CONSUMER.LEADER.STEPDOWN", 2, consumers.needs_cluster, "consumer_leader_stepdown_response", {}),
            ("CONSUMER.PEER.REMOVE", 2, streams.needs_cluster, "consumer_remove_peer_response", {}),
            ("CONSUMER.PEER.EVACUATE", 2, streams.needs_cluster, "consumer_evacuate_peer_response", {}),
        ]  # fmt: skip
        return [
            Route(
                verb=verb, args=args, handler=handler, kind=kind, zeros=zeros, more=handler == consumers.create_named,
                levelled=handler not in (streams.needs_cluster, consumers.needs_cluster), needs=NEEDS.get(verb),
            )
            for verb, args, handler, kind, zeros in rows
        ]  # fmt: skip

    def _route(self, path: str) -> tuple[Route, list[str]] | None:
        tokens = path.split(".")
        for words in range(min(VERB_WORDS_MAX, len(tokens)), 0, -1):
            args = tokens[words:]
            for route in self._routes.get(".".join(tokens[:words]), ()):
                if len(args) == route.args or (route.more and len(args) > route.args):
                    return route, args
        return None

    def _receive(self, subject: bytes, reply_to: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        asked = text(subject)
        found = self._route(asked.removeprefix(PREFIX))
        if found is None:
            return
        route, args = found

        def answer(
            reply: dict[str, Any], *, failed: bool = False, tracked: bool = True, headers: bytes = b""
        ) -> None:
            encoded = encode(reply)
            self._total += tracked
            self.errors += failed
            if reply_to:
                self._router.publish(reply_to, encoded, b"", headers)
            if tracked:
                self._audit(asked, body, encoded, source)

        request = Request(
            subject=asked, args=args, body=body, kind=route.kind, zeros=route.zeros, answer=answer, headers=hdr,
            client=client_json(source, self._server_name) if route.verb in BACKUPS else {},
        )
        names = route.needs(body) if route.needs is not None and self._enabled else ()
        if names:
            size = len(body) + len(hdr)
            loading.when_loaded(names, self._engine.requests, size, lambda: self._handle(route, request))
        else:
            self._handle(route, request)

    def _handle(self, route: Route, request: Request) -> None:
        def handle(request: Request) -> None:
            if not self._enabled:
                raise api_error("JSNotEnabledForAccountErr")
            if route.levelled:
                check_required_level(request.headers)
            if not self._waits_for_disk(route, request):
                route.handler(request)

        self._answer(handle, request)

    def _answer(self, handler: Callable[[Request], None], request: Request) -> None:
        """Every request is answered: also when its handler fails."""
        try:
            handler(request)
        except ApiError as error:
            request.fail(error)
        except Exception:
            log.exception("JetStream API request on %s failed", request.subject)
            request.fail(api_error("JSStreamGeneralErrorF", err="internal error"))

    def _waits_for_disk(self, route: Route, request: Request) -> bool:
        name = request.args[0] if request.args else ""
        return self._engine.held.hold(
            route.verb, name, request.body, request.size, lambda: self._answer(route.handler, request)
        )

    def _audit(self, subject: str, body: bytes, response: bytes, source: Any) -> None:
        if not self._router.py_has_interest(b"$JS.EVENT.ADVISORY.API"):
            return
        self._advisories.api_audit(
            self._server_name,
            client_json(source, self._server_name),
            subject,
            text(body),
            text(response),
        )


def check_required_level(hdr: bytes) -> None:
    """`Nats-Required-Api-Level` above ours, or not a number -> 10185."""
    if is_beyond_ours(find_value(hdr, b"Nats-Required-Api-Level") or b""):
        raise api_error("JSRequiredApiLevelErr")


def client_json(source: Any, server_name: str) -> dict[str, Any]:
    """ClientInfo of an advisory, for a client session or a stream that follows another; else empty."""
    if hasattr(source, "client"):      # a feed of a stream that follows another; its module is not loaded without one
        return dict(source.client or {})
    if source is None or not hasattr(source, "info"):
        return {}
    info = source.info(False)
    return client_info(info, server=server_name, name_tag=info.user_tag)
