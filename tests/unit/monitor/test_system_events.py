"""Events that cause events: told one after the other, however many."""

from __future__ import annotations

from typing import Any

import msgspec

from millpond.broker.connection_info import ConnectionInfo
from millpond.monitor.system_events import SystemEvents


class Envelopes:
    """What an event needs of a server."""

    def identity(self) -> dict[str, Any]:
        return {"id": "ID"}

    def server(self) -> dict[str, Any]:
        return {"time": "now"}


class Falling:
    """Everybody listens; each listener that is told of an end ends itself."""

    def __init__(self, listeners: int) -> None:
        self.left = listeners
        self.told: list[int] = []
        self.events: SystemEvents | None = None

    def py_has_interest(self, subject: bytes) -> bool:
        return subject == b"$SYS.ACCOUNT.A.DISCONNECT"

    def publish(self, subject: bytes, body: bytes) -> None:
        self.told.append(msgspec.json.decode(body)["client"]["id"])
        if self.left:
            self.left -= 1
            ended(self, len(self.told) + 1)


def ended(router: Falling, cid: int) -> None:
    assert router.events is not None
    info = ConnectionInfo(cid=cid, ip="::1", port=1, start_ns=1, last_activity_ns=1, stop_ns=2, account="A")
    router.events.disconnected(info)


def test_listeners_that_fall_like_dominoes() -> None:
    router = Falling(5000)
    router.events = SystemEvents(Envelopes(), router)  # type: ignore[arg-type]
    ended(router, 1)
    assert router.told == list(range(1, 5002))
