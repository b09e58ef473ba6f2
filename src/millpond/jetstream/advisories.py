"""What JetStream tells the account about itself: `$JS.EVENT.ADVISORY.>` (reference 05.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from millpond.base.clock import Clock
from millpond.base.ids import nuid
from millpond.jetstream.go_json import encode
from millpond.jetstream.go_text import text
from millpond.jetstream.go_time import format_time

PREFIX: Final = "$JS.EVENT.ADVISORY."
TYPE: Final = "io.nats.jetstream.advisory.v1."
ACK_METRIC: Final = "$JS.EVENT.METRIC.CONSUMER.ACK"


class Advisories:
    """Builds and publishes advisories. `publish(subject, body)` is the account's router."""

    def __init__(
        self, publish: Callable[[bytes, bytes], object], clock: Clock, domain: str = "", account: str = "$G"
    ) -> None:
        self.account = account
        self._publish = publish
        self._clock = clock
        self._domain = domain

    def send(self, subject: str, kind: str, fields: dict[str, Any]) -> None:
        """One advisory of type `kind` on `$JS.EVENT.ADVISORY.<subject>`."""
        body: dict[str, Any] = {
            "type": TYPE + kind,
            "id": nuid(),
            "timestamp": format_time(self._clock.wall_ns),
            **fields,
        }
        if self._domain:
            body["domain"] = self._domain
        self._publish((PREFIX + subject).encode(), encode(body))

    def stream_action(self, stream: str, action: str) -> None:
        past = {"create": "CREATED", "delete": "DELETED", "modify": "UPDATED"}[action]
        self.send(f"STREAM.{past}.{stream}", "stream_action", {"stream": stream, "action": action})

    def consumer_action(self, stream: str, consumer: str, action: str) -> None:
        past = {"create": "CREATED", "delete": "DELETED"}[action]
        self.send(
            f"CONSUMER.{past}.{stream}.{consumer}",
            "consumer_action",
            {"stream": stream, "consumer": consumer, "action": action},
        )

    def ack_metric(self, stream: str, consumer: str, fields: dict[str, Any]) -> None:
        """A sample of an acknowledgement (sample_freq)."""
        body: dict[str, Any] = {
            "type": "io.nats.jetstream.metric.v1.consumer_ack",
            "id": nuid(),
            "timestamp": format_time(self._clock.wall_ns),
            "stream": stream,
            "consumer": consumer,
            **fields,
        }
        if self._domain:
            body["domain"] = self._domain
        self._publish(f"{ACK_METRIC}.{stream}.{consumer}".encode(), encode(body))

    def batch_abandoned(self, stream: str, batch_id: bytes, reason: str) -> None:
        fields = {"stream": stream, "batch": text(batch_id), "reason": reason}
        self.send(f"STREAM.BATCH_ABANDONED.{stream}", "stream_batch_abandoned", fields)

    def stream_damaged(self, stream: str, lost: Sequence[tuple[int, int]], found: Sequence[str]) -> None:
        """Damage to a stream's files. `lost`: sequences, both ends included; `found`: what and where, in words."""
        messages = sum(last - first + 1 for first, last in lost)
        ranges = [{"first_seq": first, "last_seq": last} for first, last in lost]
        fields = {"stream": stream, "lost": {"messages": messages, "ranges": ranges}, "damage": list(found)}
        self.send(f"STREAM.DAMAGED.{stream}", "stream_damaged", fields)

    def snapshot_create(self, stream: str, state: dict[str, Any], client: dict[str, Any]) -> None:
        fields = {"stream": stream, "state": state, "client": client}
        self.send(f"STREAM.SNAPSHOT_CREATE.{stream}", "snapshot_create", fields)

    def snapshot_complete(self, stream: str, start_ns: int, client: dict[str, Any], error: str) -> None:
        fields = {"stream": stream, **self._span(start_ns), "client": client}
        if error:
            fields["error"] = error
        self.send(f"STREAM.SNAPSHOT_COMPLETE.{stream}", "snapshot_complete", fields)

    def restore_create(self, stream: str, client: dict[str, Any]) -> None:
        self.send(f"STREAM.RESTORE_CREATE.{stream}", "restore_create", {"stream": stream, "client": client})

    def restore_complete(self, stream: str, start_ns: int, size: int, client: dict[str, Any]) -> None:
        fields = {"stream": stream, **self._span(start_ns), "bytes": size, "client": client}
        self.send(f"STREAM.RESTORE_COMPLETE.{stream}", "restore_complete", fields)

    def _span(self, start_ns: int) -> dict[str, Any]:
        """From then to now."""
        return {"start": format_time(start_ns), "end": format_time(self._clock.wall_ns)}

    def limit_reached(self, server: str, dropped: int) -> None:
        """Requests that waited for their turn were dropped."""
        domain = {"domain": self._domain} if self._domain else {}
        self.send("API.LIMIT_REACHED", "api_limit_reached", {"server": server, **domain, "dropped": dropped})

    def api_audit(self, server: str, client: dict[str, Any] | None, subject: str, request: str, response: str) -> None:
        fields: dict[str, Any] = {"server": server, "client": client, "subject": subject}
        if request:
            fields["request"] = request
        fields["response"] = response
        self.send("API", "api_audit", fields)
