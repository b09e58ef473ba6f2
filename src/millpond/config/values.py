"""Values of configuration keys, each from a node of the tree to what `Options` holds. All raise ConfigError."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from millpond.base.durations import parse_duration
from millpond.config.parser import Node
from millpond.config.source import ConfigError

Reader = Callable[[Node], Any]

SECOND_NS: Final = 1_000_000_000
INT32_MAX: Final = (1 << 31) - 1
_SIZE_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def kind(value: object) -> str:
    """What people call this kind of value."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", datetime: "a date"}
    return names.get(type(value), "an array" if isinstance(value, list) else "a map")


def _expected(node: Node, what: str) -> ConfigError:
    return ConfigError(node.place, f"expected {what}, but this is {kind(node.value)}")


def string(node: Node) -> str:
    """A string, which must be text."""
    if not isinstance(node.value, str):
        raise _expected(node, "a string")
    if any("\ud800" <= char <= "\udfff" for char in node.value):
        raise ConfigError(node.place, "this string is not UTF-8")
    return node.value


def tags(node: Node) -> tuple[str, ...]:
    """One string or an array of them: trimmed, in lower case, each once, empty ones left out."""
    if isinstance(node.value, str):
        found = [string(node)]
    elif isinstance(node.value, list):
        found = [string(item) for item in node.value]
    else:
        raise _expected(node, "a string or an array of strings")
    return tuple(dict.fromkeys(tag for tag in (text.strip().lower() for text in found) if tag))


def texts(node: Node) -> dict[str, str]:
    """A map of strings; names keep their case."""
    if not isinstance(node.value, dict):
        raise _expected(node, "a map of strings")
    return {name: string(item) for name, item in node.value.items()}


def boolean(node: Node) -> bool:
    if not isinstance(node.value, bool):
        raise _expected(node, "true or false")
    return node.value


def integer(node: Node) -> int:
    if not isinstance(node.value, int) or isinstance(node.value, bool):
        raise _expected(node, "an integer")
    return node.value


def at_least(least: int) -> Reader:
    """An integer that is not below `least`."""

    def read(node: Node) -> int:
        value = integer(node)
        if value < least:
            raise ConfigError(node.place, f"{value} is too small; it must be at least {least}")
        return value

    return read


def int32_or_default(node: Node) -> int | None:
    """An integer that fits 32 bits; None for 0, which asks for the default."""
    value = integer(node)
    if not 0 <= value <= INT32_MAX:
        raise ConfigError(node.place, f"{value} is out of range; it must be 0 (the default) to {INT32_MAX}")
    return value or None


def count_or_default(node: Node) -> int | None:
    """An integer; None for 0, which asks for the default."""
    value = integer(node)
    if value < 0:
        raise ConfigError(node.place, f"{value} is negative")
    return value or None


def port(node: Node) -> int | None:
    """A TCP port, -1 for any free one; None for 0, which asks for the default."""
    return _checked_port(node, integer(node))


def _checked_port(node: Node, value: int) -> int | None:
    if not -1 <= value <= 65535:
        raise ConfigError(node.place, f"{value} is not a port; choose 1 to 65535, or -1 for any free one")
    return value or None


def listen(node: Node) -> tuple[str | None, int | None]:
    """(host, port) of `host:port`, `[v6]:port`, `:port` or a bare port; None: not given."""
    if not isinstance(node.value, str):
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return None, port(node)
        raise _expected(node, "a port or host:port")
    host, colon, digits = string(node).rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise ConfigError(node.place, f'could not parse address string "{node.value}"; write host:port')
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", digits):
        raise ConfigError(node.place, f'could not parse port "{digits}"')
    return (host[1:-1] if bracketed else host) or None, _checked_port(node, int(digits))


def duration_ns(text: str) -> int | None:
    """A duration, which may be negative; None when it is none."""
    return parse_duration(text.encode("utf-8", "surrogateescape"))


def duration(node: Node) -> int:
    """A duration as a string, in ns, not negative."""
    if not isinstance(node.value, str):
        raise _expected(node, 'a duration such as "2m"')
    value = parse_duration(string(node).encode("utf-8", "surrogateescape"))
    if value is None:
        raise ConfigError(node.place, 'this is not a duration; write for example "90s" or "1m30s"')
    if value < 0:
        raise ConfigError(node.place, "the duration is negative")
    return value


def old_duration(node: Node) -> int:
    """A duration in ns; an integer, as in old files, is a number of seconds."""
    if isinstance(node.value, str):
        return duration(node)
    value = count_or_default(node) or 0
    if value * SECOND_NS >= 1 << 63:
        raise ConfigError(node.place, "the duration is out of range")
    return value * SECOND_NS


def seconds_ns(node: Node) -> int:
    """A duration, or a number of seconds, in ns."""
    if isinstance(node.value, str):
        return duration(node)
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise _expected(node, 'a duration such as "2s" or a number of seconds')
    if not 0 <= node.value * SECOND_NS < 1 << 63:
        raise ConfigError(node.place, "the duration is out of range")
    return int(node.value * SECOND_NS)


def storage_size(node: Node) -> int:
    """An integer, or a string with one of K M G T, which are powers of 1024 there; -1: no limit of its own."""
    if not isinstance(node.value, str):
        size = integer(node)
        if size < -1:
            raise ConfigError(node.place, f"{size} is negative")
        return size
    text = string(node)
    if not text:
        return 0
    if text[-1] not in _SIZE_UNITS or not re.fullmatch(r"[0-9]{1,18}", text[:-1]):
        raise ConfigError(node.place, "sizes written as strings must be digits and one of K, M, G, T")
    size = int(text[:-1]) * _SIZE_UNITS[text[-1]]
    if size >= 1 << 63:
        raise ConfigError(node.place, "the size is out of range")
    return size
