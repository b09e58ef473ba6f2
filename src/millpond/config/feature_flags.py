"""nats-server's feature flags: those whose behaviour this server has, and what is shown of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DEFAULTS: Final = {
    "js_ack_fc_v2": False,
    "js_api_reply_v2": False,
    "js_raft_delete_range": True,
    "js_snapshot_sources": False,
}
ONLY_CLUSTERED: Final = ("js_raft_delete_range", "js_snapshot_sources")
"""What replicas tell each other: one server is the same with and without."""


def is_served(name: str, on: bool) -> bool:
    """Is what it asks for what happens? An unknown one asks for nothing."""
    return name in ONLY_CLUSTERED or DEFAULTS.get(name, on) == on


def in_force(configured: Mapping[str, bool]) -> dict[str, bool]:
    """All flags of nats-server, as its pages show them."""
    return {name: configured.get(name, default) for name, default in DEFAULTS.items()}


def lines(configured: Mapping[str, bool]) -> list[str]:
    """For the log; none where none is configured."""
    if not configured:
        return []
    known = [f"{name} ({_stance(name, on)})" for name, on in configured.items() if name in DEFAULTS]
    unknown = [name for name in configured if name not in DEFAULTS]
    found = ["  Feature flags:", f"    Configured:    {', '.join(known) or 'none'}"]
    return found + ([f"    Unsupported:   {', '.join(unknown)}"] if unknown else [])


def _stance(name: str, on: bool) -> str:
    if DEFAULTS[name]:
        return "enabled" if on else "opt-out"
    return "opt-in" if on else "disabled"
