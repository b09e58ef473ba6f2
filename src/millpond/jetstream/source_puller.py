"""Keeps a feed supplied: asks the origin for a consumer, and again whenever that one ends.

    due        asks at a time: at once, after what went wrong, or when the origin has been silent
    asked      waits for the origin's answer
    running    messages come; a timer looks whether the origin is still heard

Requests keep a distance; refusals and silence in a row keep longer ones. What differs between mirrors and sources is
in `mirror` and `source`.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.base.clock import Clock
from millpond.base.ids import random_below, short_name
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink, Subscription
from millpond.broker.timers import CallbackTimer, Timers
from millpond.jetstream.error_table import api_error
from millpond.jetstream.source_feed import Feed
from millpond.jetstream.source_request import ANSWERS, TOO_NEW, Answer, Asking, Attempt, Failure, Start, request
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import StreamSource
from millpond.subjects.transform import Transform
from millpond.wire.headers import find_value

log = logging.getLogger("millpond")

STAGGER_NS: Final = 50_000_000
"""Many streams that start together do not ask in one turn."""


class Site(msgspec.Struct, frozen=True):
    """Where pullers live."""

    router: Router
    timers: Timers
    clock: Clock
    account: str
    domain: str
    client: dict[str, Any]
    """What advisories show of requests to the API."""


def transforms_of(source: StreamSource) -> list[Transform]:
    """Those that change something."""
    return [Transform(each.src, each.dest) for each in source.subject_transforms if each.dest]


class Puller:
    """One mirror or source; give it a `feed` and override what says so."""

    feed: Feed
    setup_error: str
    """Name of the error for an answer that cannot be used."""
    policy_error: str
    """Name of the error for a consumer that was made before and does not acknowledge by flow control."""

    def __init__(self, site: Site, stream: Stream, source: StreamSource, asking: Asking) -> None:
        self.site, self.stream, self.source, self.asking = site, stream, source, asking
        self.error: Failure | None = None
        self.started = False
        self.begun = False
        self._timer = CallbackTimer(self._due)
        self._requested_ns = 0
        self._failures = 0
        self._attempts: list[Attempt] = []
        self._answers: Subscription | None = None
        self._deliver_subject = ""
        self._warned = ""

    # --- to override ---

    def attempts(self) -> list[Attempt]:
        """How to ask, the first one first."""
        raise NotImplementedError

    def start(self) -> Start:
        """Where the consumer is to begin."""
        raise NotImplementedError

    def adopt(self, answer: Answer, identity: str) -> int:
        """The origin has made the consumer; up to which sequence is everything of it here? May raise StoreError."""
        raise NotImplementedError

    def is_another(self, failure: Failure) -> bool:
        """Is the origin not the stream that it was? Then the next request begins anew."""
        return False

    # --- life ---

    def begin(self) -> None:
        """The first request, soon."""
        self.started = True
        self.feed.introduce(self.site.client)
        self._arm(random_below(STAGGER_NS) + 1)

    def end(self) -> None:
        """For good."""
        self.site.timers.stop(self._timer)
        self._ask_no_more()
        self.feed.quit()

    def appeared(self) -> None:
        """A stream of the origin's name was made here just now: there is nothing to wait for."""
        if self.source.external is None and self.begun:
            self._failures, self._requested_ns = 0, 0
            self._again()

    def broken(self) -> None:
        """The feed needs a new consumer."""
        if self.feed.refusal and self.feed.refusal != self._warned:
            self._warned = self.feed.refusal       # once, though it may come every two seconds
            log.warning("stream %s does not take a message of %s: %s", self.stream.name, self.source.name,
                        self.feed.refusal)  # fmt: skip
        if self._answers is None:
            self._again()

    def _arm(self, delay_ns: int) -> None:
        self.site.timers.start(self._timer, self.site.clock.mono_ns + delay_ns)

    def _again(self) -> None:
        """Ask once more, as soon as that is fitting."""
        self._ask_no_more()
        self.feed.quit()
        next_ns = self._requested_ns + limits.SOURCE_REQUEST_GAP_NS if self._requested_ns else 0
        backoff_ns = min(self._failures * limits.SOURCE_BACKOFF_NS, limits.SOURCE_BACKOFF_NS_MAX)
        self._arm(max(0, next_ns - self.site.clock.mono_ns) + backoff_ns + random_below(STAGGER_NS) + 1)

    def _due(self) -> None:
        if self._answers is not None:              # nobody has answered
            self._failed(None)
        elif not self.feed.consumer:
            self._ask()
        elif self.site.clock.mono_ns - self.feed.heard_ns > limits.SOURCE_STALLED_NS:
            self._again()
        else:
            self._arm(limits.SOURCE_STALLED_NS)

    # --- asking ---

    def _ask(self) -> None:
        self.begun, self.error = True, None
        self._requested_ns = self.site.clock.mono_ns
        self._attempts = self.attempts()
        self._send()

    def _send(self) -> None:
        """Asks in the words of the first attempt that is left."""
        wanted = request(self.asking, self.start(), self._attempts[0])
        self._deliver_subject = wanted.deliver_subject
        self._ask_no_more()
        reply = f"$JSC.R.{short_name()}".encode()
        self._answers = answers = self.site.router.subscribe(reply, CallableSink(self._answered))
        durable = self.source.consumer is not None
        self._arm(limits.SOURCE_RESET_ANSWER_NS if durable else limits.SOURCE_ANSWER_NS)
        heard = self.feed.request(wanted.subject.encode(), reply, wanted.headers, wanted.body)
        if not heard and self._answers is answers:
            self._failures = 0                     # the way there is missing: to ask costs nothing
            self._again()

    def _ask_no_more(self) -> None:
        if self._answers is not None:
            self.site.router.unsubscribe(self._answers)
            self._answers = None

    def _answered(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        try:
            answer = ANSWERS.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            log.warning("stream %s does not understand what %s answers", self.stream.name, self.source.name)
            return
        self._ask_no_more()
        failure = answer.error
        if failure is not None and self.is_another(failure):
            self._again()
        elif failure is not None and failure.err_code in TOO_NEW and len(self._attempts) > 1:
            del self._attempts[0]
            self._send()
        elif failure is not None:
            self._failed(failure)
        elif answer.config is None or not answer.name:
            self._failed(_named(self.setup_error, "invalid consumer create response"))
        elif self.source.consumer is not None and answer.config.ack_policy != "flow_control":
            self._failed(_named(self.policy_error))
        else:
            self._run(answer, answer.config.deliver_subject, find_value(hdr, b"Nats-Stream-Identity") or b"")

    def _run(self, answer: Answer, deliver_subject: str, identity: bytes) -> None:
        try:
            stream_seq = self.adopt(answer, identity.decode("latin-1"))
        except Exception as error:                 # the store's; the stream says it too
            self._failed(_named(self.setup_error, str(error)))
            return
        self._failures = 0
        subject = self._deliver_subject if self.source.consumer is not None else deliver_subject
        self._arm(limits.SOURCE_STALLED_NS)
        self.feed.listen(subject.encode(), answer.name.encode(), stream_seq)

    def _failed(self, failure: Failure | None) -> None:
        """The origin gave no consumer; None: it gave no answer."""
        if failure is not None:
            self.error = failure
            log.warning("stream %s cannot read from %s: %s", self.stream.name, self.source.name, failure.description)
        self._failures += 1
        self._again()

    # --- what is shown ---

    def info(self) -> dict[str, Any]:
        """StreamSourceInfo in the server's order."""
        feed, source = self.feed, self.source
        out: dict[str, Any] = {"name": source.name}
        if source.external is not None:
            out["external"] = msgspec.to_builtins(source.external)
        out["lag"] = feed.lag
        out.update(self.position())
        out["active"] = self.site.clock.mono_ns - feed.heard_ns if feed.heard_ns else -1
        if self.error is not None:
            out["error"] = msgspec.to_builtins(self.error)
        if source.filter_subject and self.shows_filter():
            out["filter_subject"] = source.filter_subject
        if source.subject_transforms:
            out["subject_transforms"] = msgspec.to_builtins(source.subject_transforms)
        return out

    def position(self) -> dict[str, int]:
        """What a source shows of how far it has come."""
        return {}

    def shows_filter(self) -> bool:
        """Is the filter known already?"""
        return True


def _named(name: str, err: str = "") -> Failure:
    error = api_error(name, err=err) if err else api_error(name)
    return Failure(error.code, error.err_code, error.description)


