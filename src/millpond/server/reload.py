"""New settings for a running server (reference 08.5): what may change takes effect, anything else refuses all.

A reload is as good as its configuration: when one setting cannot change, none does, and the old ones stay.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.base.errors import OptionError
from millpond.config.options import JetStreamOptions, Options
from millpond.server.server import Server

NANOSECONDS: Final = "_ns"
LOGGING: Final = (
    "debug", "trace", "trace_verbose", "logtime", "logtime_utc", "log_file", "log_size_limit", "log_max_num",
    "syslog", "remote_syslog",
)  # fmt: skip
RELOADABLE: Final = (
    *LOGGING, "username", "password", "token", "auth_timeout_ns", "max_connections", "pid_file", "ports_file_dir",
    "max_control_line", "max_payload", "ping_interval_ns", "ping_max", "write_deadline_ns", "client_advertise",
    "max_traced_msg_len", "no_fast_producer_stall", "config_digest", "jetstream", "users", "accounts", "no_auth_user",
    "mappings", "server_tags", "server_metadata",
)  # fmt: skip
SILENT: Final = ("config_digest", "jetstream")
SECRET: Final = ("username", "password", "token", "users")
LABELS: Final = ("server_tags", "server_metadata")
JETSTREAM_LIMITS: Final = ("max_memory", "max_file")


class Change(msgspec.Struct, frozen=True):
    """One setting that differs."""

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        """`name = value` as nats-server logs it; a secret without its value."""
        name = "authorization timeout" if self.name == "auth_timeout_ns" else self.name.removesuffix(NANOSECONDS)
        if self.name in SECRET:
            return f"authorization {self.name}"
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
    for change in found:
        if change.name not in RELOADABLE:
            raise OptionError(
                f"config reload not supported for {change.name}: "
                f"old={shown(change.name, change.old)}, new={shown(change.name, change.new)}"
            )
    _check_jetstream(old.jetstream, new.jetstream)
    return found


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
