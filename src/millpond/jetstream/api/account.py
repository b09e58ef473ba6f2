"""`$JS.API.INFO`: what the account uses and may use (reference 05.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millpond.base import limits
from millpond.config.security import TIER, JetStreamLimits
from millpond.jetstream.api.request import Request

if TYPE_CHECKING:
    from millpond.jetstream.api.registry import Api
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.usage import Usage


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
        most = self._engine.account_limits
        domain = {"domain": self._engine.domain} if self._engine.domain else {}
        tiers = {name: _tier(usage if name == TIER else None, found) for name, found in most.tiers}
        request.ok(
            **_tier(usage, NO_LIMITS if most.tiers else most),
            **domain,
            api={"level": limits.API_LEVEL, "total": self._api.total, "errors": self._api.errors},
            **({"tiers": tiers} if tiers else {}),
        )


NO_LIMITS: Final = JetStreamLimits(
    max_memory=0, max_file=0, max_streams=0, max_consumers=0, max_ack_pending=0, memory_max_stream_bytes=0,
    file_max_stream_bytes=0,
)  # fmt: skip
"""What is shown of an account that has tiers instead."""


def _tier(usage: Usage | None, most: JetStreamLimits) -> dict[str, Any]:
    """What is used of which limits; None: nothing."""
    names = ("memory", "storage", "reserved_memory", "reserved_storage", "streams", "consumers")
    return {**{name: getattr(usage, name) if usage is not None else 0 for name in names}, "limits": limits_of(most)}
