"""The door of the JetStream API: `$JS.API.>` -> one handler per verb (reference 05).

An unknown subject gets no answer at all, as on nats-server. Every request is answered exactly once: by its
handler, later when its effect is durable, or with the error that it raised. Calls that change something are
told to the account in an audit advisory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.broker.sink import CallableSink
from millpond.jetstream.advisories import Advisories
from millpond.jetstream.api.account import AccountApi
from millpond.jetstream.api.consumers import ConsumerApi
from millpond.jetstream.api.messages import MessageApi
from millpond.jetstream.api.request import Request, encode_reply
from millpond.jetstream.api.streams import StreamApi
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import format_time

if TYPE_CHECKING:
    from millpond.broker.router import Router
    from millpond.jetstream.engine import Engine

log = logging.getLogger("millpond")

PREFIX: Final = "$JS.API."
PAGE: Final = {"total": 0, "offset": 0, "limit": 0}


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """`args`: how many tokens follow the verb (`more`: at least that many)."""

    verb: str
    args: int
    handler: Callable[[Request], None]
    kind: str
    zeros: dict[str, Any] = {}
    audited: bool = False
    more: bool = False


class Api:
    """Owns the subscription on `$JS.API.>` and the counters that `$JS.API.INFO` shows."""

    def __init__(self, engine: Engine, router: Router, advisories: Advisories) -> None:
        self._engine = engine
        self._router = router
        self._advisories = advisories
        self.total = 0
        self.errors = 0
        self._routes = self._table()
        self._sink = CallableSink(self._receive)
        self._subscription = router.subscribe(b"$JS.API.>", self._sink)

    def close(self) -> None:
        self._router.unsubscribe(self._subscription)

    def _table(self) -> list[Route]:
        streams, messages = StreamApi(self._engine), MessageApi(self._engine)
        consumers, account = ConsumerApi(self._engine), AccountApi(self._engine, self)
        rows: list[tuple[Any, ...]] = [
            ("INFO", 0, account.info, "account_info_response", False, {}),
            ("STREAM.CREATE", 1, streams.create, "stream_create_response", True, {}),
            ("STREAM.UPDATE", 1, streams.update, "stream_update_response", True, {}),
            ("STREAM.DELETE", 1, streams.delete, "stream_delete_response", True, {}),
            ("STREAM.INFO", 1, streams.info, "stream_info_response", False, PAGE),
            ("STREAM.NAMES", 0, streams.names, "stream_names_response", False, {**PAGE, "streams": None}),
            ("STREAM.LIST", 0, streams.listing, "stream_list_response", False, {**PAGE, "streams": []}),
            ("STREAM.PURGE", 1, streams.purge, "stream_purge_response", True, {"purged": 0}),
            ("STREAM.MSG.GET", 1, messages.get, "stream_msg_get_response", False, {}),
            ("STREAM.MSG.DELETE", 1, messages.delete, "stream_msg_delete_response", True, {}),
            ("STREAM.LEADER.STEPDOWN", 1, streams.needs_cluster, "stream_leader_stepdown_response", True, {}),
            ("STREAM.PEER.REMOVE", 1, streams.needs_cluster, "stream_remove_peer_response", True, {}),
            ("CONSUMER.DURABLE.CREATE", 2, consumers.create_durable, "consumer_create_response", True, {}),
            ("CONSUMER.CREATE", 1, consumers.create_ephemeral, "consumer_create_response", True, {}),
            ("CONSUMER.CREATE", 2, consumers.create_named, "consumer_create_response", True, {}),
            ("CONSUMER.INFO", 2, consumers.info, "consumer_info_response", False, {}),
            ("CONSUMER.DELETE", 2, consumers.delete, "consumer_delete_response", True, {}),
            ("CONSUMER.NAMES", 1, consumers.names, "consumer_names_response", False, {**PAGE, "consumers": []}),
            ("CONSUMER.LIST", 1, consumers.listing, "consumer_list_response", False, {**PAGE, "consumers": []}),
            ("CONSUMER.LEADER.STEPDOWN", 2, consumers.needs_cluster, "consumer_leader_stepdown_response", True, {}),
        ]  # fmt: skip
        return [
            Route(
                verb=verb, args=args, handler=handler, kind=kind, audited=audited, zeros=zeros,
                more=handler == consumers.create_named,
            )
            for verb, args, handler, kind, audited, zeros in rows
        ]  # fmt: skip

    def _route(self, path: str) -> tuple[Route, list[str]] | None:
        for route in self._routes:
            if path == route.verb and route.args == 0:
                return route, []
            if path.startswith(route.verb + "."):
                args = path[len(route.verb) + 1 :].split(".")
                if len(args) == route.args or (route.more and len(args) > route.args):
                    return route, args
        return None

    def _receive(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        text = subject.decode("utf-8", "replace")
        found = self._route(text.removeprefix(PREFIX))
        if found is None:
            return
        route, args = found
        self.total += 1

        def answer(reply_body: dict[str, Any]) -> None:
            encoded = encode_reply(reply_body)
            if "error" in reply_body:
                self.errors += 1
            if reply:
                self._router.publish(reply, encoded)
            if route.audited:
                self._audit(text, body, encoded, source)

        request = Request(subject=text, args=args, body=body, kind=route.kind, zeros=route.zeros, answer=answer)
        try:
            check_required_level(hdr)
            route.handler(request)
        except ApiError as error:
            request.fail(error)
        except Exception:
            log.exception("JetStream API request on %s failed", text)
            request.fail(api_error("JSStreamGeneralErrorF", err="internal error"))

    def _audit(self, subject: str, body: bytes, response: bytes, source: Any) -> None:
        if not self._router.py_has_interest(b"$JS.EVENT.ADVISORY.API"):
            return
        self._advisories.api_audit(
            self._engine.server_name,
            client_json(source, self._engine.server_name),
            subject,
            body.decode("utf-8", "replace"),
            response.decode("utf-8", "replace"),
        )


def check_required_level(hdr: bytes) -> None:
    """`Nats-Required-Api-Level` above ours, or not a number -> 10185."""
    for line in hdr.split(b"\r\n")[1:] if hdr else ():
        key, _, value = line.partition(b":")
        if key == b"Nats-Required-Api-Level":
            digits = value.strip()
            if not digits.isdigit() or int(digits[:10]) > limits.API_LEVEL:
                raise api_error("JSRequiredApiLevelErr")
            return


def client_json(source: Any, server_name: str) -> dict[str, Any]:
    """ClientInfo of an advisory, for a client session; empty for the server's own requests."""
    if source is None or not hasattr(source, "info"):
        return {}
    info = source.info(False)
    out: dict[str, Any] = {
        "start": format_time(info.start_ns),
        "host": info.ip,
        "id": info.cid,
        "acc": info.account,
        "user": info.authorized_user,
        "name": info.name,
        "lang": info.lang,
        "ver": info.version,
        "rtt": info.rtt_ns,
        "server": server_name,
        "kind": "Client",
        "client_type": "nats",
    }
    return {key: value for key, value in out.items() if value or key in ("start", "host", "id", "acc")}
