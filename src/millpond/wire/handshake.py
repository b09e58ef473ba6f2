"""CONNECT and INFO (reference 01.2, 01.3)."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from millpond.base.ids import USER_PREFIX, decode_key
from millpond.wire.quote import quote


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

    @property
    def shown_user(self) -> str:
        """Who the client says it is, without secrets; "": nobody. A seed in the place of a public key is a secret."""
        return self._public_key() or self.user or ("[REDACTED]" if self.auth_token else "")

    def _public_key(self) -> str:
        return self.nkey if self.nkey and decode_key(USER_PREFIX, self.nkey) else ""

    @property
    def shown_user_label(self) -> str:
        """The same with its kind, for the log."""
        if key := self._public_key():
            return f"nkey:{key}"
        return f"user:{self.user}" if self.user else "token" if self.auth_token else ""

    @property
    def shown_user_words(self) -> str:
        """The same as nats-server says it of who is refused."""
        if key := self._public_key():
            return f'Nkey "{key}"'
        if self.user:
            return f"User {quote(self.user.encode('utf-8', 'surrogatepass'))}"
        return 'Token "[REDACTED]"' if self.auth_token else ""

    @property
    def shown_names(self) -> str:
        """`v1.0:python3:name`, as far as they are known, for the log."""
        return ":".join(part for part in (f"v{self.version}" if self.version else "", self.lang, self.name) if part)


_FIELDS: Final = {field.encode_name: field for field in msgspec.structs.fields(ConnectOptions)}
_ONLY_CHECKED: Final = {"remote_account": str, "proxy_sig": str, "import": tuple, "export": tuple}
"""Fields that mean nothing on a client's connection, whose types nats-server checks all the same."""
_INT_MAX: Final = 2**63


def decode_connect(data: bytes, before: ConnectOptions | None = None) -> ConnectOptions:
    """Reads as Go's encoding/json does, which nats-server uses.

    Field names match without regard to case, null leaves a field as it was, unknown ones are ignored. A bare
    `null` is an empty object, of a repeated field the last counts, but each one must have the right type; bytes
    that are not UTF-8 are replaced. A second CONNECT changes only the fields it names of the one `before`.
    Raises ValueError for anything that is not such an object.
    """
    changes: dict[str, Any] = {}
    for key, value in _object(data, "CONNECT"):
        name = _folded(key)
        if value is None or (name not in _FIELDS and name not in _ONLY_CHECKED):
            continue
        field = _FIELDS.get(name)
        kind = field.type if field is not None else _ONLY_CHECKED[name]
        if type(value) is not kind or (kind is int and not -_INT_MAX <= value < _INT_MAX):
            raise ValueError(f"CONNECT: {name} must be {kind.__name__}, it is {type(value).__name__}")
        if field is not None:
            changes[field.name] = _without_surrogates(value) if kind is str else value
        elif kind is tuple:
            _check_subject_lists(name, value)
    return msgspec.structs.replace(before or ConnectOptions(), **changes)


def check_info(data: bytes) -> None:
    """An INFO from a client means nothing, but it must be a JSON object. Raises ValueError."""
    _object(data, "INFO")


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_not_json)
"""Objects are tuples of pairs here, so that repeated names are seen; arrays are lists."""


def _object(data: bytes, verb: str) -> tuple[tuple[str, Any], ...]:
    try:
        raw = _DECODER.decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{verb} is not JSON: {error}") from None
    if raw is None:
        return ()
    if not isinstance(raw, tuple):
        raise ValueError(f"{verb} is not a JSON object")
    return raw


def _folded(key: str) -> str:
    """Go folds two letters beyond ASCII into it: the long s and the Kelvin sign."""
    return key.replace("\u017f", "s").replace("\u212a", "k").lower()


def _without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _check_subject_lists(name: str, value: tuple[tuple[str, Any], ...]) -> None:
    for key, subjects in value:
        if _folded(key) not in ("allow", "deny") or subjects is None:
            continue
        if not isinstance(subjects, list) or not all(item is None or isinstance(item, str) for item in subjects):
            raise ValueError(f"CONNECT: {name}.{key} must be a list of strings")


def encode_info(fields: dict[str, Any]) -> bytes:
    """The INFO line; there is a blank before its CRLF."""
    return b"INFO " + json.dumps(fields, separators=(",", ":")).encode() + b" \r\n"
