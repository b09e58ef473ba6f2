"""A `tls` block out of a configuration file (reference 02.4). All readers raise ConfigError, in nats-server's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config import tls_context, values
from millpond.config.parser import Node
from millpond.config.security_file import entries
from millpond.config.source import ConfigError
from millpond.config.tls import (
    INSECURE_CIPHERS,
    OPENSSL_CIPHERS,
    OPENSSL_CURVES,
    TLS_13_CIPHERS,
    TlsClientOptions,
    TlsOptions,
)

WRONG: Final = "error parsing tls config, "
SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}")
OLD_VERSIONS: Final = {"1.0": "TLS 1.0", "1.1": "TLS 1.1"}
VERSIONS: Final = ("1.2", "1.3")


def tls(node: Node) -> TlsOptions:
    """The block's options, when its files can be used."""
    found = _read(node)
    found.pop("insecure", None)  # it is for clients
    _settle(node, found)
    return checked(node, TlsOptions(**found))


def client(node: Node) -> TlsClientOptions:
    """Of a block about connections that the server makes; what is for listeners only has no meaning there."""
    found = _read(node)
    pairs = found.pop("certs", ())
    if found.get("cert_file") or found.get("key_file"):
        _check_pair(node, found)
        pairs = ((found["cert_file"], found["key_file"]),)
    options = TlsClientOptions(
        pairs=pairs, **{name: value for name, value in found.items() if name in TlsClientOptions.__struct_fields__}
    )
    try:
        tls_context.client_context(options)
    except OptionError as error:
        raise ConfigError(node.place, str(error)) from None
    return options


def _read(node: Node) -> dict[str, Any]:
    """What the keys say, by fields of TlsOptions and TlsClientOptions, and `first`."""
    found: dict[str, Any] = {}
    insecure_allowed = False
    for key, entry in entries(node, "tls").items():
        word = key.lower()
        if word == "allow_insecure_cipher_suites":
            insecure_allowed = _boolean(word)(entry)
        elif word in READERS:
            name, read = READERS[word]
            found[name] = read(entry)
        elif word in REFUSED:
            _refuse(key, entry, REFUSED[word])
        else:
            raise ConfigError(entry.place, f'{WRONG}unknown field "{key}"')
    if found.get("certs") and found.get("cert_file"):
        raise ConfigError(node.place, f"{WRONG}cannot combine 'cert_file' option with 'certs' option")
    weak = [name for name in found.get("cipher_suites", ()) if name in INSECURE_CIPHERS]
    if weak and not insecure_allowed:
        raise ConfigError(
            node.place,
            f"insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: {', '.join(weak)}",
        )
    return found


def checked(node: Node, options: TlsOptions) -> TlsOptions:
    """The same, when OpenSSL takes the files."""
    try:
        tls_context.server_context(options)
    except OptionError as error:
        raise ConfigError(node.place, str(error)) from None
    return options


def _settle(node: Node, found: dict[str, Any]) -> None:
    """What follows from several keys together."""
    first = found.pop("first", None)
    if first is not None:
        found["handshake_first"], found["fallback_ns"] = first
    if found.get("timeout_ns") == 0:
        del found["timeout_ns"]
    found["verify"] = found.get("verify", False) or found.get("verify_and_map", False)
    if not found.get("certs"):
        _check_pair(node, found)


def _check_pair(node: Node, found: dict[str, Any]) -> None:
    for name in ("key_file", "cert_file"):
        if not found.get(name):
            raise ConfigError(node.place, f"missing '{name}' in TLS configuration")


def _refuse(key: str, node: Node, what: str) -> None:
    if node.value is not False:
        raise ConfigError(node.place, f"{key}: millpond does not serve {what}; remove it")


# --- values ---


def _filename(name: str) -> values.Reader:
    def read(node: Node) -> str:
        if not isinstance(node.value, str):
            raise ConfigError(node.place, f"{WRONG}expected '{name}' to be filename")
        return values.string(node)

    return read


def _boolean(name: str) -> Callable[[Node], bool]:
    def read(node: Node) -> bool:
        if not isinstance(node.value, bool):
            raise ConfigError(node.place, f"{WRONG}expected '{name}' to be a boolean")
        return node.value

    return read


def _strings(name: str) -> values.Reader:
    def read(node: Node) -> tuple[str, ...]:
        if not isinstance(node.value, list):
            raise ConfigError(node.place, f"{WRONG}expected '{name}' to be a list")
        if not node.value:
            raise ConfigError(node.place, f"{WRONG}'{name}' cannot be empty")
        return tuple(values.string(entry) for entry in node.value)

    return read


def _known(name: str, what: str, known: frozenset[str]) -> values.Reader:
    read_strings = _strings(name)

    def read(node: Node) -> tuple[str, ...]:
        found: tuple[str, ...] = read_strings(node)
        for word in found:
            if word not in known:
                raise ConfigError(node.place, f"unrecognized {what} {word}")
        return found

    return read


def _timeout(node: Node) -> int:
    if isinstance(node.value, str):
        timeout_ns = values.duration_ns(node.value)
        if timeout_ns is None:
            raise ConfigError(node.place, f'{WRONG}\'timeout\' invalid duration "{node.value}"')
    elif isinstance(node.value, int | float) and not isinstance(node.value, bool):
        timeout_ns = int(node.value * values.SECOND_NS)
    else:
        raise ConfigError(node.place, f"{WRONG}'timeout' wrong type")
    if not 0 <= timeout_ns <= limits.DURATION_MAX_NS:
        raise ConfigError(node.place, f"{WRONG}'timeout' is out of range")
    return timeout_ns


