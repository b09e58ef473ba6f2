"""A source: messages of another stream, appended to this one (reference 03.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from millpond.jetstream.go_time import format_time, parse_time
from millpond.jetstream.source_feed import SourceFeed
from millpond.jetstream.source_names import Origin, Position, index_name, origin_name, source_hash
from millpond.jetstream.source_puller import Puller, Site, transforms_of
from millpond.jetstream.source_request import Answer, Asking, Attempt, Failure, Start
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import StreamSource

IDENTITY_MISMATCH: Final = 10225


class Source(Puller):
    """Goes on behind the last message that it brought; begins anew when its origin was made anew."""

    setup_error = "JSSourceConsumerSetupFailedErrF"
    policy_error = "JSSourceConsumerRequiresAckFCErr"

    def __init__(self, site: Site, stream: Stream, source: StreamSource, sources: Sequence[StreamSource]) -> None:
        super().__init__(site, stream, source, _asking(site, stream, source, sources))
        self.index_name = index_name(source)
        self.feed: SourceFeed = SourceFeed(stream, site.clock, transforms_of(source), self.broken, self.index_name)
        self._recreated = False
        self._begun_at: Position | None = None
        """Where it began when it was last asked for; counts until a message was stored since."""

    def among(self, sources: Sequence[StreamSource]) -> None:
        """The stream's sources are these now: the next consumer's name depends on it."""
        self.asking = _asking(self.site, self.stream, self.source, sources)

    def comes_from(self, origin: Origin) -> bool:
        """Is it the message of this source?"""
        if origin.index_name:
            return origin.index_name == self.index_name
        return origin.stream == origin_name(self.source)

    def go_on_behind(self, position: Position) -> None:
        """The last message that it brought, or the place before the first one."""
        self.feed.stream_seq, self.feed.identity = position.stream_seq, position.identity
        if position.stored_at:
            self.feed.stored_seq, self.feed.stored_at = position.stream_seq, position.stored_at
        self._begun_at = position

    def position_here(self) -> Position | None:
        """What a restart has to know; None: it has not begun yet."""
        feed = self.feed
        if self._begun_at is None or feed.stored_at > self._begun_at.stored_at:
            return Position(feed.stored_seq, feed.identity, feed.stored_at) if feed.stored_at else None
        return self._begun_at

    def attempts(self) -> list[Attempt]:
        return [Attempt(5, self.feed.identity), Attempt(4), Attempt(0)]

    def start(self) -> Start:
        if self.feed.stream_seq > 0:
            return Start(stream_seq=self.feed.stream_seq + 1)
        if self.source.opt_start_seq:
            return Start(stream_seq=self.source.opt_start_seq)
        state = self.stream.state()
        last_ns = state["last_ts_ns"]
        asked = self.source.opt_start_time
        if asked is not None:
            known = not last_ns or self._begun_at is not None
            return Start(time=asked if known else format_time(max(last_ns, parse_time(asked))))
        if state["first_seq"] > 1 and last_ns and not self._recreated and self._begun_at is None:
            return Start(time=format_time(last_ns))
        return Start()

    def adopt(self, answer: Answer, identity: str) -> int:
        known = self.feed.identity
        if self._recreated or (known and identity and known != identity):
            self.feed.stream_seq = 0
            self._begun_at = None
        self.feed.identity, self._recreated = identity, False
        stream_seq = max(int(self.feed.stream_seq), answer.delivered.stream_seq)
        if self._begun_at is None:
            self._begun_at = Position(stream_seq, identity, self.feed.stored_at)
        return stream_seq

    def is_another(self, failure: Failure) -> bool:
        if failure.err_code != IDENTITY_MISMATCH:
            return False
        self.feed.stream_seq, self.feed.identity, self._recreated = 0, "", True
        self._begun_at = None
        return True

    def position(self) -> dict[str, int]:
        return {"seq": self.feed.stored_seq} if self.feed.stored_seq else {}


def _asking(site: Site, stream: Stream, source: StreamSource, sources: Sequence[StreamSource]) -> Asking:
    metadata = {"_nats.src.stream": stream.name, "_nats.src.acc": site.account}
    if site.domain:
        metadata["_nats.src.domain"] = site.domain
    hashed = source_hash(stream.name, site.account, site.domain, source, sources)
    return Asking(source, "SRC", hashed, metadata, site.domain)
