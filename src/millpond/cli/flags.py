"""nats-server's command line, as it is: `-x`, `--x`, `-x value`, `-x=value`, `-DV` (reference 08.3).

Go's flag style fits no Python library: one or two dashes mean the same, a boolean takes its value only
after `=`, and parsing stops at the first word that is not a flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config.options import JetStreamOptions, Options

STRING, INTEGER, BOOLEAN = "string", "integer", "boolean"

FLAGS: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(("a", "addr", "net"), ("host", STRING)),
    **dict.fromkeys(("p", "port"), ("port", INTEGER)),
    **dict.fromkeys(("n", "name", "server_name"), ("server_name", STRING)),
    **dict.fromkeys(("P", "pid"), ("pid_file", STRING)),
    **dict.fromkeys(("m", "http_port"), ("http_port", INTEGER)),
    "client_advertise": ("client_advertise", STRING),
    "ports_file_dir": ("ports_file_dir", STRING),
    **dict.fromkeys(("l", "log"), ("log_file", STRING)),
    **dict.fromkeys(("T", "logtime"), ("logtime", BOOLEAN)),
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
    "ping_interval": ("ping_interval_s", INTEGER),
    "sync": ("sync", STRING),
    "memory": ("memory_bytes", STRING),
    "spin_us": ("spin_us", INTEGER),
    **dict.fromkeys(("h", "help"), ("help", BOOLEAN)),
    **dict.fromkeys(("v", "version"), ("version", BOOLEAN)),
}
"""Flag -> (what it sets, kind)."""

NOT_YET: Final = {
    "c": "configuration files", "config": "configuration files", "t": "configuration files",
    "sl": "signals by command", "signal": "signals by command",
    "ms": "HTTPS monitoring", "https_port": "HTTPS monitoring",
    "s": "syslog", "syslog": "syslog", "r": "syslog", "remote_syslog": "syslog",
    "tls": "TLS", "tlscert": "TLS", "tlskey": "TLS", "tlsverify": "TLS", "tlscacert": "TLS",
    "cluster": "clustering", "routes": "clustering", "cluster_name": "clustering",
    "cluster_listen": "clustering", "cluster_advertise": "clustering", "no_advertise": "clustering",
    "connect_retries": "clustering", "profile": "profiling", "log_size_limit": "log rotation",
    "help_tls": "TLS",
}  # fmt: skip
"""Flags of nats-server for parts that do not exist yet: refused by name, never ignored."""

TRUE, FALSE = ("1", "t", "true", "TRUE", "True", "T"), ("0", "f", "false", "FALSE", "False", "F")


class Flags(msgspec.Struct, frozen=True):
    """What the command line said. `help` and `version` want no server."""

    options: Options
    help: bool = False
    version: bool = False


def parse(argv: Sequence[str]) -> Flags:
    """Raises OptionError with the flag, what is wrong and what to write instead."""
    given = _read(list(argv))
    if given.pop("help", False):
        return Flags(Options(), help=True)
    if given.pop("version", False):
        return Flags(Options(), version=True)
    return Flags(_options(given))


def _read(words: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word == "--" or not word.startswith("-") or word == "-":
            raise OptionError(f"unrecognized command: {word!r}. Flags begin with '-'; see --help")
        name, equals, value = word.lstrip("-").partition("=")
        if name in NOT_YET:
            raise OptionError(f"flag -{name}: {NOT_YET[name]} is not supported by millpond yet; remove the flag")
        if name not in FLAGS:
            raise OptionError(f"flag provided but not defined: -{name}{_suggestion(name)}")
        target, kind = FLAGS[name]
        if kind == BOOLEAN:
            given[target] = _boolean(name, value) if equals else True
            if target == "combined" and given.pop(target):
                given["trace"] = True
                given["debug"] = given.get("debug", False) or name.startswith("D")
            continue
        if not equals:
            if not words:
                raise OptionError(f"flag needs an argument: -{name}")
            value = words.pop(0)
        given[target] = _integer(name, value) if kind == INTEGER else value
    return given


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


def _integer(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise OptionError(f"invalid value {value!r} for flag -{name}: an integer is needed") from None


def _options(given: dict[str, Any]) -> Options:
    store_dir = given.pop("store_dir", None)
    sync = given.pop("sync", "always")
    if sync not in ("always", "interval", "never"):
        raise OptionError(f"invalid value {sync!r} for flag -sync: choose always, interval or never")
    if given.pop("jetstream", False):
        given["jetstream"] = JetStreamOptions(store_dir=store_dir or default_store_dir(), sync=sync)
    if "memory_bytes" in given:
        given["memory_bytes"] = parse_size(given["memory_bytes"])
    if "spin_us" in given:
        given["spin_ns"] = given.pop("spin_us") * 1000
    if "ping_interval_s" in given:
        given["ping_interval_ns"] = given.pop("ping_interval_s") * 1_000_000_000
    options = Options(**given)
    check(options)
    return options


def default_store_dir() -> str:
    """Where JetStream keeps its data when nobody says: a folder in the working directory."""
    return "./millpond-data"


def parse_size(text: str) -> int:
    """`64MiB`, `64MB`, `1G`, plain bytes. Raises OptionError."""
    units = {"": 1, "B": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
    digits = text.strip().rstrip("iBbKkMmGgTt")
    unit = text.strip()[len(digits) :].upper().replace("IB", "").removesuffix("B")
    if not digits.isdigit() or unit not in units:
        raise OptionError(f"invalid size {text!r}; write for example 64MiB")
    return int(digits) * units[unit]


def check(options: Options) -> None:
    """Ranges that nats-server checks at start. Raises OptionError."""
    for name in ("port", "http_port"):
        value = getattr(options, name)
        if value is not None and not -1 <= value <= 65535:
            raise OptionError(f"{name} {value} is not a port; choose 1 to 65535, or -1 for any free one")
    if options.max_payload > options.max_pending:
        raise OptionError(
            f"max_payload ({options.max_payload}) cannot be higher than max_pending ({options.max_pending})"
        )
    if options.max_payload <= 0 or options.max_control_line <= 0:
        raise OptionError("max_payload and max_control_line must be above 0")
    if options.max_payload > limits.RECORD_BYTES_MAX:
        raise OptionError(f"max_payload {options.max_payload} is above the largest record, {limits.RECORD_BYTES_MAX}")
