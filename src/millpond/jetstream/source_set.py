"""What one stream takes from others: its mirror or its sources, from configuration to running feeds.

Sources begin when it is known where they go on: after a restart that is asked of the stream's own messages, step by
step (source_scan). Messages may have left the stream, so positions are kept beside its configuration as well, as soon
as the messages cannot say them any more; of the two the newer one counts. A position is kept only when its message is
committed: what is lost in a crash comes again. A change of configuration touches only the sources that came or went.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from millpond.base import limits
from millpond.broker.timers import CallbackTimer
from millpond.jetstream.mirror import Mirror
from millpond.jetstream.source import Source
from millpond.jetstream.source_names import Origin, Position, index_name, read_source_header
from millpond.jetstream.source_puller import Puller, Site
from millpond.jetstream.source_request import deletion
from millpond.jetstream.source_scan import SourceScan
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import StreamConfig, StreamSource

NUMBERED: Final = re.compile(r"\$[0-9]+")
ALL: Final = b">"
NEXT_STEP_NS: Final = 1_000_000
"""Between two steps of a scan."""

Keep = Callable[[Stream, dict[str, Position]], None]


class SourceSet:
    """Of one stream; nothing comes before `begin`. `end` before the stream stops.

    `positions`: what was kept, by index name. `keep(stream, positions)` keeps it.
    """

    def __init__(self, site: Site, stream: Stream, positions: dict[str, Position], keep: Keep) -> None:
        self._site, self._stream = site, stream
        self.positions, self._keep = positions, keep
        self._known = positions
        """Besides, positions of sources that went, for their return."""
        self._keeper = CallbackTimer(self._look_after_positions)
        self._mirror: Mirror | None = None
        self._sources: dict[str, Source] = {}
        self._unplaced: dict[str, Source] = {}
        """Sources of which it is not known yet where they go on."""
        self._scan: SourceScan | None = None
        self._timer = CallbackTimer(self._look)
        self._open = self._ended = False
        if stream.config.mirror is not None:
            self._mirror = Mirror(site, stream, stream.config.mirror)
        self._add(stream.config)

    def begin(self) -> None:
        """Start what has not begun: a new mirror, and sources that came with the last update."""
        if self._ended:
            return
        self._open = True
        if self._mirror is not None and not self._mirror.started:
            self._mirror.begin()
        self._begin_placed()
        self._look_later()

    def update(self, config: StreamConfig) -> None:
        """The stream's configuration in force is this one now; `begin` when that was answered."""
        self._open = False
        self._known = {**self._known, **self._current_positions()}
        if self._mirror is not None and config.mirror is None:
            self._end(self._mirror)
            self._mirror.feed.share_gets("")
            self._mirror = None
        elif self._mirror is not None:
            self._mirror.share_gets()
        kept = {index_name(source) for source in config.sources}
        for name in [name for name in self._sources if name not in kept]:
            self._unplaced.pop(name, None)
            self._end(self._sources.pop(name))
        for source in self._sources.values():
            source.among(config.sources)
        self._add(config)

    def end(self, delete: bool) -> None:
        """`delete`: for good; consumers at the origins are asked to end as well."""
        self._ended = True
        self._site.timers.stop(self._timer)
        self._site.timers.stop(self._keeper)
        self._scan, self._unplaced = None, {}
        for puller in self._pullers():
            if delete:
                self._end(puller)
            else:
                puller.end()
        self._mirror, self._sources = None, {}

    def _pullers(self) -> list[Puller]:
        return [*([self._mirror] if self._mirror is not None else []), *self._sources.values()]

    def _end(self, puller: Puller) -> None:
        puller.end()
        if puller.source.consumer is None and puller.begun:
            puller.feed.request(deletion(puller.asking).encode(), b"", b"", b"")

    def appeared(self, name: str) -> None:
        """A stream of this name was made."""
        for puller in self._pullers():
            if puller.source.name == name:
                puller.appeared()

    def held_bytes(self) -> int:
        """Of messages that wait for a cold read."""
        return sum(puller.feed.held_bytes() for puller in self._pullers())

    def info(self) -> dict[str, Any]:
        """The members of StreamInfo."""
        out: dict[str, Any] = {}
        if self._mirror is not None:
            out["mirror"] = self._mirror.info()
        if self._sources:
            out["sources"] = [source.info() for source in self._sources.values()]
        return out

    # --- sources, and where they go on ---

    def _add(self, config: StreamConfig) -> None:
        new = {index_name(source): source for source in config.sources if index_name(source) not in self._sources}
        for name, source in new.items():
            self._sources[name] = self._unplaced[name] = Source(self._site, self._stream, source, config.sources)
        order = [index_name(source) for source in config.sources]
        self._sources = {name: self._sources[name] for name in order}
        if new:                                    # a scan under way begins again, for all who wait
            self._scan = SourceScan(self._stream, self._where())
            self._look()

    def _begin_placed(self) -> None:
        for name, source in self._sources.items():
            if not source.started and name not in self._unplaced:
                source.begin()

    def _where(self) -> list[bytes]:
        """Subjects under which messages of these sources are stored; none: all."""
        if self._stream.config.subject_transform is not None:
            return []
        filters = {each for source in self._unplaced.values() for each in stored_under(source.source)}
        return [] if ALL in filters else sorted(filters)

    def _look(self) -> None:
        """One step of the scan; whoever is found may begin."""
        scan = self._scan
        if scan is None:
            return
        for stored_at, value in scan.step(limits.SOURCE_SCAN_MESSAGES):
            origin = read_source_header(value)
            if origin is not None:
                self._place(origin, stored_at)
        if scan.done or not self._unplaced:
            for name, source in self._unplaced.items():
                if name in self._known:
                    source.go_on_behind(self._known[name])
            self._unplaced, self._scan = {}, None
        elif scan.cold:
            self._stream.on_warm(self._look)
        else:
            self._site.timers.start(self._timer, self._site.clock.mono_ns + NEXT_STEP_NS)
        if self._open:
            self._begin_placed()

    def _place(self, origin: Origin, stored_at: int) -> None:
        """That message here is the newest one of a source, unless a newer one was kept."""
        found = Position(origin.stream_seq, origin.identity, stored_at)
        for name in [name for name, source in self._unplaced.items() if source.comes_from(origin)]:
            kept = self._known.get(name, found)
            self._unplaced.pop(name).go_on_behind(kept if kept.stored_at >= stored_at else found)

    # --- positions that messages cannot say any more ---

    def _look_later(self) -> None:
        if self._sources and self._stream.config.storage == "file":
            drained = self._stream.config.retention != "limits"
            new = drained and any(name not in self.positions for name in self._sources)
            delay_ns = limits.SOURCE_KEEP_NS if drained else limits.SOURCE_KEEP_SELDOM_NS
            delay_ns = limits.SOURCE_KEEP_FIRST_NS if new else delay_ns
            self._site.timers.start(self._keeper, self._site.clock.mono_ns + delay_ns)

    def _look_after_positions(self) -> None:
        self._look_later()
        now = self.positions_to_keep()
        if now:
            self._stream.after_commit(lambda failure: None if failure else self._keep_now(now))

    def positions_to_keep(self) -> dict[str, Position]:
        """All, when there is one that messages do not say; to be kept when all of the stream is committed."""
        if self._stream.failure or not any(self._must_keep(source) for source in self._sources.values()):
            return {}
        return self._current_positions()

    def _must_keep(self, source: Source) -> bool:
        position = source.position_here()
        if position is None or position == self.positions.get(source.index_name):
            return False
        return self._stream.config.retention != "limits" or not self._stream.store.has(position.stored_at)

    def _current_positions(self) -> dict[str, Position]:
        found = {name: source.position_here() for name, source in self._sources.items()}
        return {name: position for name, position in found.items() if position is not None}

    def _keep_now(self, positions: dict[str, Position]) -> None:
        if not self._ended:
            self.positions = positions
            self._keep(self._stream, positions)


def stored_under(source: StreamSource) -> list[bytes]:
    """Filters for the subjects that a source's messages have here."""
    if not source.subject_transforms:
        return [(source.filter_subject or ">").encode()]
    return [_subjects_of(transform.dest or transform.src).encode() for transform in source.subject_transforms]


def _subjects_of(destination: str) -> str:
    """A filter that covers all that a transform's destination can become."""
    tokens: list[str] = []
    for token in destination.split("."):
        if "{{" in token or not token:
            return ".".join([*tokens, ">"])
        tokens.append("*" if NUMBERED.fullmatch(token) else token)
    return ".".join(tokens)
