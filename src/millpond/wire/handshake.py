"""CONNECT and INFO (reference 01.2, 01.3)."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec


class ConnectOptions(msgspec.Struct, frozen=True):
    """What a client says of itself. Absent verbose, pedantic and echo are true."""

    verbose: bool = True
    pedantic: bool = True
    echo: bool = True
    tls_required: bool = False
    nkey: str = ""
    jwt: str = ""
    sig: str = ""
    auth_token: str = ""
    user: str = ""
    password: str = msgspec.field(default="", name="pass")
    name: str = ""
    lang: str = ""
    version: str = ""
    protocol: int = 0
    account: str = ""
    new_account: bool = False
    headers: bool = False
    no_responders: bool = False


_FIELDS: Final = {field.encode_name: field for field in msgspec.structs.fields(ConnectOptions)}


def decode_connect(data: bytes, before: ConnectOptions | None = None) -> ConnectOptions:
    """Field names match without regard to case, null leaves a field out, unknown ones are ignored.

    As in nats-server a bare `null` is an empty object, of a repeated field the last counts, and bytes
    that are not UTF-8 are replaced. A second CONNECT changes only the fields it names of the one `before`.
    Raises ValueError for anything that is not such an object.
    """
    try:
        raw = msgspec.json.decode(data.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"CONNECT is not JSON: {error}") from None
    if raw is None:
        return before or ConnectOptions()
    if not isinstance(raw, dict):
        raise ValueError("CONNECT is not a JSON object")
    given = {key.lower(): value for key, value in raw.items() if value is not None}
    try:
        named = {key: given[key] for key in _FIELDS if key in given}
        options = msgspec.convert(named, ConnectOptions)
        if before is None:
            return options
        changes = {_FIELDS[key].name: getattr(options, _FIELDS[key].name) for key in named}
        return msgspec.structs.replace(before, **changes)
    except msgspec.ValidationError as error:
        raise ValueError(f"CONNECT: {error}") from None


def encode_info(fields: dict[str, Any]) -> bytes:
    """The INFO line; there is a blank before its CRLF."""
    return b"INFO " + json.dumps(fields, separators=(",", ":")).encode() + b" \r\n"
