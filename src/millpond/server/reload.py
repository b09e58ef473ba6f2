"""New settings for a running server (reference 08.5): what may change takes effect, anything else refuses all.

A reload is as good as its configuration: when one setting cannot change, none does, and the old ones stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base.errors import OptionError
from millpond.config.options import JetStreamOptions, Options
from millpond.config.security import VISITOR
from millpond.config.tls import TlsOptions
from millpond.config.websocket import WebsocketOptions
from millpond.jetstream.go_json import duration_text
from millpond.server.server import Server

if TYPE_CHECKING:
    from millpond.config.operator import OperatorOptions

NANOSECONDS: Final = "_ns"
LOGGING: Final = (
    "debug", "trace", "trace_verbose", "trace_headers", "logtime", "logtime_utc", "log_file", "log_size_limit",
    "log_max_num", "syslog", "remote_syslog",
)  # fmt: skip
RELOADABLE: Final = (
    *LOGGING, "username", "password", "token", "auth_timeout_ns", "max_connections", "pid_file", "ports_file_dir",
    "max_control_line", "max_payload", "ping_interval_ns", "ping_max", "write_deadline_ns", "client_advertise",
    "max_traced_msg_len", "no_fast_producer_stall", "config_digest", "jetstream", "users", "accounts", "no_auth_user",
    "mappings", "server_tags", "server_metadata", "tls", "operator",
)  # fmt: skip
SILENT: Final = ("config_digest", "jetstream", "websocket tls", "no_auth_user")
SECRET: Final = ("username", "password", "token", "users")
LABELS: Final = ("server_tags", "server_metadata")
JETSTREAM_LIMITS: Final = ("max_memory", "max_file")


TLS_TEXTS: Final[dict[str, Callable[[Any], str]]] = {
    "tls": lambda options: f"tls = {'disabled' if options is None else 'enabled'}",
    "tls timeout": lambda timeout_ns: f"tls timeout = {timeout_ns / 1e9:g}",
    "tls pins": lambda pins: f"{len(pins)} pinned_certs",
    "tls first": lambda first: f"Client TLS handshake first: {str(first).lower()}",
    "tls fallback": lambda wait_ns: f"Client TLS handshake first fallback delay: {duration_text(wait_ns)}",
}
TLS_PARTS: Final = {
    "tls timeout": "timeout_ns", "tls pins": "pinned_certs", "tls first": "handshake_first",
    "tls fallback": "fallback_ns",
}  # fmt: skip
"""Parts of the `tls` block that are told on their own."""


class Change(msgspec.Struct, frozen=True):
    """One setting that differs."""

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        """`name = value` as nats-server logs it; a secret without its value."""
        name = "authorization timeout" if self.name == "auth_timeout_ns" else self.name.removesuffix(NANOSECONDS)
        if self.name in TLS_TEXTS:
            return TLS_TEXTS[self.name](self.new)
        if self.name in SECRET:
            return f"authorization {self.name}"
        if self.name == "operator":
            return "accounts"
        if self.name in ("accounts", "mappings", *LABELS):
            return self.name.removeprefix("server_")
        return f"{name} = {shown(self.name, self.new)}"


def shown(name: str, value: Any) -> str:
    """A value as Go prints it."""
    if name.endswith(NANOSECONDS):
        return f"{value / 1e9:g}s"
    return str(value).lower() if isinstance(value, bool) else str(value)


def changes(old: Options, new: Options) -> list[Change]:
    """What differs, in the order of `Options`. Raises OptionError when one of these cannot change while running."""
    found = [
        Change(field, getattr(old, field), getattr(new, field))
        for field in Options.__struct_fields__
        if getattr(old, field) != getattr(new, field)
    ]
    if old.tls is not None or new.tls is not None:  # files may have changed that keep their names
        found = [change for change in found if change.name != "tls"] + _tls_changes(old.tls, new.tls)
    if _without_tls(old.websocket) == _without_tls(new.websocket):  # its certificate may change, nothing else
        found = [change for change in found if change.name != "websocket"]
        if new.websocket is not None and new.websocket.tls is not None:
            found.append(Change("websocket tls", None, new.websocket.tls))
    if new.operator is not None and new.operator.resolver_tls is not None and new.operator == old.operator:
        found.append(Change("operator", old.operator, new.operator))
    for change in found:
        if change.name not in RELOADABLE and change.name not in (*TLS_PARTS, "websocket tls"):
            raise OptionError(
                f"config reload not supported for {change.name}: "
                f"old={shown(change.name, change.old)}, new={shown(change.name, change.new)}"
            )
    _check_guests(old, new)
    _check_operator(old.operator, new.operator)
    _check_jetstream(old.jetstream, new.jetstream)
    return found


def _without_tls(options: WebsocketOptions | None) -> WebsocketOptions | None:
    return None if options is None else msgspec.structs.replace(options, tls=None)


def _check_guests(old: Options, new: Options) -> None:
    """Who is a guest changes only when there are no guests any more because their user is gone."""
    before, after = ("" if each.no_auth_user == VISITOR else each.no_auth_user for each in (old, new))
    if before == after:
        return
    if after or before in [user.name for user in new.users]:
        raise OptionError(f"config reload not supported for no_auth_user: old={before}, new={after}")


def _check_operator(old: OperatorOptions | None, new: OperatorOptions | None) -> None:
    """Who is trusted stays, and so does where accounts come from; what is known of them may change."""
    if old is None or new is None:
        if old is not new:
            raise OptionError("config reload does not support moving to or from an account resolver")
        return
    if (old.tokens, old.keys) != (new.tokens, new.keys):
        raise OptionError("config reload not supported for operators")
    kinds = [options.resolver.kind if options.resolver is not None else "url" for options in (old, new)]
    if kinds[0] != kinds[1]:
        raise OptionError(f"config reload not supported for resolver: old={kinds[0]}, new={kinds[1]}")
    if old.resolver is None or new.resolver is None:
        changed = old.resolver is not new.resolver
        names = ["url"] if changed else []
    else:
        fields = old.resolver.__struct_fields__
        names = [name for name in fields if getattr(old.resolver, name) != getattr(new.resolver, name)]
    if names:
        raise OptionError(f"config reload not supported for {names[0].removesuffix(NANOSECONDS)} of resolver")


def _tls_changes(old: TlsOptions | None, new: TlsOptions | None) -> list[Change]:
    if old is None or new is None:
        return [Change("tls", old, new)]
    parts = [Change(name, getattr(old, field), getattr(new, field)) for name, field in TLS_PARTS.items()]
    parts.insert(1, Change("tls", None, new))  # nats-server's order
    return [part for part in parts if part.old != part.new]


def _check_jetstream(old: JetStreamOptions | None, new: JetStreamOptions | None) -> None:
    """Limits may grow; nothing else of a running JetStream changes, nor is it turned on or off."""
    if old is None or new is None:
        if old is not new:
            raise OptionError(f"config reload not supported for jetstream: old={_on(old)}, new={_on(new)}")
        return
    for field in JetStreamOptions.__struct_fields__:
        before, after = getattr(old, field), getattr(new, field)
        if before == after:
            continue
        if field == "store_dir":
            raise OptionError("config reload not supported for jetstream storage directory")
        if field not in JETSTREAM_LIMITS:
            raise OptionError(f"config reload not supported for jetstream {field}: old={before}, new={after}")
        if before == -1:
            raise OptionError("config reload not supported for jetstream dynamic max memory and store")
        if after == -1:
            raise OptionError("config reload not supported for jetstream max memory and max store")
        if after < before:
            raise OptionError("config reload not supported for decreasing jetstream max memory and store")


def _on(jetstream: JetStreamOptions | None) -> str:
    return "false" if jetstream is None else "true"


def apply(server: Server, new: Options) -> list[Change]:
    """Bring a running server to `new`. Raises OptionError, with everything as it was, when that is not possible."""
    found = changes(server.asked, new)
    if found:
        server.reload(new)
    return found
