"""Operators, resolvers and the auth callout out of a configuration file (reference 02.1, 08.2).

What tokens say is judged where they are used; here they are texts. All readers raise ConfigError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from millpond.base.errors import OptionError
from millpond.base.ids import ACCOUNT_PREFIX, CURVE_PREFIX, decode_key
from millpond.config import values
from millpond.config.operator import TOKEN_PREFIX, CalloutOptions, OperatorOptions, ResolverOptions
from millpond.config.parser import Node
from millpond.config.security_file import array, entries, unknown
from millpond.config.source import ConfigError
from millpond.config.tls import TlsClientOptions

_MEMORY: Final = re.compile(r"(MEM|MEMORY)\s*", re.I)
_URL: Final = re.compile(r'URL\(\s*"?([^\s")]*)"?\s*\)\s*', re.I)
_DECORATED: Final = re.compile(r"\s*(?:-{3,}.*-{3,}\r?\n)([\w\-.=]+)(?:\r?\n-{3,}.*-{3,}(?:\r?\n|\Z))")


def _texts(node: Node) -> tuple[str, ...]:
    rows = node.value if isinstance(node.value, list) else [node]
    return tuple(values.string(row) for row in rows)


def _tokens(node: Node) -> tuple[str, ...]:
    """Files, or the tokens themselves."""
    return tuple(_token(node, text) for text in _texts(node))


def _token(node: Node, text: str) -> str:
    if not text.startswith(TOKEN_PREFIX):
        try:
            text = Path(text).read_text()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(node.place, f"error parsing operator JWT: open {text}: {reason.lower()}") from None
    found = _DECORATED.search(text)
    return found.group(1) if found is not None else text


def _resolver(node: Node) -> ResolverOptions:
    if isinstance(node.value, dict):
        return _block(node)
    text = values.string(node)
    if _MEMORY.search(text):
        return ResolverOptions()
    match = _URL.search(text)
    if match is None:
        raise ConfigError(
            node.place,
            'error parsing account resolver, should be MEM or URL("url") or a map containing dir and type '
            "state=[FULL|CACHE])",
        )
    url = match.group(1)
    if not re.match(r"https?://[^/]", url):
        raise ConfigError(node.place, "error parsing account resolver url: it is http://<host>… or https://<host>…")
    return ResolverOptions(kind="url", url=url if url.endswith("/") else f"{url}/")


def _timeout(node: Node) -> int:
    found = values.duration(node)
    if not found:
        raise ConfigError(node.place, "Fetch timeout 0s is too small")
    return found


_RESOLVER_KEYS: Final[dict[str, tuple[str, Callable[[Node], Any]]]] = {
    "type": ("kind", values.string), "dir": ("directory", values.string), "limit": ("limit", values.integer),
    "allow_delete": ("allow_delete", values.boolean), "hard_delete": ("hard_delete", values.boolean),
    "ttl": ("ttl_ns", values.duration), "interval": ("interval_ns", values.duration),
    "timeout": ("timeout_ns", _timeout),
}  # fmt: skip
_KINDS: Final = {"full": "full", "cache": "cache", "mem": "memory", "memory": "memory"}


def _block(node: Node) -> ResolverOptions:
    found: dict[str, Any] = {}
    for key, entry in entries(node, "a resolver").items():
        if key not in _RESOLVER_KEYS:
            unknown(key, entry, "resolver")
            continue
        name, read = _RESOLVER_KEYS[key]
        found[name] = read(entry)
    kind = _KINDS.get(str(found.get("kind", "")).lower())
    if kind is None:
        raise ConfigError(node.place, "error parsing account resolver, its type is full, cache or mem")
    if kind in ("full", "cache"):
        _check_directory(node, found.get("directory", ""))
    for name, word in (("interval_ns", "sync"), ("allow_delete", "allow_delete"), ("hard_delete", "hard_delete")):
        if kind == "cache" and (found.get(name) or (name == "hard_delete" and name in found)):
            raise ConfigError(node.place, f"CACHE does not accept {word}")
    if kind == "full" and found.get("ttl_ns"):
        raise ConfigError(node.place, "FULL does not accept ttl")
    if kind == "full" and "hard_delete" in found and not found.get("allow_delete"):
        raise ConfigError(node.place, "hard_delete has no effect without delete")
    return ResolverOptions(**{**found, "kind": kind})


def _check_directory(node: Node, directory: str) -> None:
    if not directory:
        raise ConfigError(node.place, "dir has no value and needs to point to a directory")
    path = Path(directory)
    if path.exists() and not path.is_dir():
        raise ConfigError(node.place, "dir needs to point to an accessible directory")


def _preload(node: Node) -> tuple[tuple[str, str], ...]:
    if not isinstance(node.value, dict):
        raise ConfigError(node.place, "preload should be a map of account_public_key:account_jwt")
    return tuple((key, values.string(entry)) for key, entry in node.value.items() if not entry.used)


def _resolver_tls(node: Node) -> TlsClientOptions:
    from millpond.config import tls_file  # and OpenSSL with it

    return tls_file.client(node)


READERS: Final[dict[str, Callable[[Node], Any]]] = {
    "tokens": _tokens, "keys": _texts, "resolver": _resolver, "resolver_tls": _resolver_tls, "preload": _preload,
    "pinned_accounts": lambda node: frozenset(_texts(node)), "default_sentinel": values.string,
}  # fmt: skip


def judge(name: str, node: Node, found: Any, judge_token: Callable[[str, str], None]) -> None:
    """What the tokens under this key are. Raises ConfigError."""
    rows: list[tuple[Node, str, str]] = []
    if name == "tokens":
        rows = [(node, "operator", token) for token in found]
    elif name == "preload" and isinstance(node.value, dict):
        rows = [(node.value[key], "account", token) for key, token in found]
    for row, kind, token in rows:
        try:
            judge_token(kind, token)
        except OptionError as error:
            raise ConfigError(row.place, str(error)) from None


def operator(found: dict[str, Any]) -> OperatorOptions | None:
    """What the keys said, by names of `OperatorOptions`. Raises OptionError; None: there is no operator."""
    if found.get("tokens") or found.get("keys"):
        return OperatorOptions(**found)
    if found.get("default_sentinel"):
        raise OptionError("default sentinel requires operators and accounts")
    return None


def callout(node: Node) -> CalloutOptions:
    found: dict[str, Any] = {"issuer": "", "users": ()}
    for key, entry in entries(node, "auth_callout").items():
        word = key.lower()
        if word == "issuer":
            found["issuer"] = _key(entry, ACCOUNT_PREFIX, "callout user to be a valid public account nkey")
        elif word in ("account", "acc"):
            found["account"] = values.string(entry)
        elif word in ("auth_users", "users"):
            found["users"] = tuple(values.string(row) for row in array(entry, "auth_users"))
        elif word in ("xkey", "key"):
            found["xkey"] = _key(entry, CURVE_PREFIX, "callout xkey to be a valid public xkey")
        elif word == "allowed_accounts":
            found["allowed_accounts"] = tuple(values.string(row) for row in array(entry, "allowed_accounts"))
        else:
            unknown(key, entry, "authorization callout", "Unknown")
    if not found["issuer"]:
        raise ConfigError(node.place, "Authorization callouts require an issuer to be specified")
    if not found["users"]:
        raise ConfigError(node.place, "Authorization callouts require authorized users to be specified")
    return msgspec.convert(found, CalloutOptions)


def _key(node: Node, prefix: int, what: str) -> str:
    """A public key; the text is not told, as it may be the secret half."""
    text = values.string(node)
    if decode_key(prefix, text) is None:
        raise ConfigError(node.place, f"Expected {what}")
    return text
