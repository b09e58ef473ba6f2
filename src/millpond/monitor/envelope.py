"""What surrounds documents on `$SYS` subjects: who speaks, as the `server` member says it (reference 07.2)."""

from __future__ import annotations

import time
from typing import Any, Final

from millpond.config import feature_flags
from millpond.jetstream.go_json import encode, format_time
from millpond.monitor.view import View

JETSTREAM_ENABLED, BINARY_SNAPSHOTS, ACCOUNT_RAFT = 1, 2, 4
BAD_REQUEST: Final = 400
FAILED: Final = 500
NO_DATA: Final = object()


class Envelopes:
    """Of one server; numbers what it sends."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._sent = 0

    def identity(self) -> dict[str, Any]:
        """Name, host and id."""
        broker = self._view.broker
        return {"name": broker.server_name, "host": broker.info["host"], "id": broker.server_id}

    def server(self) -> dict[str, Any]:
        """The whole of it, in the server's order. Each call is one message."""
        self._sent += 1
        options = self._view.options
        jetstream = options.jetstream
        out = self.identity()
        if jetstream is not None and jetstream.domain:
            out["domain"] = jetstream.domain
        out["ver"] = self._view.broker.info["version"]
        if options.server_tags:
            out["tags"] = list(options.server_tags)
        if options.server_metadata:
            out["metadata"] = dict(sorted(options.server_metadata.items()))
        return {
            **out,
            "feature_flags": feature_flags.in_force(options.feature_flags),
            "jetstream": jetstream is not None,
            "flags": JETSTREAM_ENABLED | BINARY_SNAPSHOTS | ACCOUNT_RAFT if jetstream is not None else 0,
            "seq": self._sent,
            "time": format_time(time.time_ns()),
        }

    def answer(self, data: Any = NO_DATA) -> bytes:
        """A short reply. Without `data`: that it was done."""
        return encode({"server": self.server(), **({} if data is NO_DATA else {"data": data})})

    def refusal(self, code: int, text: str = "", *, empty_data: bool = False) -> bytes:
        """A reply that says why not. `empty_data`: there is a `data` member all the same, as from most pages."""
        error = {"code": code, **({"description": text} if text else {})}
        return encode({"server": self.server(), **({"data": None} if empty_data else {}), "error": error})
