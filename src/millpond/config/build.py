"""From settings (names of `Options` fields, whoever gave them) to checked `Options`.

The command line and a file give settings by the same names, so that one overrides the other by a merge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config import dev, exchange
from millpond.config.options import JetStreamOptions, Options
from millpond.config.tls import TlsOptions

JETSTREAM: Final = "jetstream."
STORE_DIR_DEFAULT: Final = "./millpond-data"
TLS_FLAGS: Final = ("tls_on", "tls_cert", "tls_key", "tls_verify", "tls_ca")
"""What the command line says of TLS."""
PAYLOAD_DISCOURAGED_BYTES: Final = 8 * limits.MIB


def build(settings: Mapping[str, Any]) -> Options:
    """Raises OptionError for values that do not go together."""
    top = {name: value for name, value in settings.items() if not name.startswith(JETSTREAM)}
    inner = {name.removeprefix(JETSTREAM): value for name, value in settings.items() if name.startswith(JETSTREAM)}
    for name in ("host", "port"):
        if not top.get(name):
            top.pop(name, None)  # an empty host, or port 0, asks for the default
    if top.get("dev"):
        dev.take_defaults(top)
    _take_tls(top)
    enabled = top.pop("jetstream", False)
    store_dir = top.pop("store_dir", "") or (None if top.get("dev") else STORE_DIR_DEFAULT)
    if enabled:
        top["jetstream"] = JetStreamOptions(store_dir=store_dir, **inner)
    options = Options(**top)
    check(options)
    return options


def _take_tls(top: dict[str, Any]) -> None:
    """What the command line says of TLS replaces the files that the configuration names, not the rest of its block."""
    flags: dict[str, Any] = {name: top.pop(name) for name in TLS_FLAGS if name in top}
    if flags.get("tls_on") is False:
        top.pop("tls", None)
    elif flags:
        top["tls"] = _tls_of_flags(flags, top.get("tls") or TlsOptions())
    tls = top.get("tls")
    if tls is not None and not top.get("auth_timeout_ns"):
        top["auth_timeout_ns"] = tls.timeout_ns + limits.TLS_AUTH_EXTRA_NS


def _tls_of_flags(flags: Mapping[str, Any], before: TlsOptions) -> TlsOptions:
    import msgspec

    from millpond.config import tls_context

    if not flags.get("tls_cert"):
        raise OptionError("TLS Server certificate must be present and valid")
    if not flags.get("tls_key"):
        raise OptionError("TLS Server private key must be present and valid")
    options = msgspec.structs.replace(
        before, cert_file=flags["tls_cert"], key_file=flags["tls_key"], ca_file=flags.get("tls_ca", ""),
        verify=flags.get("tls_verify", False), certs=(), cipher_suites=(), curve_preferences=(), min_version="1.2",
    )  # fmt: skip
    tls_context.server_context(options)
    return options


def check(options: Options) -> None:
    """Ranges that nats-server checks at start. Raises OptionError."""
    for name in ("port", "http_port", "https_port"):
        value = getattr(options, name)
        if value is not None and not -1 <= value <= 65535:
            raise OptionError(f"{name} {value} is not a port; choose 1 to 65535, or -1 for any free one")
    if options.http_port and options.https_port:
        raise OptionError(
            f"can't specify both HTTP ({options.http_port}) and HTTPs ({options.https_port}) ports"
        )
    if options.https_port and options.tls is None:
        raise OptionError("TLS cert and key required for HTTPS")
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
    if options.oidc is not None or any(user.is_oidc for user in options.users):
        from millpond.config import oidc

        oidc.check(options)
    if options.admin_socket:
        check_admin_socket(options)
    if options.websocket is not None:
        from millpond.config import websocket_file

        websocket_file.check(options)
        check_guest(options, options.websocket.no_auth_user)
    if options.default_js_domain:
        from millpond.config import default_domains

        default_domains.check(options)
    if options.dev:
        dev.check(options)
    exchange.check(options)


def check_admin_socket(options: Options) -> None:
    """Raises OptionError."""
    import socket

    if not options.system_account:
        raise OptionError("admin_socket is a way into the system account, and there is none: leave one of both out")
    if not hasattr(socket, "SO_PEERCRED"):
        raise OptionError("admin_socket asks the kernel who connects, which works on Linux only: leave it out")


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
    check_guest(options, options.no_auth_user)


def check_guest(options: Options, name: str) -> None:
    """Whoever shows no credentials is one of the users. Raises OptionError."""
    if name and not options.users:
        raise OptionError(f'no_auth_user: "{name}" present, but users/nkeys are not defined')
    if name and all(user.name != name or user.is_oidc for user in options.users):
        raise OptionError(
            f'no_auth_user: "{name}" not present as user or nkey in authorization block or account configuration'
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
    found = [dev.NOTICE] if options.dev else []
    if options.default_js_domain:
        from millpond.config import default_domains

        found.append(default_domains.NOTICE)
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
