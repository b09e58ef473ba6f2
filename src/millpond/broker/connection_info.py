"""What is known about one client connection: the row of /connz (reference 07.1)."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from millpond.accounts.origin import TlsPeer


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
    account_tag: str = ""
    """What people call the account, when its name is a key."""
    jwt: str = ""
    """Of a user that is known by it; a bearer's is as good as a password, and is not kept here."""
    issuer_key: str = ""
    user_tag: str = ""
    tags: tuple[str, ...] = ()
    subscriptions: tuple[tuple[str, str, str, int, int], ...] = ()
    """(subject, queue, sid, delivered, max), filled only on request."""
    websocket: bool = False
    tls: TlsPeer | None = None
    """Its chain only of a connection that is open."""

    @property
    def client_type(self) -> str:
        """As pages, events, advisories and `Nats-Request-Info` name it."""
        return "websocket" if self.websocket else "nats"


def closed(info: ConnectionInfo, reason: str, now_ns: int) -> ConnectionInfo:
    """What is remembered of a connection that has ended."""
    tls = msgspec.structs.replace(info.tls, chain=()) if info.tls is not None else None
    return msgspec.structs.replace(info, reason=reason, stop_ns=now_ns, pending_bytes=0, tls=tls)


def client_info(info: ConnectionInfo, *, server: str = "", stop_ns: int = 0, name_tag: str = "") -> dict[str, Any]:
    """ClientInfo of events, advisories and `Nats-Request-Info`, in the server's order, without what is empty.

    stop_ns: Unix ns; 0: it goes on.
    """
    shown: dict[str, Any] = {
        "start": _time_text(info.start_ns), "host": info.ip, "id": info.cid, "acc": info.account,
        "user": info.authorized_user, "name": info.name, "lang": info.lang, "ver": info.version, "rtt": info.rtt_ns,
        "server": server, "stop": _time_text(stop_ns) if stop_ns else "", "jwt": info.jwt,
        "issuer_key": info.issuer_key, "name_tag": name_tag, "tags": info.tags, "kind": "Client",
        "client_type": info.client_type,
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value}


def _time_text(unix_ns: int) -> str:
    """RFC 3339 in UTC, as Go writes it."""
    seconds, fraction = divmod(unix_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"
