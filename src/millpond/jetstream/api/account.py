"""`$JS.API.INFO`: what the account uses and may use (reference 05.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millpond.base import limits
from millpond.jetstream.api.request import Request

if TYPE_CHECKING:
    from millpond.jetstream.api.registry import Api
    from millpond.jetstream.engine import Engine

UNLIMITED: Final = {
    "max_memory": -1,
    "max_storage": -1,
    "max_streams": -1,
    "max_consumers": -1,
    "max_ack_pending": -1,
    "memory_max_stream_bytes": -1,
    "storage_max_stream_bytes": -1,
    "max_bytes_required": False,
}


class AccountApi:
    def __init__(self, engine: Engine, api: Api) -> None:
        self._engine = engine
        self._api = api

    def info(self, request: Request) -> None:
        usage = self._engine.usage()
        domain = {"domain": self._engine.domain} if self._engine.domain else {}
        request.ok(
            memory=usage.memory,
            storage=usage.storage,
            reserved_memory=usage.reserved_memory,
            reserved_storage=usage.reserved_storage,
            streams=usage.streams,
            consumers=usage.consumers,
            limits=UNLIMITED,
            **domain,
            api={"level": limits.API_LEVEL, "total": self._api.total, "errors": self._api.errors},
        )
