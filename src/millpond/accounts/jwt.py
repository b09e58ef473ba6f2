"""NATS JWTs (reference 02.1, SEC-06): from text to claims that their issuer has signed, and back.

    header . claims . signature        each in base64 for URLs, without padding

A token of version 1 has its type beside the claims and is signed without the header; both kinds are read, version 2 is
written. Who the issuer is says nothing of whether it is trusted: that is for `operator` and `callout` to judge.
"""

from __future__ import annotations

import binascii
import re
import time
from typing import Any, Final, TypeVar

import msgspec

from millpond.accounts import claims as kinds
from millpond.accounts.claims import Claims, Head
from millpond.accounts.signing import KeyPair, base64_text, is_signed
from millpond.base import limits
from millpond.base.ids import ACCOUNT_PREFIX, BASE32, OPERATOR_PREFIX, SERVER_PREFIX, decode_key

VERSION: Final = 2
ALGORITHM: Final = "ed25519-nkey"
ALGORITHM_BEFORE: Final = "ed25519"
"""What tokens of version 1 call it; nats-server takes either for both."""
INT_MAX: Final = 2**63
_HEADER: Final = b'{"typ":"JWT","alg":"ed25519-nkey"}'
_DIGITS: Final = re.compile(r"[A-Za-z0-9_-]*")

_KINDS: Final[dict[str, tuple[type[Any], tuple[int, ...]]]] = {
    kinds.OPERATOR: (kinds.OperatorClaims, (OPERATOR_PREFIX,)),
    kinds.ACCOUNT: (kinds.AccountClaims, (ACCOUNT_PREFIX, OPERATOR_PREFIX)),
    kinds.USER: (kinds.UserClaims, (ACCOUNT_PREFIX,)),
    kinds.ACTIVATION: (kinds.ActivationClaims, (ACCOUNT_PREFIX, OPERATOR_PREFIX)),
    kinds.AUTH_REQUEST: (kinds.AuthRequestClaims, (SERVER_PREFIX,)),
    kinds.AUTH_RESPONSE: (kinds.AuthResponseClaims, (ACCOUNT_PREFIX,)),
}
"""What the claims of a type are, and which kinds of keys may be their issuers."""
_TYPES: Final = {kind: name for name, (kind, _) in _KINDS.items()}
_CHECKED_VERSION: Final = (kinds.OPERATOR, kinds.ACCOUNT, kinds.USER, kinds.ACTIVATION)
_OF_VERSION_1: Final = ("type", "tags", "issuer_account")
"""What version 1 has beside the claims, not in them."""

_ACCOUNT_1: Final = ("imports", "exports", "limits", "signing_keys", "revocations")

Kind = TypeVar("Kind", bound=Head)


class JwtError(ValueError):
    """A token that cannot be used; the text says why, and nothing of what is in it."""


def decode(token: str, kind: type[Kind]) -> Kind:
    """The claims of this kind, of which the signature is right. Raises JwtError."""
    found = decode_any(token)
    if not isinstance(found, kind):
        name = _TYPES[kind]
        raise JwtError("not an authorization request claim" if name.startswith("auth") else f"not {name} claim")
    return found


def decode_any(token: str) -> Claims:
    """Claims of any kind. Raises JwtError."""
    if len(token) > limits.JWT_BYTES_MAX:
        raise JwtError(f"token size {len(token)} exceeds maximum of {limits.JWT_BYTES_MAX} bytes: token too large")
    chunks = token.split(".")
    if len(chunks) != 3:
        raise JwtError("expected 3 chunks")
    _check_header(_object(_bytes(chunks[0])))
    members = _object(_bytes(chunks[1]))
    signature = _bytes(chunks[2])
    version, name, members = _kind(members)
    kind, issuers = _KINDS[name]
    try:
        found: Any = msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        raise JwtError(_without_values(error)) from None
    signed = chunks[1] if version <= 1 else f"{chunks[0]}.{chunks[1]}"
    if not is_signed(found.issuer, signature, signed.encode()):
        raise JwtError(f"claim failed V{1 if version <= 1 else 2} signature verification")
    if all(decode_key(prefix, found.issuer) is None for prefix in issuers):
        raise JwtError("the issuer's key is of a kind that does not issue such claims")
    return found  # type: ignore[no-any-return]


def decode_generic(token: str) -> tuple[Head, dict[str, Any]]:
    """Claims of a type that need not be known, and what is in them. Raises JwtError."""
    chunks = token.split(".")
    if len(token) > limits.JWT_BYTES_MAX or len(chunks) != 3:
        raise JwtError("expected 3 chunks")
    header = _object(_bytes(chunks[0]))
    _check_header(header)
    members, signature = _object(_bytes(chunks[1])), _bytes(chunks[2])
    try:
        head = msgspec.convert(members, Head)
        data = msgspec.convert(members.get("nats", {}), dict[str, Any])
    except msgspec.ValidationError as error:
        raise JwtError(_without_values(error)) from None
    version = 1 if header["alg"] == ALGORITHM_BEFORE else 2
    signed = chunks[1] if version == 1 else f"{chunks[0]}.{chunks[1]}"
    if not is_signed(head.issuer, signature, signed.encode()):
        raise JwtError(f"claim failed V{version} signature verification")
    return head, data


