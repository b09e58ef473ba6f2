"""A `websocket` block out of a configuration file (reference 08.2, 09.4). All readers raise ConfigError."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from millpond.base.errors import OptionError
from millpond.config import values
from millpond.config.options import Options
from millpond.config.parser import Node
from millpond.config.security_file import entries, unknown
from millpond.config.websocket import WebsocketOptions

SCHEME_PORTS: Final = {"http": "80", "https": "443"}
OWN_HEADERS: Final = ("host", "content-length", "connection", "upgrade", "nats-no-masking")


def websocket(node: Node) -> WebsocketOptions:
    """The block's options; whether they go together with the rest is for `check`."""
    found: dict[str, Any] = {}
    for key, entry in entries(node, "websocket").items():
        word = key.lower()
        if word == "listen":
            host, port = values.listen(entry)
            found["host"], found["port"] = host, port or 0
        elif word == "tls":
            from millpond.config import tls_file  # and OpenSSL with it

            found["tls"] = tls_file.tls(entry)
        elif word in ("authorization", "authentication"):
            _authorization(entry, found)
        elif word in KEYS:
            name, read = KEYS[word]
            found[name] = read(entry)
        else:
            unknown(key, entry, "websocket")
    if not found.get("host"):
        found.pop("host", None)
    return WebsocketOptions(**found)


def _authorization(node: Node, found: dict[str, Any]) -> None:
    for key, entry in entries(node, "authorization").items():
        word = key.lower()
        if word in ("user", "username"):
            found["username"] = values.string(entry)
        elif word in ("pass", "password"):
            found["password"] = values.string(entry)
        elif word == "token":
            found["token"] = values.string(entry)
        elif word == "timeout":
            found["auth_timeout_ns"] = values.seconds_ns(entry)
        else:
            unknown(key, entry, "authorization")


def _port(node: Node) -> int:
    return values.port(node) or 0


def _strings(node: Node) -> tuple[str, ...]:
    rows = node.value if isinstance(node.value, list) else [node]
    return tuple(values.string(row) for row in rows)


KEYS: Final[dict[str, tuple[str, values.Reader]]] = {
    "port": ("port", _port),
    **dict.fromkeys(("host", "net"), ("host", values.string)),
    "advertise": ("advertise", values.string),
    "no_tls": ("no_tls", values.boolean),
    "same_origin": ("same_origin", values.boolean),
    **dict.fromkeys(
        ("allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"),
        ("allowed_origins", _strings),
    ),
    "handshake_timeout": ("handshake_timeout_ns", values.old_duration),
    **dict.fromkeys(("compress", "compression"), ("compression", values.boolean)),
    **{name: (name, values.string) for name in (
        "jwt_cookie", "user_cookie", "pass_cookie", "token_cookie", "no_auth_user"
    )},
    "headers": ("headers", values.texts),
    "ping_interval": ("ping_interval_ns", values.old_duration),
}  # fmt: skip


# --- what goes together ---


def check(options: Options) -> None:
    """Raises OptionError, in nats-server's words."""
    websocket = options.websocket
    if websocket is None or not websocket.port:
        return
    if websocket.tls is None and not websocket.no_tls:
        raise OptionError("websocket requires TLS configuration")
    for origin in websocket.allowed_origins:
        origin_parts(origin)
    if options.users and websocket.username:
        raise OptionError("websocket authentication username not compatible with presence of users/nkeys")
    if options.users and websocket.token:
        raise OptionError("websocket authentication token not compatible with presence of users/nkeys")
    if websocket.jwt_cookie and options.operator is None:
        raise OptionError(
            "trusted operators or trusted keys configuration is required for JWT authentication via cookie "
            f'"{websocket.jwt_cookie}"'
        )
    for name, value in websocket.headers.items():
        _check_header(name, value)


def _check_header(name: str, value: str) -> None:
    if name.lower() in OWN_HEADERS:
        raise OptionError(f'websocket: invalid header "{name}" not allowed')
    if name.lower().startswith("sec-websocket-"):
        raise OptionError(f'websocket: invalid header "{name}", "Sec-WebSocket-" prefix not allowed')
    if not name or any(char in "\r\n\0:" for char in name) or any(char in "\r\n\0" for char in value):
        raise OptionError(f"websocket: header {name!r} has a line end or a colon in it")


def origin_parts(origin: str) -> tuple[str, str, str]:
    """(scheme, host, port) of an allowed origin. Raises OptionError."""
    try:
        url = urlsplit(origin)
        port = str(url.port) if url.port is not None else SCHEME_PORTS.get(url.scheme, "")
    except ValueError as error:
        raise OptionError(f"unable to parse allowed origin: {error}") from None
    if url.scheme not in SCHEME_PORTS:
        why = "allowed origins must be absolute URLs with http or https scheme"
        raise OptionError(f'unable to parse allowed origin "{origin}": {why}')
    if not url.hostname:
        raise OptionError(f'unable to parse allowed origin "{origin}": host is required')
    return url.scheme, url.hostname, port
