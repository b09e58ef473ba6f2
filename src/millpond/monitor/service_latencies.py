"""The event that tells how long a service took (reference 02.3, SEC-35)."""

from __future__ import annotations

import time
from typing import Any, Final

from millpond.base.ids import nuid
from millpond.broker.service_latency import DESCRIPTIONS, Report
from millpond.jetstream.go_json import encode, format_time

LATENCY: Final = "io.nats.server.metric.v1.service_latency"


def document(report: Report) -> bytes:
    """In the server's order. Between the two clients there is one server, so that its own part is 0."""
    told: dict[str, Any] = {
        "description": DESCRIPTIONS[report.status], "requestor": report.requestor, "responder": report.responder,
        "header": dict(sorted(report.header.items())),
    }  # fmt: skip
    return encode({
        "type": LATENCY, "id": nuid(), "timestamp": format_time(time.time_ns()), "status": report.status,
        **{name: value for name, value in told.items() if value},
        "start": format_time(report.start_ns), "service": report.service_ns, "system": 0, "total": report.total_ns,
    })  # fmt: skip
