"""nats-server's command line, as it is: `-x`, `--x`, `-x value`, `-x=value`, `-DV` (reference 08.3).

Go's flag style fits no Python library: one or two dashes mean the same, a boolean takes its value only
after `=`, and parsing stops at the first word that is not a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from millpond.base.errors import OptionError

STRING, INTEGER, BOOLEAN = "string", "integer", "boolean"

FLAGS: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(("a", "addr", "net"), ("host", STRING)),
    **dict.fromkeys(("p", "port"), ("port", INTEGER)),
    **dict.fromkeys(("n", "name", "server_name"), ("server_name", STRING)),
    **dict.fromkeys(("P", "pid"), ("pid_file", STRING)),
    **dict.fromkeys(("m", "http_port"), ("http_port", INTEGER)),
    **dict.fromkeys(("ms", "https_port"), ("https_port", INTEGER)),
    "tls": ("tls_on", BOOLEAN),
    "tlscert": ("tls_cert", STRING),
    "tlskey": ("tls_key", STRING),
    "tlsverify": ("tls_verify", BOOLEAN),
    "tlscacert": ("tls_ca", STRING),
    "help_tls": ("help_tls", BOOLEAN),
    **dict.fromkeys(("c", "config"), ("config", STRING)),
    "t": ("check", BOOLEAN),
    **dict.fromkeys(("sl", "signal"), ("signal", STRING)),
    "client_advertise": ("client_advertise", STRING),
    "admin_socket": ("admin_socket", STRING),
    "ports_file_dir": ("ports_file_dir", STRING),
    **dict.fromkeys(("l", "log"), ("log_file", STRING)),
    "log_size_limit": ("log_size_limit", INTEGER),
    **dict.fromkeys(("T", "logtime"), ("logtime", BOOLEAN)),
    "logtime_utc": ("logtime_utc", BOOLEAN),
    **dict.fromkeys(("s", "syslog"), ("syslog", BOOLEAN)),
    **dict.fromkeys(("r", "remote_syslog"), ("remote_syslog", STRING)),
    "dev": ("dev", BOOLEAN),
    **dict.fromkeys(("D", "debug"), ("debug", BOOLEAN)),
    **dict.fromkeys(("V", "trace"), ("trace", BOOLEAN)),
    **dict.fromkeys(("VV", "DV", "DVV"), ("combined", BOOLEAN)),
    **dict.fromkeys(("js", "jetstream"), ("jetstream", BOOLEAN)),
    **dict.fromkeys(("sd", "store_dir"), ("store_dir", STRING)),
    "user": ("username", STRING),
    "pass": ("password", STRING),
    "auth": ("token", STRING),
    "max_payload": ("max_payload", INTEGER),
    "max_pending": ("max_pending", INTEGER),
    "max_connections": ("max_connections", INTEGER),
    "max_subscriptions": ("max_subscriptions", INTEGER),
    "max_control_line": ("max_control_line", INTEGER),
    "max_traced_msg_len": ("max_traced_msg_len", INTEGER),
    "ping_interval": ("ping_interval_ns", INTEGER),
    "sync": ("jetstream.sync", STRING),
    "memory": ("memory_bytes", STRING),
    "spin_us": ("spin_ns", INTEGER),
    **dict.fromkeys(("h", "help"), ("help", BOOLEAN)),
    **dict.fromkeys(("v", "version"), ("version", BOOLEAN)),
}
"""Flag -> (the setting, kind). The names are those of `Options`, but for what the command itself needs."""

NOT_YET: Final = {
    "cluster": "clustering", "routes": "clustering", "cluster_name": "clustering",
    "cluster_listen": "clustering", "cluster_advertise": "clustering", "no_advertise": "clustering",
    "connect_retries": "clustering", "profile": "profiling",
}  # fmt: skip
"""Flags of nats-server for parts that do not exist yet: refused by name, never ignored."""

TRUE, FALSE = ("1", "t", "true", "TRUE", "True", "T"), ("0", "f", "false", "FALSE", "False", "F")
COMBINED: Final = {
    "DV": ("debug", "trace"),
    "VV": ("trace", "trace_verbose"),
    "DVV": ("debug", "trace", "trace_verbose"),
}
COMMAND: Final = ("config", "check", "signal", "help", "help_tls", "version")
"""What is not a setting."""
SYNC_POLICIES: Final = ("always", "interval", "never")


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said: settings by their names in `Options`, and what the command is to do."""

    settings: dict[str, Any] = {}
    config: str = ""
    """The configuration file; "": none."""
    check: bool = False
    signal: str = ""
    help: bool = False
    help_tls: bool = False
    version: bool = False


def parse(argv: Sequence[str]) -> Flags:
    """Raises OptionError with the flag, what is wrong and what to write instead."""
    words = list(argv)
    given: dict[str, Any] = {}
    while words and words[0].startswith("-") and words[0] not in ("-", "--"):
        _take(words, given)
    if words and words[0].lower() in ("help", "version"):
        given[words[0].lower()] = True
    elif words:
        raise OptionError(f'unrecognized command: "{words[0]}"')
    command = {name: given.pop(name) for name in COMMAND if name in given}
    return Flags(settings=given, **command)


def _take(words: list[str], given: dict[str, Any]) -> None:
    """One flag, with its value, from the front of `words`."""
    name, equals, value = words.pop(0).lstrip("-").partition("=")
    if name in NOT_YET:
        raise OptionError(f"flag -{name}: {NOT_YET[name]} is not supported by millpond yet; remove the flag")
    if name not in FLAGS:
        raise OptionError(f"flag provided but not defined: -{name}{_suggestion(name)}")
    target, kind = FLAGS[name]
    if kind == BOOLEAN:
        on = _boolean(name, value) if equals else True
        given.update(dict.fromkeys(COMBINED.get(name, (target,)), on))
        return
    if not equals:
        if not words:
            raise OptionError(f"flag needs an argument: -{name}")
        value = words.pop(0)
    given[target] = READERS.get(target, _integer if kind == INTEGER else _string)(name, value)


def _suggestion(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, [*FLAGS, *NOT_YET], n=1)
    return f"; did you mean -{near[0]}?" if near else ""


def _boolean(name: str, value: str) -> bool:
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise OptionError(f"invalid boolean value {value!r} for -{name}; write true or false")


def _string(name: str, value: str) -> str:
    return value


def _integer(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise OptionError(f"invalid value {value!r} for flag -{name}: an integer is needed") from None


def _sync(name: str, value: str) -> str:
    if value not in SYNC_POLICIES:
        raise OptionError(f"invalid value {value!r} for flag -{name}: choose always, interval or never")
    return value


def parse_size(text: str) -> int:
    """`64MiB`, `64MB`, `1G`, plain bytes. Raises OptionError."""
    units = {"": 1, "B": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
    digits = text.strip().rstrip("iBbKkMmGgTt")
    unit = text.strip()[len(digits) :].upper().replace("IB", "").removesuffix("B")
    if not digits.isdigit() or unit not in units:
        raise OptionError(f"invalid size {text!r}; write for example 64MiB")
    return int(digits) * units[unit]


READERS: Final[dict[str, Callable[[str, str], Any]]] = {
    "jetstream.sync": _sync,
    "memory_bytes": lambda name, value: parse_size(value),
    "ping_interval_ns": lambda name, value: _integer(name, value) * 1_000_000_000,
    "spin_ns": lambda name, value: _integer(name, value) * 1000,
}
"""Settings that the command line writes in another unit than `Options` holds."""
