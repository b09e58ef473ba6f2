"""`$JS.API.INFO`: what the account uses and may use (reference 05.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millpond.base import limits
from millpond.config.security import JetStreamLimits
from millpond.jetstream.api.request import Request

if TYPE_CHECKING:
    from millpond.jetstream.api.registry import Api
    from millpond.jetstream.engine import Engine

def limits_of(limits: JetStreamLimits) -> dict[str, int | bool]:
    """An account's limits as they are shown."""
    return {
        "max_memory": limits.max_memory,
        "max_storage": limits.max_file,
        "max_streams": limits.max_streams,
        "max_consumers": limits.max_consumers,
        "max_ack_pending": limits.max_ack_pending,
        "memory_max_stream_bytes": limits.memory_max_stream_bytes,
        "storage_max_stream_bytes": limits.file_max_stream_bytes,
        "max_bytes_required": limits.max_bytes_required,
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
            limits=limits_of(self._engine.account_limits),
            **domain,
            api={"level": limits.API_LEVEL, "total": self._api.total, "errors": self._api.errors},
        )
