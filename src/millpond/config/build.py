"""From settings (names of `Options` fields, whoever gave them) to checked `Options`.

The command line and a file give settings by the same names, so that one overrides the other by a merge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config import exchange
from millpond.config.options import JetStreamOptions, Options

JETSTREAM: Final = "jetstream."
STORE_DIR_DEFAULT: Final = "./millpond-data"
PAYLOAD_DISCOURAGED_BYTES: Final = 8 * limits.MIB


def build(settings: Mapping[str, Any]) -> Options:
    """Raises OptionError for values that do not go together."""
    top = {name: value for name, value in settings.items() if not name.startswith(JETSTREAM)}
    inner = {name.removeprefix(JETSTREAM): value for name, value in settings.items() if name.startswith(JETSTREAM)}
    for name in ("host", "port"):
        if not top.get(name):
            top.pop(name, None)  # an empty host, or port 0, asks for the default
    enabled = top.pop("jetstream", False)
    store_dir = top.pop("store_dir", "") or STORE_DIR_DEFAULT
    if enabled:
        top["jetstream"] = JetStreamOptions(store_dir=store_dir, **inner)
    options = Options(**top)
    check(options)
    return options


def check(options: Options) -> None:
    """Ranges that nats-server checks at start. Raises OptionError."""
    for name in ("port", "http_port"):
        value = getattr(options, name)
        if value is not None and not -1 <= value <= 65535:
            raise OptionError(f"{name} {value} is not a port; choose 1 to 65535, or -1 for any free one")
    if options.max_payload <= 0 or options.max_control_line <= 0:
        raise OptionError("max_payload and max_control_line must be above 0")
    if options.max_payload > options.max_pending:
        raise OptionError(
            f"max_payload ({options.max_payload}) cannot be higher than max_pending ({options.max_pending})"
        )
    if options.max_payload > limits.RECORD_BYTES_MAX:
        raise OptionError(f"max_payload {options.max_payload} is above the largest record, {limits.RECORD_BYTES_MAX}")
    if options.lame_duck_grace_period_ns >= options.lame_duck_duration_ns:
        raise OptionError(
            f"lame_duck_grace_period ({options.lame_duck_grace_period_ns // 10**9}s) should be strictly lower than "
            f"lame_duck_duration ({options.lame_duck_duration_ns // 10**9}s)"
        )
    if options.client_advertise:
        advertised(options.client_advertise, max(1, options.port))
    check_users(options)
    exchange.check(options)


def check_users(options: Options) -> None:
    """One name belongs to one user, and to a list of users belongs nobody else. Raises OptionError."""
    seen: set[str] = set()
    for user in options.users:
        if user.name in seen:
            raise OptionError(f'Duplicate {"nkey" if user.is_nkey else "user"} "{user.name}" detected')
        seen.add(user.name)
    if options.users and options.username:
        raise OptionError("Can not have a single user/pass and a users array")
    if options.users and options.token:
        raise OptionError("Can not have a token and a users array")
    if not options.no_auth_user:
        return
    if not options.users:
        raise OptionError(f'no_auth_user: "{options.no_auth_user}" present, but users/nkeys are not defined')
    if options.no_auth_user not in seen:
        raise OptionError(
            f'no_auth_user: "{options.no_auth_user}" not present as user or nkey in authorization block or account '
            "configuration"
        )


def advertised(text: str, port: int) -> tuple[str, int]:
    """(host, port) of `host:port` or a bare host. Raises OptionError."""
    host, colon, digits = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, digits = text, str(port)
    if not digits.isdecimal() or int(digits) > 65535:
        raise OptionError(f"invalid client_advertise {text!r}; write host or host:port")
    return host.strip("[]"), int(digits)


def notices(settings: Mapping[str, Any], options: Options) -> list[str]:
    """What a person should know about these settings, for the log; nothing here stops a start."""
    found = []
    jetstream = options.jetstream
    if jetstream is not None and "jetstream.sync_interval_ns" in settings and "jetstream.sync" not in settings:
        seconds = jetstream.sync_interval_ns / 1e9
        found.append(
            f"sync_interval {seconds:g}s weakens nothing here: every acknowledgement still waits for its own sync. "
            "Add `sync: interval` to the jetstream block to acknowledge first and sync at that interval"
        )
    if options.max_payload > PAYLOAD_DISCOURAGED_BYTES:
        found.append("Maximum payloads over 8.00 MB are generally discouraged and could lead to poor performance")
    return found
