"""A mirror: one stream, kept as it is at its origin (reference 03.5)."""

from __future__ import annotations

from millpond.jetstream.mirror_feed import MirrorFeed
from millpond.jetstream.source_names import stable_hash
from millpond.jetstream.source_puller import Puller, Site, transforms_of
from millpond.jetstream.source_request import Answer, Asking, Attempt, Start
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import StreamSource


class Mirror(Puller):
    """Goes on behind the last sequence that it has."""

    setup_error = "JSMirrorConsumerSetupFailedErrF"
    policy_error = "JSMirrorConsumerRequiresAckFCErr"

    def __init__(self, site: Site, stream: Stream, source: StreamSource) -> None:
        metadata = {"_nats.mirror.stream": stream.name, "_nats.mirror.acc": site.account}
        if site.domain:
            metadata["_nats.mirror.domain"] = site.domain
        hashed = stable_hash(stream.name, site.account, site.domain)
        super().__init__(site, stream, source, Asking(source, "MIRROR", hashed, metadata, site.domain))
        self.feed: MirrorFeed = MirrorFeed(stream, site.clock, transforms_of(source), self.broken)

    def begin(self) -> None:
        self.share_gets()
        super().begin()

    def share_gets(self) -> None:
        """As the configuration says now."""
        self.feed.share_gets(self.source.name if self.stream.config.mirror_direct else "")

    def attempts(self) -> list[Attempt]:
        return [Attempt(4), Attempt(0)]

    def start(self) -> Start:
        state = self.stream.state()
        if state["last_seq"] or state["messages"] or self.stream.was_purged:
            return Start(stream_seq=state["last_seq"] + 1)
        if self.source.opt_start_seq:
            return Start(stream_seq=self.source.opt_start_seq)
        return Start(time=self.source.opt_start_time or "")

    def adopt(self, answer: Answer, identity: str) -> int:
        self.feed.skip_to(answer.delivered.stream_seq)
        return int(self.stream.state()["last_seq"])

    def shows_filter(self) -> bool:
        return self.begun