def _first(node: Node) -> tuple[bool, int]:
    """(the handshake comes first, how long to wait for that; 0: as long as it takes)."""
    if isinstance(node.value, bool):
        return node.value, 0
    if not isinstance(node.value, str):
        raise ConfigError(node.place, f"handshake_first should be a boolean or a string, not {values.kind(node.value)}")
    word = node.value.lower()
    if word in ("true", "on", "false", "off"):
        return word in ("true", "on"), 0
    if word in ("auto", "auto_fallback"):
        return True, limits.TLS_FIRST_FALLBACK_NS
    wait_ns = values.duration_ns(node.value)
    if wait_ns is None:
        raise ConfigError(node.place, f"field \"handshake_first\"'s value \"{node.value}\" is invalid")
    return True, max(0, wait_ns)


def _min_version(node: Node) -> str:
    if not isinstance(node.value, str):
        raise ConfigError(node.place, "error parsing tls config: 'min_version' wrong type; quote it")
    if node.value in OLD_VERSIONS:
        raise ConfigError(
            node.place, f"error parsing tls config: unsupported TLS version: {OLD_VERSIONS[node.value]}"
        )
    if node.value not in VERSIONS:
        raise ConfigError(node.place, f"error parsing tls config: unknown version: {node.value}")
    return node.value


def _pinned(node: Node) -> frozenset[str]:
    kind = "hex-encoded sha256 of DER encoded SubjectPublicKeyInfo"
    if not isinstance(node.value, list):
        raise ConfigError(node.place, f"{WRONG}expected 'pinned_certs' to be a list of {kind}")
    found = [values.string(entry).lower() for entry in node.value]
    for word in found:
        if not SHA256_HEX.fullmatch(word):
            raise ConfigError(node.place, f"{WRONG}'pinned_certs' key {word} does not look like {kind}")
    return frozenset(found)


def _rate(node: Node) -> int:
    if not isinstance(node.value, int) or isinstance(node.value, bool):
        raise ConfigError(node.place, f"{WRONG}'connection_rate_limit' wrong type")
    return max(0, node.value)


def _certs(node: Node) -> tuple[tuple[str, str], ...]:
    if not isinstance(node.value, list):
        raise ConfigError(node.place, f"error parsing certificates config: unsupported type, {values.kind(node.value)}")
    return tuple(_pair(entry) for entry in node.value)


def _pair(node: Node) -> tuple[str, str]:
    if not isinstance(node.value, dict):
        raise ConfigError(node.place, f"error parsing certificates config: unsupported type, {values.kind(node.value)}")
    found = {"cert_file": "", "key_file": ""}
    for key, entry in node.value.items():
        if not isinstance(entry.value, str):
            raise ConfigError(entry.place, "error parsing certificates config: a file's name is needed")
        if key not in found:
            raise ConfigError(entry.place, f'error parsing tls certs config, unknown field "{key}"')
        found[key] = values.string(entry)
    if not all(found.values()):
        raise ConfigError(
            node.place, "error parsing certificates config: both 'cert_file' and 'cert_key' options are required"
        )
    return found["cert_file"], found["key_file"]


def _check_known_urls(node: Node) -> None:
    """Read into `insecure`, which is false then."""
    if _boolean("verify_cert_and_check_known_urls")(node):
        raise ConfigError(node.place, "verify_cert_and_check_known_urls not supported in this context")


CIPHERS: Final = frozenset(OPENSSL_CIPHERS) | frozenset(TLS_13_CIPHERS)
READERS: Final[dict[str, tuple[str, values.Reader]]] = {
    "cert_file": ("cert_file", _filename("cert_file")),
    "key_file": ("key_file", _filename("key_file")),
    "ca_file": ("ca_file", _filename("ca_file")),
    "insecure": ("insecure", _boolean("insecure")),
    "verify": ("verify", _boolean("verify")),
    "verify_and_map": ("verify_and_map", _boolean("verify_and_map")),
    "verify_cert_and_check_known_urls": ("insecure", _check_known_urls),
    "cipher_suites": ("cipher_suites", _known("cipher_suites", "cipher", CIPHERS)),
    "curve_preferences": (
        "curve_preferences", _known("curve_preferences", "curve preference", frozenset(OPENSSL_CURVES))
    ),
    "timeout": ("timeout_ns", _timeout),
    "connection_rate_limit": ("connection_rate_limit", _rate),
    "pinned_certs": ("pinned_certs", _pinned),
    **dict.fromkeys(("handshake_first", "first", "immediate"), ("first", _first)),
    **dict.fromkeys(("certs", "certificates"), ("certs", _certs)),
    "min_version": ("min_version", _min_version),
}  # fmt: skip
"""Key -> (field of TlsOptions, or what `_settle` makes of it; how to read it)."""
REFUSED: Final = {
    "ocsp_peer": "OCSP",
    **dict.fromkeys(
        ("cert_store", "cert_match_by", "cert_match", "ca_certs_match", "cert_match_skip_invalid"),
        "certificate stores of Windows",
    ),
}
