"""Users and permissions out of a configuration file (reference 02.1, 02.2). All readers raise ConfigError."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from millpond.base.ids import USER_PREFIX, decode_key
from millpond.config import values
from millpond.config.parser import Node
from millpond.config.security import Permissions, ResponsePermission, SubjectPermission, User
from millpond.config.source import ConfigError
from millpond.subjects import pytokens

CONNECTION_TYPES: Final = ("STANDARD", "WEBSOCKET", "LEAFNODE", "LEAFNODE_WS", "MQTT", "MQTT_WS", "IN_PROCESS")
_WHITE: Final = re.compile(r"[\t\n\v\f\r \x85\xa0]+")


def entries(node: Node, what: str) -> Mapping[str, Node]:
    """The entries of a map."""
    if not isinstance(node.value, dict):
        raise ConfigError(node.place, f"expected {what} to be a map, but this is {values.kind(node.value)}")
    return node.value


def array(node: Node, what: str) -> list[Node]:
    """The values of an array."""
    if not isinstance(node.value, list):
        raise ConfigError(node.place, f"expected {what} to be an array, but this is {values.kind(node.value)}")
    return node.value


def unknown(name: str, node: Node, where: str, word: str = "unknown") -> None:
    """Refuses a key that nobody knows, unless it is there to be referred to. `word` is nats-server's in that place."""
    if not node.used:
        raise ConfigError(node.place, f'{word} field "{name}" in {where}')


def users(node: Node) -> tuple[User, ...]:
    """The users of `authorization` or of an account, without the defaults that apply to them."""
    return tuple(_user(entry) for entry in array(node, "users"))


def with_defaults(found: Iterable[User], account: str, permissions: Permissions | None) -> tuple[User, ...]:
    """The users of `account`; `permissions` for those without their own."""
    return tuple(
        msgspec.structs.replace(user, account=account, permissions=user.permissions or permissions) for user in found
    )


def _user(node: Node) -> User:
    found: dict[str, Any] = {"nkey": "", "name": "", "password": "", "oidc": ""}
    for key, entry in entries(node, "a user").items():
        word = key.lower()
        if word == "nkey":
            found["nkey"] = values.string(entry)
        elif word == "oidc":
            found["oidc"] = values.string(entry)
        elif word in ("user", "username"):
            found["name"] = values.string(entry)
        elif word in ("pass", "password"):
            found["password"] = values.string(entry)
        elif word in ("permission", "permissions", "authorization"):
            found["permissions"] = permissions(entry)
        elif word in ("allowed_connection_types", "connection_types", "clients"):
            found["connection_types"] = _connection_types(entry)
        elif word == "proxy_required":
            if values.boolean(entry):
                raise ConfigError(entry.place, f"{key}: millpond does not serve trusted proxies yet; remove it")
        else:
            unknown(key, entry, "a user")
    nkey, claimed = found.pop("nkey"), found.pop("oidc")
    if claimed:
        if nkey or found["name"] or found["password"]:
            raise ConfigError(node.place, "Users by oidc take no names, passwords or nkeys")
        return User(**{**found, "name": f"oidc:{claimed}", "is_oidc": True})
    if not nkey and not found["name"]:
        raise ConfigError(node.place, "User entry requires a user")
    if not nkey:
        return User(**found)
    if decode_key(USER_PREFIX, nkey) is None:
        raise ConfigError(node.place, "Not a valid public nkey for a user")
    if found["name"] or found["password"]:
        raise ConfigError(node.place, "Nkey users do not take usernames or passwords")
    return User(**{**found, "name": nkey, "is_nkey": True})


def _connection_types(node: Node) -> tuple[str, ...]:
    words = [values.string(entry) for entry in array(node, "connection types")]
    for word in words:
        if word.upper() not in CONNECTION_TYPES:
            raise ConfigError(node.place, f'unknown connection type "{word}"')
    return tuple(word.upper() for word in words)


# --- permissions ---


def permissions(node: Node) -> Permissions:
    """`publish`, `subscribe`, `allow_responses`. Whoever may answer may publish nothing else, unless it is allowed."""
    publish = subscribe = responses = None
    for key, entry in entries(node, "permissions").items():
        word = key.lower()
        if word in ("pub", "publish", "import"):
            publish = _subject_permission(entry, queues=False)
        elif word in ("sub", "subscribe", "export"):
            subscribe = _subject_permission(entry, queues=True)
        elif word in ("publish_allow_responses", "allow_responses"):
            responses = _responses(entry)
        else:
            unknown(key, entry, "permissions", "Unknown")
    if responses is not None:
        publish = publish or SubjectPermission()
        publish = msgspec.structs.replace(publish, allow=publish.allow or ())
    return Permissions(publish, subscribe, responses)


def _subject_permission(node: Node, *, queues: bool) -> SubjectPermission | None:
    if not isinstance(node.value, dict):
        return SubjectPermission(_subjects(node, queues=queues) or None)
    found: dict[str, tuple[str, ...]] = {}
    for key, entry in node.value.items():
        if key.lower() in ("allow", "deny"):
            found[key.lower()] = _subjects(entry, queues=queues)
        else:
            unknown(key, entry, "permissions; only 'allow' and 'deny' are there", "Unknown")
    return SubjectPermission(found.get("allow") or None, found.get("deny", ())) if found else None


def _subjects(node: Node, *, queues: bool) -> tuple[str, ...]:
    rows = node.value if isinstance(node.value, list) else [node]
    return tuple(_subject(row, queues=queues) for row in rows)


def _subject(node: Node, *, queues: bool) -> str:
    text = values.string(node)
    if pytokens.is_valid_filter(text):
        return text
    words = [word for word in _WHITE.split(text) if word]
    if not queues or len(words) != 2:
        raise ConfigError(node.place, f'subject "{text}" is not a valid subject')
    for what, word in zip(("subject", "queue"), words, strict=True):
        if not pytokens.is_valid_filter(word):
            raise ConfigError(node.place, f'{what} "{word}" is not a valid {what}')
    return " ".join(words)


def _responses(node: Node) -> ResponsePermission | None:
    if isinstance(node.value, bool):
        return ResponsePermission() if node.value else None
    found: dict[str, int] = {}
    for key, entry in entries(node, "allow_responses").items():
        word = key.lower()
        if word in ("max", "max_msgs", "max_messages", "max_responses"):
            found["max_msgs"] = values.integer(entry)
        elif word in ("expires", "expiration", "ttl"):
            expires_ns = values.duration_ns(values.string(entry))
            if expires_ns is None:
                raise ConfigError(entry.place, 'this is not a duration; write for example "90s" or "1m30s"')
            found["expires_ns"] = expires_ns
        else:
            unknown(key, entry, "allow_responses", "Unknown")
    return ResponsePermission(**{name: value for name, value in found.items() if value})