def _bytes(text: str) -> bytes:
    text = text.replace("\n", "").replace("\r", "")  # Go's decoder does not mind them
    if _DIGITS.fullmatch(text) is None or len(text) % 4 == 1:
        raise JwtError("illegal base64 data")
    return binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object; members that are null are as if they were not there."""
    try:
        found = msgspec.json.decode(data)
        if not isinstance(found, dict):
            raise JwtError("expected a JSON object")
        return {name: _without_null(value) for name, value in found.items() if value is not None}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise JwtError("invalid JSON") from None


def _without_null(value: Any) -> Any:
    """Raises JwtError for a number that is not one of 64 bits, which all are."""
    if isinstance(value, int) and not -INT_MAX <= value < INT_MAX:
        raise JwtError("a number is out of range")
    if isinstance(value, dict):
        return {name: _without_null(item) for name, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value


def _check_header(header: dict[str, Any]) -> None:
    kind, algorithm = header.get("typ", ""), header.get("alg", "")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise JwtError("not supported type")
    if not isinstance(algorithm, str) or algorithm.lower() not in (ALGORITHM, ALGORITHM_BEFORE):
        raise JwtError("unexpected algorithm")


def _kind(members: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """(version, type, the members as version 2 has them)."""
    body = members.get("nats", {})
    if not isinstance(body, dict):
        raise JwtError("expected `nats` to be an object")
    first = members.get("type", "")
    version, name = (1, first) if first else (body.get("version", 0), body.get("type", ""))
    if not isinstance(version, int) or not isinstance(name, str):
        raise JwtError("expected a version and a type")
    if version > VERSION:
        raise JwtError("JWT was generated by a newer version")
    if name in ("cluster", "server"):
        raise JwtError(f"{name.capitalize()}Claims are not supported")
    if name not in _KINDS:
        raise JwtError("a JWT of a type that is not known here")
    if name in _CHECKED_VERSION and version < 1:
        raise JwtError(f"library supports version {VERSION} or less - received {version}")
    return version, name, _migrated(name, members, body) if version == 1 else members


def _migrated(name: str, members: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Version 1 as version 2 has it."""
    moved = {key: members[key] for key in _OF_VERSION_1 if key in members}
    if name not in (kinds.USER, kinds.ACTIVATION):
        moved.pop("issuer_account", None)
    body = {key: value for key, value in body.items() if key not in ("tags", "version")}
    if name == kinds.ACTIVATION:
        body["kind"] = body.pop("type", "")
    elif name == kinds.USER:
        unlimited = dict.fromkeys(("subs", "data", "payload"), kinds.NO_LIMIT)
        body = {**unlimited, **body}
        body.pop("allowed_connection_types", None)
    elif name == kinds.ACCOUNT:
        body = {key: value for key, value in body.items() if key in _ACCOUNT_1}
        names = (*kinds.StreamLimits.__struct_fields__, "tiered_limits")
        if isinstance(body.get("limits"), dict):
            body["limits"] = {key: value for key, value in body["limits"].items() if key not in names}
    rest = {key: value for key, value in members.items() if key not in (*_OF_VERSION_1, "nats")}
    return {**rest, "nats": {**body, **moved, "version": 1}}


def _without_values(error: msgspec.ValidationError) -> str:
    """The place, and what was expected there; the value itself may be anything."""
    text, _, place = str(error).partition(" - at ")
    return f"{text.partition(', got ')[0]}{' at ' + place if place else ''}"


# --- out ---


def encode(claims: Claims, key: KeyPair, now_s: int = 0) -> str:
    """The claims as a token, issued by `key` now (Unix seconds; 0: the clock's). Its subject is set by the caller."""
    assert claims.subject, "claims are about somebody"
    body = msgspec.structs.replace(claims.nats, type=_TYPES[type(claims)], version=VERSION)
    issued: Any = msgspec.structs.replace(
        claims, issuer=key.public, issued_s=now_s or int(time.time()), token_id="", nats=body
    )
    head = Head(**{name: getattr(issued, name) for name in Head.__struct_fields__})
    issued = msgspec.structs.replace(issued, token_id=_digest(msgspec.json.encode(head)))
    signed = f"{base64_text(_HEADER)}.{base64_text(msgspec.json.encode(issued))}"
    return f"{signed}.{base64_text(key.sign(signed.encode()))}"


def _digest(data: bytes) -> str:
    """SHA-512/256 in base 32, which makes a token's id."""
    from cryptography.hazmat.primitives.hashes import SHA512_256, Hash

    state = Hash(SHA512_256())
    state.update(data)
    digest = state.finalize()
    number = int.from_bytes(digest, "big") << 4
    return "".join(BASE32[number >> shift & 31] for shift in reversed(range(0, 8 * len(digest) + 4, 5)))
