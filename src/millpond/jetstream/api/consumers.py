"""`$JS.API.CONSUMER.*`: create in its four subjects, info, names, list, delete (reference 04.1, 05.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from millpond.base import limits
from millpond.base.ids import short_name
from millpond.jetstream import consumer_rules, retention_rules
from millpond.jetstream.api.request import CONSUMERS, Request, optional_body
from millpond.jetstream.api.streams import page
from millpond.jetstream.config_wire import CONSUMER_REQUEST, consumer_from_request, consumer_to_json
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import decode, format_time

if TYPE_CHECKING:
    from millpond.jetstream.consumer import Consumer
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream


class ConsumerApi:
    """Handlers; each takes a `Request` and answers it now or when its effect is durable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _stream(self, name: str) -> Stream:
        stream = self._engine.streams.get(name)
        if stream is None:
            raise api_error("JSStreamNotFoundErr")
        return stream

    def _consumer(self, request: Request) -> Consumer:
        consumer = self._stream(request.args[0]).consumers.get(request.args[1])
        if consumer is None:
            raise api_error("JSConsumerNotFoundErr")
        return consumer

    def create_durable(self, request: Request) -> None:
        """DURABLE.CREATE.<stream>.<durable>"""
        body = self._body(request)
        config = consumer_from_request(body.get("config", {}))
        if not config.durable_name:
            raise api_error("JSConsumerDurableNameNotSetErr")
        if config.durable_name != request.args[1]:
            raise api_error("JSConsumerDurableNameNotMatchSubjectErr")
        self._create(request, body, config)

    def create_ephemeral(self, request: Request) -> None:
        """CREATE.<stream>"""
        body = self._body(request)
        config = consumer_from_request(body.get("config", {}))
        if config.durable_name:
            raise api_error("JSConsumerEphemeralWithDurableNameErr")
        self._create(request, body, msgspec.structs.replace(config, name=config.name))

    def create_named(self, request: Request) -> None:
        """CREATE.<stream>.<name>[.<filter>]"""
        body = self._body(request)
        config = consumer_from_request(body.get("config", {}))
        name = request.args[1]
        if config.durable_name and config.durable_name != name:
            raise api_error("JSConsumerDurableNameNotMatchSubjectErr")
        consumer_rules.check_name(name)
        if len(request.args) > 2:
            if config.filter_subjects:
                raise api_error("JSConsumerMultipleFiltersNotAllowed")
            if config.filter_subject != ".".join(request.args[2:]):
                raise api_error("JSConsumerCreateFilterSubjectMismatchErr")
        self._create(request, body, msgspec.structs.replace(config, name=name))

    def _body(self, request: Request) -> dict[str, Any]:
        body = decode(request.body, CONSUMER_REQUEST, self._engine.strict) if request.body else {}
        if body.get("stream_name", "") != request.args[0]:
            raise api_error("JSStreamMismatchErr")
        return body

    def _create(self, request: Request, body: dict[str, Any], config: ConsumerConfig) -> None:
        stream = self._stream(request.args[0])
        if config.durable_name and config.name and config.durable_name != config.name:
            raise api_error("JSConsumerCreateDurableAndNameMismatch")
        name = config.durable_name or config.name
        if name:
            consumer_rules.check_name(name)
        name = name or self._free_name(stream)
        config = consumer_rules.with_defaults(msgspec.structs.replace(config, name=name), stream.config)
        consumer_rules.check(config, stream.config)
        existing = stream.consumers.get(name)
        action = body.get("action", "")
        if existing is None:
            if action == "update":
                raise api_error("JSConsumerDoesNotExist")
            self._check_room(stream)
            retention_rules.check_new(config, stream.config, self._configs(stream))
            self._engine.create_consumer(stream, config, lambda consumer: request.ok(**self.described(consumer)))
            return
        if existing.config == config:
            request.ok(**self.described(existing))
            return
        if action == "create":
            raise api_error("JSConsumerAlreadyExists")
        retention_rules.check_changed(config, stream.config, self._configs(stream))
        consumer_rules.check_update(existing.config, config, existing.info().get("push_bound", False))
        self._engine.update_consumer(existing, config, lambda: request.ok(**self.described(existing)))

    def _configs(self, stream: Stream) -> list[ConsumerConfig]:
        return [consumer.config for consumer in stream.consumers.values()]

    def _free_name(self, stream: Stream) -> str:
        while (name := short_name()) in stream.consumers:
            pass
        return name

    def _check_room(self, stream: Stream) -> None:
        most = stream.config.max_consumers
        if most <= 0:
            most = self._engine.default_max_consumers
        if most > 0 and len(stream.consumers) >= most:
            raise api_error("JSMaximumConsumersLimitErr")

    def info(self, request: Request) -> None:
        request.ok(**self.described(self._consumer(request)))

    def delete(self, request: Request) -> None:
        self._engine.delete_consumer(self._consumer(request), lambda: request.ok(success=True))

    def names(self, request: Request) -> None:
        body = optional_body(request, CONSUMERS, self._engine.strict)
        names = sorted(self._stream(request.args[0]).consumers)
        shown, paging = page(names, body.get("offset", 0), limits.API_NAMES_PAGE)
        request.ok(**paging, consumers=shown)

    def listing(self, request: Request) -> None:
        body = optional_body(request, CONSUMERS, self._engine.strict)
        consumers = self._stream(request.args[0]).consumers
        shown, paging = page(sorted(consumers), body.get("offset", 0), limits.API_LIST_PAGE)
        request.ok(**paging, consumers=[self.described(consumers[name], managed=False) for name in shown])

    def needs_cluster(self, request: Request) -> None:
        raise api_error("JSClusterRequiredErr")

    def described(self, consumer: Consumer, managed: bool = True) -> dict[str, Any]:
        """ConsumerInfo in the server's order."""
        info = consumer.info()
        out: dict[str, Any] = {
            "stream_name": consumer.stream.name,
            "name": consumer.name,
            "created": format_time(consumer.created_ns),
            "config": consumer_to_json(consumer.config, managed),
            "delivered": _position(info["delivered"]),
            "ack_floor": _position(info["ack_floor"]),
            "num_ack_pending": info["num_ack_pending"],
            "num_redelivered": info["num_redelivered"],
            "num_waiting": info["num_waiting"],
            "num_pending": info["num_pending"],
        }
        if info.get("push_bound"):
            out["push_bound"] = True
        out["ts"] = format_time(self._engine.clock.wall_ns)
        return out


def _position(position: dict[str, int]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "consumer_seq": position["consumer_seq"],
        "stream_seq": position["stream_seq"],
    }
    if position.get("last_active_ns"):
        out["last_active"] = format_time(position["last_active_ns"])
    return out
