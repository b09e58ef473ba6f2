"""`Nats-Request-Info`: what the exporter of a service is told of who asks (reference 02.3, SEC-34)."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from millpond.broker.connection_info import client_info
from millpond.wire.headers import find_value

HEADER: Final = b"Nats-Request-Info"
LINE_END: Final = re.compile(rb"\r\n|\n|\r")
VERSION: Final = b"NATS/1.0"
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
    return encode(client_info(info, server=server_name, name_tag=info.user_tag))


def with_info(block: bytes, info: bytes) -> bytes:
    """The header block with the true info at its end, and with nothing that a reader might take for it.

    Readers differ in what ends a line (CRLF, LF, CR), in case and in blanks around a key; all stop at an empty line.
    """
    plain = block.endswith(b"\r\n\r\n") and block.find(b"\r\n\r\n") == len(block) - 4
    if plain and HEADER.lower() not in block.lower():
        head = block[:-2]
    else:
        lines = LINE_END.split(block)
        version = lines.pop(0) if block.startswith(VERSION) else VERSION
        lines = lines[: lines.index(b"")] if b"" in lines else lines
        kept = [line for line in lines if line.partition(b":")[0].strip().lower() != HEADER.lower()]
        head = b"\r\n".join([version, *kept, b""])
    return head + HEADER + b": " + info + b"\r\n\r\n"


def encode(members: dict[str, Any]) -> bytes:
    """JSON as Go writes it, without what is empty."""
    body = msgspec.json.encode({name: value for name, value in members.items() if value})
    for char, escape in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        body = body.replace(char, escape)
    return body
