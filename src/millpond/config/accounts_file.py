"""Accounts out of a configuration file (reference 02.3). All readers raise ConfigError."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

from millpond.base.ids import ACCOUNT_PREFIX, decode_key
from millpond.config import values
from millpond.config.exchange_file import exports, imports, mappings
from millpond.config.parser import Node
from millpond.config.security import GLOBAL_ACCOUNT, AccountOptions, JetStreamLimits, Permissions, User
from millpond.config.security_file import entries, permissions, unknown, users, with_defaults
from millpond.config.source import ConfigError
from millpond.subjects import pytokens

_LIMITS: Final = {
    "max_connections": "max_connections", "max_conn": "max_connections",
    "max_subscriptions": "max_subscriptions", "max_subs": "max_subscriptions",
    "max_payload": "max_payload", "max_pay": "max_payload",
}  # fmt: skip
_LEAF_LIMITS: Final = ("max_leafnodes", "max_leafs")
_JETSTREAM: Final = {
    "max_memory": "max_memory", "max_mem": "max_memory", "mem": "max_memory", "memory": "max_memory",
    "max_store": "max_file", "max_file": "max_file", "max_disk": "max_file", "store": "max_file", "disk": "max_file",
    "max_streams": "max_streams", "streams": "max_streams",
    "max_consumers": "max_consumers", "consumers": "max_consumers",
    "max_bytes_required": "max_bytes_required", "max_stream_bytes": "max_bytes_required",
    "max_bytes": "max_bytes_required",
    "mem_max_stream_bytes": "memory_max_stream_bytes", "memory_max_stream_bytes": "memory_max_stream_bytes",
    "disk_max_stream_bytes": "file_max_stream_bytes", "store_max_stream_bytes": "file_max_stream_bytes",
    "max_ack_pending": "max_ack_pending",
}  # fmt: skip


class Accounts(NamedTuple):
    """What an `accounts` block says."""

    accounts: tuple[AccountOptions, ...]
    users: tuple[User, ...]


def accounts(node: Node) -> Accounts:
    """A map of accounts by name, or an array of names."""
    if isinstance(node.value, list):
        return Accounts(_names(node.value), ())
    found: list[AccountOptions] = []
    people: list[User] = []
    for name, entry in entries(node, "accounts").items():
        if entry.used:
            continue
        _check_name(name, entry)
        account, its_users = _account(name, entry)
        found.append(account)
        people += its_users
    return Accounts(tuple(found), tuple(people))


def _names(nodes: list[Node]) -> tuple[AccountOptions, ...]:
    names: list[str] = []
    for node in nodes:
        name = values.string(node)
        _check_name(name, node)
        if name in names:
            raise ConfigError(node.place, f"Duplicate Account Entry: {name}")
        names.append(name)
    return tuple(AccountOptions(name=name) for name in names)


def _check_name(name: str, node: Node) -> None:
    if name == GLOBAL_ACCOUNT:
        raise ConfigError(node.place, f'"{name}" is a Reserved Account')


def _account(name: str, node: Node) -> tuple[AccountOptions, tuple[User, ...]]:
    found: dict[str, Any] = {"name": name}
    people: tuple[User, ...] = ()
    defaults: Permissions | None = None
    for key, entry in entries(node, "an account").items():
        word = key.lower()
        if word == "nkey":
            found["nkey"] = _nkey(entry)
        elif word == "users":
            people = users(entry)
        elif word == "default_permissions":
            defaults = permissions(entry)
        elif word == "jetstream":
            found["jetstream"] = _jetstream(entry)
        elif word == "limits":
            found |= _limits(entry)
        elif word == "exports":
            found["exports"] = exports(entry)
        elif word == "imports":
            found["imports"] = imports(entry)
        elif word in ("mappings", "maps"):
            found["mappings"] = mappings(entry)
        elif word in ("msg_trace", "trace_dest"):
            found |= message_traces(key, entry)
        else:
            unknown(key, entry, "an account")
    return AccountOptions(**found), with_defaults(people, name, defaults)


def _nkey(node: Node) -> str:
    text = values.string(node)
    if decode_key(ACCOUNT_PREFIX, text) is None:
        raise ConfigError(node.place, f'Not a valid public nkey for an account: "{text}"')
    return text


def message_traces(key: str, node: Node) -> dict[str, Any]:
    """A destination, or a block of one and a sampling rate in percent."""
    if isinstance(node.value, str):
        return {"trace_destination": _destination(node)}
    if not isinstance(node.value, dict):
        raise ConfigError(node.place, f'Expected account message trace "{key}" to be a string or a map/struct')
    found: dict[str, Any] = {}
    for name, entry in entries(node, "account message trace").items():
        if name.lower() == "dest":
            found["trace_destination"] = _destination(entry)
        elif name.lower() == "sampling":
            found["trace_sampling"] = _sampling(entry)
        else:
            unknown(name, entry, "account message trace", "Unknown")
    if "trace_sampling" in found and "trace_destination" not in found:
        raise ConfigError(node.place, "Trace destination sampling ignored since no destination was set")
    return found


def _destination(node: Node) -> str:
    text = values.string(node)
    if not pytokens.is_valid_subject(text):
        raise ConfigError(node.place, f'Trace destination "{text}" is not valid')
    return text


def _sampling(node: Node) -> int:
    value = node.value
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?\d+%?", value):
            raise ConfigError(node.place, f'Invalid trace destination sampling value "{value}"')
        value = int(value.removesuffix("%"))
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(node.place, "Trace destination sampling should be an integer or a percentage")
    if not 1 <= value <= 100:
        raise ConfigError(node.place, f"Trace destination sampling value {value} is invalid, needs to be [1..100]")
    return value


def _limits(node: Node) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, entry in entries(node, "account limits").items():
        word = key.lower()
        if word in _LIMITS:
            found[_LIMITS[word]] = values.integer(entry)
        elif word in _LEAF_LIMITS:
            if values.integer(entry) >= 0:
                raise ConfigError(entry.place, f"{key}: millpond does not serve leaf nodes yet; remove it")
        else:
            unknown(key, entry, "account limits", "Unknown")
    return found


def _jetstream(node: Node) -> JetStreamLimits | None:
    value = node.value
    if isinstance(value, bool):
        return JetStreamLimits() if value else None
    if isinstance(value, str):
        if value.lower() not in ("enabled", "enable", "disabled", "disable"):
            raise ConfigError(node.place, "Expected 'enabled' or 'disabled' for string value")
        return JetStreamLimits() if value.lower().startswith("enable") else None
    found: dict[str, int | bool] = {}
    for key, entry in entries(node, "jetstream of an account").items():
        field = _JETSTREAM.get(key.lower())
        if field == "max_bytes_required":
            found[field] = values.boolean(entry)
        elif field is not None:
            found[field] = values.integer(entry)
        elif key.lower() == "cluster_traffic":
            if values.string(entry) not in ("system", ""):
                raise ConfigError(entry.place, f"{key}: millpond does not serve clustering yet; remove it")
        else:
            unknown(key, entry, "jetstream of an account")
    return msgspec.convert(found, JetStreamLimits)
