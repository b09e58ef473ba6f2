"""`Nats-Request-Info`: what the exporter of a service is told of who asks (reference 02.3, SEC-34)."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from millpond.wire.headers import find_value

HEADER: Final = b"Nats-Request-Info"
ORDER: Final = (
    "start", "host", "id", "acc", "svc", "user", "name", "lang", "ver", "rtt", "server", "kind", "client_type", "reply",
)  # fmt: skip


def request_info(source: Any, account: str, server_name: str, share: bool, before: bytes) -> bytes:
    """The header's value. before: the header block, when another import has told already; then only `svc` is added."""
    if before:
        told = find_value(before, HEADER)
        try:
            known = msgspec.json.decode(told) if told else None
        except msgspec.DecodeError:
            known = None
        if isinstance(known, dict):
            return encode({name: {**known, "svc": account}.get(name) for name in ORDER})
    if source is None or not hasattr(source, "info"):
        return encode({"acc": account})
    info = source.info(False)
    if not share:
        return encode({"acc": info.account, "rtt": info.rtt_ns})
    members = {
        "start": _time_text(info.start_ns), "host": info.ip, "id": info.cid, "acc": info.account,
        "user": info.authorized_user, "name": info.name, "lang": info.lang, "ver": info.version, "rtt": info.rtt_ns,
        "server": server_name, "kind": "Client", "client_type": "nats",
    }  # fmt: skip
    return encode(members)


def encode(members: dict[str, Any]) -> bytes:
    """JSON as Go writes it, without what is empty."""
    body = msgspec.json.encode({name: value for name, value in members.items() if value})
    for char, escape in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        body = body.replace(char, escape)
    return body


def _time_text(unix_ns: int) -> str:
    seconds, fraction = divmod(unix_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"
