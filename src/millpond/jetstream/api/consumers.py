"""`$JS.API.CONSUMER.*`: create in its four subjects, info, names, list, delete (reference 04.1, 05.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base import limits
from millpond.base.ids import short_name
from millpond.jetstream import account_limits, consumer_rules, retention_rules
from millpond.jetstream.api.pages import ListPage, answer_page
from millpond.jetstream.api.request import CONSUMERS, Request, optional_body
from millpond.jetstream.api.sourcing import (
    IDENTITY,
    check_identity,
    identity_header,
    internal,
    is_shown,
    kept_by_an_update,
    sourcing_form,
)
from millpond.jetstream.config_wire import CONSUMER_REQUEST, consumer_from_request, consumer_to_json
from millpond.jetstream.consumer_changes import keep_or_undo
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.consumer_reset import NotAllowed
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import Shape, decode, is_empty_request, unmarshal
from millpond.jetstream.go_time import format_time
from millpond.jetstream.offline import listed
from millpond.wire.headers import find_value

if TYPE_CHECKING:
    from millpond.jetstream.consumer import Consumer
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream


PAUSE: Final = Shape("JSApiConsumerPauseRequest", {"pause_until": "time.Time"})
RESET: Final = Shape("JSApiConsumerResetRequest", {"seq": "uint64"})
UNPIN: Final = Shape("JSApiConsumerUnpinRequest", {"group": "string"})


def require_empty(request: Request) -> None:
    """Raises 10038 for a body that says something."""
    if not is_empty_request(request.body):
        raise api_error("JSNotEmptyRequestErr")


class ConsumerApi:
    """Handlers; each takes a `Request` and answers it now or when its effect is durable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _consumer(self, request: Request) -> Consumer:
        name, offline = request.args[1], self._engine.offline.get(request.args[0])
        if offline is not None and name in offline.consumers:
            raise api_error("JSConsumerOfflineReasonErrF", err=offline.consumers[name])
        consumer = self._engine.stream(request.args[0]).consumers.get(name) if offline is None else None
        if consumer is None:
            raise api_error("JSConsumerNotFoundErr")
        return consumer

    def create_durable(self, request: Request) -> None:
        """DURABLE.CREATE.<stream>.<durable>"""
        body = self._body(request)
        config = consumer_from_request(body.get("config", {}))
        consumer_rules.check_path(request.args[1])
        if not config.durable_name:
            raise api_error("JSConsumerDurableNameNotSetErr")
        if config.durable_name != request.args[1]:
            raise api_error("JSConsumerDurableNameNotMatchSubjectErr")
        self._create(request, body, msgspec.structs.replace(config, name=config.durable_name))

    def create_ephemeral(self, request: Request) -> None:
        """CREATE.<stream>"""
        body = self._body(request)
        config = consumer_from_request(body.get("config", {}))
        consumer_rules.check_path(config.name)
        if config.durable_name:
            raise api_error("JSConsumerEphemeralWithDurableNameErr")
        self._create(request, body, config)

    def create_named(self, request: Request) -> None:
        """CREATE.<stream>.<name>[.<filter>]"""
        body = self._body(request)
        config = consumer_from_request(body.get("config", {}))
        name = request.args[1]
        consumer_rules.check_path(name)
        if config.durable_name and config.durable_name != name:
            raise api_error("JSConsumerDurableNameNotMatchSubjectErr")
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
        if config.num_replicas > 1:
            raise api_error("JSStreamReplicasNotSupportedErr")
        stream = self._engine.stream(request.args[0])
        config = sourcing_form(config, stream.config)
        if config.direct or config.sourcing:
            check_identity(request, stream)
        existing = stream.consumers.get(config.name) if config.name else None
        if existing is not None:
            config = kept_by_an_update(config, existing.config)
        bounds = self._engine.limits
        asked, config = config, consumer_rules.with_defaults(
            config, stream.config, body.get("pedantic", False), bounds
        )
        config = account_limits.with_consumer_limits(self._engine, config, asked)
        consumer_rules.check(config, stream.config, bounds)
        action = body.get("action", "")
        if existing is None:
            if action == "update":
                raise api_error("JSConsumerDoesNotExist")
            if not internal(config):
                self._check_room(stream)
            consumer_rules.check_length(config.name)
            retention_rules.check_new(config, stream.config, self._others(stream, None))
            name, config = config.name or self._free_name(stream), consumer_rules.ephemeral(config)
            consumer = self._engine.create_consumer(stream, name, config)
            consumer.hold()
            self._made(request, consumer, consumer_rules.NO_STORE)
            return
        if existing.config == config and not config.sourcing:
            self._made(request, existing)
            return
        if action == "create":
            raise api_error("JSConsumerAlreadyExists")
        listened = bool(existing.config.deliver_subject) and self._engine.has_interest(existing.config.deliver_subject)
        retention_rules.check_changed(config, stream.config, self._others(stream, existing))
        consumer_rules.check_update(existing.config, config, listened)
        if config.inactive_threshold != existing.config.inactive_threshold:
            config = consumer_rules.ephemeral(config)
        self._engine.update_consumer(existing, config)
        self._made(request, existing)

    def _made(self, request: Request, consumer: Consumer, if_not: str = "") -> None:
        """The answer tells of the consumer as it is before it delivers, and comes when that is durable. A new one is
        held until then: clients drop what comes from a consumer that they do not know yet. if_not: what is said when it
        cannot be durable, the disk's words when empty."""

        def counted() -> None:
            described = self.described(consumer)

            def durable(failure: str) -> None:
                if failure:
                    return request.fail(api_error("JSConsumerCreateErrF", err=if_not or failure))
                request.ok(**described)
                if described.get("paused"):
                    consumer.tell_pause()
                consumer.go_on()

            consumer.stream.after_commit(durable)

        consumer.when_counted(counted)

    def _others(self, stream: Stream, this: Consumer | None) -> list[ConsumerConfig]:
        return [consumer.config for consumer in stream.consumers.values() if consumer is not this]

    def _free_name(self, stream: Stream) -> str:
        while (name := short_name()) in stream.consumers:
            pass
        return name

    def _check_room(self, stream: Stream) -> None:
        most = account_limits.consumers_max(self._engine, stream)
        own = [consumer for consumer in stream.consumers.values() if not internal(consumer.config)]
        if most > 0 and len(own) >= most:
            raise api_error("JSMaximumConsumersLimitErr")

    def info(self, request: Request) -> None:
        require_empty(request)
        consumer = self._consumer(request)
        consumer.when_counted(lambda: request.ok(**self.described(consumer)))

    def pause(self, request: Request) -> None:
        """PAUSE.<stream>.<consumer>; without a time it resumes."""
        body = optional_body(request, PAUSE, self._engine.strict)
        consumer = self._consumer(request)
        until_ns = int(max(0, body.get("pause_until", 0)))    # Go's zero time is long before 1970
        config = msgspec.structs.replace(consumer.config, pause_until_ns=until_ns, pause_zone_s=0)
        out: dict[str, Any] = {"paused": False, "pause_until": format_time(until_ns)}
        remaining_ns = min(until_ns - self._engine.clock.wall_ns, limits.DURATION_MAX_NS)
        if until_ns and remaining_ns > 0:
            out.update(paused=True, pause_remaining=remaining_ns)
        self._engine.update_consumer(consumer, config)
        consumer.stream.after_commit(request.when_kept("JSConsumerStoreFailedErrF", **out))

    def reset(self, request: Request) -> None:
        """RESET.<stream>.<consumer>: back to the ack floor, or to a sequence."""
        consumer = self._consumer(request)
        if find_value(request.headers, IDENTITY.encode()) is not None:
            request.reply_headers = identity_header(consumer.stream)
        body = unmarshal(request.body, RESET) if request.body else {}
        before = consumer.image()
        try:
            stream_seq = consumer.reset(body.get("seq", 0))
        except NotAllowed as error:
            raise api_error("JSConsumerInvalidResetErr", err=str(error)) from None
        keep_or_undo(consumer, lambda: consumer.take_back(before))

        def counted() -> None:
            described = self.described(consumer)

            def durable(failure: str) -> None:
                if failure:
                    return request.fail(api_error("JSConsumerStoreFailedErrF", err=failure))
                request.ok_untracked(**described, reset_seq=stream_seq)

            consumer.stream.after_commit(durable)

        consumer.when_counted(counted)

    def unpin(self, request: Request) -> None:
        """UNPIN.<stream>.<consumer>: the pinned client of a priority group is none any more."""
        body = unmarshal(request.body, UNPIN)
        group = body.get("group", "")
        if not group:
            raise api_error("JSInvalidJSONErr", err="consumer group not specified")
        if not consumer_rules.GROUP_NAME.fullmatch(group):
            raise api_error("JSConsumerInvalidGroupNameErr")
        consumer = self._consumer(request)
        if group not in consumer.config.priority_groups:
            raise api_error("JSConsumerInvalidPriorityGroupErr")
        consumer.unpin(group)
        request.ok()

    def delete(self, request: Request) -> None:
        require_empty(request)
        kept = request.when_kept("JSStreamGeneralErrorF", success=True)
        self._engine.delete_consumer(self._consumer(request), kept)

    def names(self, request: Request) -> None:
        self._answer_page(request, limits.API_NAMES_PAGE, described=False)

    def listing(self, request: Request) -> None:
        self._answer_page(request, limits.API_LIST_PAGE, described=True)

    def _answer_page(self, request: Request, limit: int, *, described: bool) -> None:
        offset = optional_body(request, CONSUMERS, self._engine.strict).get("offset", 0)
        offline = self._engine.offline.get(request.args[0])
        if offline is None:
            page = self._page(request, offset, limit, described=described)
            answer_page(self._engine, request, page, "consumers", [])
            return
        reasons, missing = offline.consumers, list[str]()
        page = ListPage(reasons, offset, limit, describe=missing.append if described else None)
        answer_page(self._engine, request, page, "consumers", [], more=lambda: listed(missing, reasons))

    def _page(self, request: Request, offset: int, limit: int, *, described: bool) -> ListPage:
        """Of the stream's consumers that are shown."""
        consumers = self._engine.stream(request.args[0]).consumers

        def wanted(name: str) -> bool:
            return name in consumers and is_shown(consumers[name])

        def describe(name: str) -> dict[str, Any] | None:
            consumer = consumers.get(name)
            return self.described(consumer, managed=False) if consumer is not None else None

        return ListPage(consumers, offset, limit, wanted=wanted, describe=describe if described else None)

    def needs_cluster(self, request: Request) -> None:
        raise api_error("JSClusterRequiredErr")

    def described(self, consumer: Consumer, managed: bool = True) -> dict[str, Any]:
        """ConsumerInfo in the server's order."""
        info = consumer.info()
        if consumer.config.direct:  # nothing keeps where it is; what it has passed over counts
            info["delivered"]["stream_seq"] = max(info["delivered"]["stream_seq"], consumer.cursor.position)
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
        now_ns = self._engine.clock.wall_ns
        if info["push_bound"]:
            out["push_bound"] = True
        if consumer.config.pause_until_ns > now_ns:
            remaining_ns = min(consumer.config.pause_until_ns - now_ns, limits.DURATION_MAX_NS)
            out.update(paused=True, pause_remaining=remaining_ns)
        out["ts"] = format_time(now_ns)
        if consumer.config.priority_groups:
            out["priority_groups"] = [_group(consumer)]
        return out


def _group(consumer: Consumer) -> dict[str, Any]:
    """The state of the first group; nats-server knows of one."""
    out: dict[str, Any] = {"group": consumer.config.priority_groups[0]}
    pin_id, pinned_ns = consumer.pin()
    if pin_id:
        out["pinned_client_id"] = pin_id
    out["pinned_ts"] = format_time(pinned_ns)
    return out


def _position(position: dict[str, int]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "consumer_seq": position["consumer_seq"],
        "stream_seq": position["stream_seq"],
    }
    if position.get("last_active_ns"):
        out["last_active"] = format_time(position["last_active_ns"])
    return out
