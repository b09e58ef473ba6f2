"""What is known about one client connection: the row of /connz (reference 07.1)."""

from __future__ import annotations

import msgspec


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A snapshot; times are Unix ns, `rtt_ns` 0 = not measured yet, `stop_ns` 0 = still open."""

    cid: int
    ip: str
    port: int
    start_ns: int
    last_activity_ns: int
    stop_ns: int = 0
    reason: str = ""
    rtt_ns: int = 0
    pending_bytes: int = 0
    in_msgs: int = 0
    out_msgs: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    stalls: int = 0
    num_subscriptions: int = 0
    name: str = ""
    lang: str = ""
    version: str = ""
    authorized_user: str = ""
    account: str = "$G"
    subscriptions: tuple[tuple[str, str, str, int, int], ...] = ()
    """(subject, queue, sid, delivered, max), filled only on request."""
