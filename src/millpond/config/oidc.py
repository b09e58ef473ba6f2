"""OpenID Connect: an issuer whose signed tokens say who a client is (`authorization { oidc { } }`); an extra."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from millpond.base.errors import OptionError
from millpond.config import values
from millpond.config.parser import Node
from millpond.config.security_file import entries, unknown
from millpond.config.source import ConfigError

if TYPE_CHECKING:
    from millpond.config.options import Options

PREFIX: Final = "oidc:"
"""In front of the value of a claim, where it is the name of a user of the configuration."""
ANYBODY: Final = f"{PREFIX}*"
"""The user for values that no other one has."""


class OidcOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of `issuer` for `audience`; the value of `claim`, or one of its values, is a user's name."""

    issuer: str
    audience: str
    claim: str = "sub"
    """Where there is no such claim, a path through objects: `realm_access.roles`."""
    ca_file: str = ""
    """Who signs the issuer's certificate; empty: whoever the machine trusts."""


def oidc(node: Node) -> OidcOptions:
    """Raises ConfigError."""
    found: dict[str, str] = {}
    for key, entry in entries(node, "oidc").items():
        word = key.lower()
        if word in OidcOptions.__struct_fields__:
            found[word] = values.string(entry)
        else:
            unknown(key, entry, "oidc")
    for word in ("issuer", "audience"):
        if not found.get(word):
            raise ConfigError(node.place, f"oidc needs {word}: whose tokens are believed, and for whom they are made")
    parts = urlsplit(found["issuer"])
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigError(node.place, "the issuer of oidc is a URL, https://<host>, as its tokens name it")
    return OidcOptions(**found)


def check(options: Options) -> None:
    """Raises OptionError."""
    named = [user for user in options.users if user.is_oidc]
    if options.oidc is None:
        if named:
            raise OptionError("users by oidc need an issuer: authorization { oidc { issuer, audience } }")
        return
    if options.operator is not None:
        raise OptionError("oidc names users of the configuration, and with an operator there are none: leave one out")
    if not named:
        raise OptionError('oidc lets nobody in: users { oidc: <value of the claim> } say who may come, "*" is anybody')
    if find_spec("jwt") is None or find_spec("cryptography") is None:
        raise OptionError("oidc needs PyJWT and cryptography: pip install 'millpond[oidc]'")
