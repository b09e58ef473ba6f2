"""A stream over the model store, with a recorder on its replies."""

from __future__ import annotations

import json
from typing import Any

from millpond.base.clock import ManualClock
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.broker.turn import Turn
from millpond.jetstream.pump import CommitPhase, Pump
from millpond.jetstream.stream import Stream
from millpond.testing.model_store import ModelStore, finish

from millpond.jetstream.stream_config import StreamConfig


def block(headers: dict[str, str]) -> bytes:
    """The header block of a publish; b"" without headers."""
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode() if headers else b""


class Rig:
    """`replies` holds (subject, header block, body) in order of arrival."""

    def __init__(self, store: ModelStore | None = None, domain: str = "", **config: Any) -> None:
        self.clock = ManualClock()
        self.turn, self.router, self.store = Turn(self.clock), Router(), store or ModelStore()
        self.pump, self.commit = Pump(), CommitPhase(None)
        self.turn.add_commit(self.commit)
        self.turn.add_pump(self.pump)
        self.replies: list[tuple[bytes, bytes, bytes]] = []
        self.router.subscribe(b"re.>", CallableSink(self._record))
        first = self.config(**config)
        self.stream = Stream(
            first.name, first, 1, self.store, None, self.router, self.turn,
            self.clock, None, self.pump, self.commit, domain,
        )  # fmt: skip
        self.stream.start()

    def config(self, **config: Any) -> StreamConfig:
        return StreamConfig(**{"name": "S", "subjects": ["s.*"], "duplicate_window": 120_000_000_000} | config)

    def _record(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.replies.append((subject, hdr, body))

    def send(self, subject: bytes, body: bytes = b"", reply: bytes = b"re.1", **headers: str) -> None:
        fields = {key.replace("_", "-"): value for key, value in headers.items()}
        self.router.publish(subject, body, reply, block(fields))

    def commit_all(self) -> None:
        self.store.commit_now()
        finish(self.turn)

    def publish(self, subject: bytes, body: bytes = b"", **headers: str) -> bytes:
        """Publish, commit, and return the one reply."""
        self.replies.clear()
        self.send(subject, body, **headers)
        self.commit_all()
        ((_, hdr, answer),) = self.replies
        assert hdr == b""
        return answer

    def direct(self, request: object, subject: bytes = b"") -> list[tuple[bytes, bytes]]:
        """A direct get; its (header block, body) answers."""
        self.replies.clear()
        text = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.router.publish(b"$JS.API.DIRECT.GET.S" + (b"." + subject if subject else b""), text, b"re.get")
        return [(hdr, body) for _, hdr, body in self.replies]
