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

    def among(self, sources: Sequence[StreamSource]) -> None:
        """The stream's sources are these now: the next consumer's name depends on it."""
        self.asking = _asking(self.site, self.stream, self.source, sources)

    def comes_from(self, origin: Origin) -> bool:
        """Is it the message of this source?"""
        if origin.index_name:
            return origin.index_name == self.index_name
        return origin.stream == origin_name(self.source)

    def go_on_behind(self, position: Position) -> None:
        """That message is the last one that it brought."""
        self.feed.stream_seq = self.feed.stored_seq = position.stream_seq
        self.feed.identity, self.feed.stored_at = position.identity, position.stored_at

    def position_here(self) -> Position | None:
        """What a restart has to know; None: nothing was stored yet."""
        feed = self.feed
        return Position(feed.stored_seq, feed.identity, feed.stored_at) if feed.stored_seq else None

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
            return Start(time=format_time(max(last_ns, parse_time(asked))) if last_ns else asked)
        if state["first_seq"] > 1 and last_ns and not self._recreated:
            return Start(time=format_time(last_ns))
        return Start()

    def adopt(self, answer: Answer, identity: str) -> int:
        known = self.feed.identity
        if self._recreated or (known and identity and known != identity):
            self.feed.stream_seq = 0
        self.feed.identity, self._recreated = identity, False
        return max(int(self.feed.stream_seq), answer.delivered.stream_seq)

    def is_another(self, failure: Failure) -> bool:
        if failure.err_code != IDENTITY_MISMATCH:
            return False
        self.feed.stream_seq, self.feed.identity, self._recreated = 0, "", True
        return True

    def position(self) -> dict[str, int]:
        return {"seq": self.feed.stored_seq} if self.feed.stored_seq else {}


def _asking(site: Site, stream: Stream, source: StreamSource, sources: Sequence[StreamSource]) -> Asking:
    metadata = {"_nats.src.stream": stream.name, "_nats.src.acc": site.account}
    if site.domain:
        metadata["_nats.src.domain"] = site.domain
    hashed = source_hash(stream.name, site.account, site.domain, source, sources)
    return Asking(source, "SRC", hashed, metadata, site.domain)
