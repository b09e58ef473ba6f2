"""What /accountz tells of an account that is known by its claims (reference 07.1): the token, and what is in it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.accounts import claims_rules as rules
from millpond.accounts.book import AccountBook, Known
from millpond.accounts.claims import Scope
from millpond.accounts.operator import trust
from millpond.config.operator import OperatorOptions
from millpond.jetstream.go_json import format_time

SECOND_NS: Final = 1_000_000_000
LAST_S: Final = 253_402_300_799
"""The end of the year 9999."""


def claimed(known: Known) -> dict[str, Any]:
    """From `jwt` on, in the server's order, without what is empty."""
    claims = known.claims
    revoked = _times(claims.nats.revocations)
    shown = {
        "jwt": known.token,
        "issuer_key": claims.issuer,
        "name_tag": claims.name or claims.subject,
        "tags": claims.nats.tags,
        "decoded_jwt": plain(claims),
        "validation_result_jwt": [
            {"description": issue.description, "blocking": issue.blocking, "time_check": issue.time_check}
            for issue in rules.of_account(claims)
        ],
        "revoked_user": revoked,
    }
    return {name: value for name, value in shown.items() if value}


def operators(options: OperatorOptions, book: AccountBook) -> dict[str, Any]:
    """What /varz tells of those who are trusted, on both sides of the name of the system account."""
    found = trust(options)
    return {
        "trusted_operators_jwt": found.tokens, "trusted_operators_claim": [plain(claims) for claims in found.claims],
        "pinned_account_fails": book.pinned_fails,
    }  # fmt: skip


def activations(known: Known, subject: str, *, service: bool) -> dict[str, Any]:
    """What an export says of the tokens that its importers need; {}: nothing."""
    for export in known.claims.nats.exports:
        if export.subject == subject and (export.type == "service") == service and export.token_req:
            revoked = _times(export.revocations)
            return {"token_req": True, **({"revoked_activations": revoked} if revoked else {})}
    return {}


def _times(revocations: dict[str, int]) -> dict[str, str]:
    """As texts, as far as years have four digits."""
    rows = sorted(revocations.items())
    return {key: format_time(max(0, min(at, LAST_S)) * SECOND_NS) for key, at in rows}


def plain(part: msgspec.Struct) -> dict[str, Any]:
    """As Go writes it: what is zero is left out, but never a part that has parts."""
    keeps = not part.__struct_config__.omit_defaults
    found = {}
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        if value or keeps or isinstance(value, msgspec.Struct):
            found[field.encode_name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return plain(value)
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, tuple):
        rows = sorted(value, key=_key) if any(isinstance(row, Scope) for row in value) else value
        return [_plain(row) for row in rows]
    return value


def _key(row: str | Scope) -> str:
    return row.key if isinstance(row, Scope) else row
