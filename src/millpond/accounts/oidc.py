"""Tokens of an OpenID Connect issuer: who they say somebody is, by keys that the issuer publishes (RFC 7519, RFC 7517).

    a token  -> its key is known            -> signature, issuer, audience, times        -> Claims, or nobody
             -> its key is not known (yet)  -> the keys are fetched anew (`server.oidc`)  -> once more, or nobody

Only RS256 and ES256, each with its own kind of key: a token cannot choose how it is verified. Nothing of a token is
ever logged. PyJWT is loaded here, where it is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import jwt
import msgspec
from jwt import PyJWK

from millpond.base import limits
from millpond.config.oidc import OidcOptions

log = logging.getLogger("millpond")

ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
"""By kind of key."""
LEEWAY_S: Final = 30
"""Clocks differ."""
LAST_S: Final = 9_000_000_000.0
"""In the year 2255: nanoseconds go a little further."""
REQUIRED: Final = ("exp", "sub", "iss", "aud")


class Claims(msgspec.Struct, frozen=True):
    """What a token says that is right."""

    subject: str
    ends_s: float
    """Unix time."""
    values: tuple[str, ...]
    """Of the claim that names users."""


class Unknown(Exception):
    """The token's key is not one of those that are known."""


class Issuer:
    """Whose tokens are believed. `ask` has its keys fetched; None: nobody does."""

    def __init__(self, options: OidcOptions) -> None:
        self.options = options
        self.ask: Callable[[], None] | None = None
        self._keys: dict[str, PyJWK] = {}
        self._waiting: dict[KeysAwaited, None] = {}

    def take(self, document: bytes) -> int:
        """Other keys from here on; how many. Raises ValueError for what is no set of keys, or has none of use."""
        found: dict[str, PyJWK] = {}
        try:
            rows = msgspec.json.decode(document, type=dict[str, Any]).get("keys")
        except msgspec.MsgspecError:
            raise ValueError("it is no JSON object") from None
        for row in rows[: limits.OIDC_KEYS_MAX] if isinstance(rows, list) else ():
            key = _key(row)
            if key is not None:
                found[row.get("kid") or ""] = key
        if not found:
            raise ValueError("there is no key for RS256 or ES256 in it")
        self._keys = found
        return len(found)

    def verify(self, token: str) -> Claims | None:
        """Who it says somebody is; None: it is not right. Raises Unknown."""
        try:
            key = self._key_of(jwt.get_unverified_header(token))
            found = jwt.decode(
                token, key.key, algorithms=[key.algorithm_name], audience=self.options.audience,
                issuer=self.options.issuer, leeway=LEEWAY_S, options={"require": list(REQUIRED)},
            )  # fmt: skip
            ends_s = min(float(found["exp"]) + LEEWAY_S, LAST_S)
            return Claims(str(found["sub"]), ends_s, _values(found, self.options.claim))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            log.debug("A token of the issuer is refused: %s", type(error).__name__)
            return None

    def _key_of(self, header: dict[str, Any]) -> PyJWK:
        if header.get("alg") not in ALGORITHMS.values():
            raise jwt.InvalidAlgorithmError                 # no key would do
        name = header.get("kid")
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        key = self._keys.get(name if isinstance(name, str) else "")
        if key is None:
            raise Unknown
        return key

    # --- who waits for keys ---

    def wait(self, awaited: KeysAwaited) -> bool:
        """False: too many do, or nobody fetches any."""
        if self.ask is None or len(self._waiting) >= limits.OIDC_WAITING_MAX:
            return False
        self._waiting[awaited] = None
        self.ask()
        return True

    def forget(self, awaited: KeysAwaited) -> None:
        """It waits no longer."""
        self._waiting.pop(awaited, None)

    def fetched(self) -> None:
        """The keys are those that there are: whoever waits is judged by them."""
        waiting, self._waiting = self._waiting, {}
        for awaited in waiting:
            awaited.judge()


class KeysAwaited:
    """A client whose token has a key that is not known yet (accounts.credential.Awaited)."""

    begun = True
    final = False

    def __init__(self, issuer: Issuer, judge: Callable[[], Any]) -> None:
        self._issuer, self._judge = issuer, judge
        self._done: Callable[[Any], None]

    def begin(self, done: Callable[[Any], None]) -> None:
        """`done(verdict)`, when the keys are there or cannot be had."""
        self._done = done
        if not self._issuer.wait(self):
            self.judge()

    def judge(self) -> None:
        """There will be no better moment."""
        self._done(self._judge())

    def give_up(self) -> None:
        """Nobody waits any more."""
        self._issuer.forget(self)


def is_token(text: str) -> bool:
    """Has it the form of a JWT?"""
    return text.startswith("eyJ") and text.count(".") == 2


def _key(row: Any) -> PyJWK | None:
    """None: it is not for signatures that are believed here."""
    if not isinstance(row, dict) or not isinstance(row.get("kid", ""), str) or row.get("use", "sig") != "sig":
        return None
    algorithm = ALGORITHMS.get(str(row.get("kty")))
    if algorithm is None or row.get("alg", algorithm) != algorithm or row.get("crv", "P-256") != "P-256":
        return None
    try:
        return PyJWK(row, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def _values(claims: dict[str, Any], name: str) -> tuple[str, ...]:
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    rows = found if isinstance(found, list) else [found]
    return tuple(row for row in rows if isinstance(row, str) and row)
