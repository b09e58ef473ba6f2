"""Rights of a scoped signing key, filled in for one user: `{{name()}}`, `{{tag(team)}}` and the like.

A tag that a user has several times makes as many subjects. What comes out as no subject is left out of what is allowed,
and refuses the user where it would have been denied; an allow list that is left empty allows nothing.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Final

import msgspec

from millpond.accounts.claims import Rights, Subjects, UserClaims
from millpond.base import limits
from millpond.subjects import pytokens

_TEMPLATE: Final = re.compile(r"\{{2}([^}]+)\}{2}")
_TAG: Final = re.compile(r"(tag|account-tag)\((.*)\)", re.I | re.S)


class TemplateError(ValueError):
    """These rights cannot be filled in for this user."""


class Account(msgspec.Struct, frozen=True):
    """What templates say of an account."""

    name: str = ""
    tags: tuple[str, ...] = ()


def filled_in(rights: Rights, user: UserClaims, account: Account) -> Rights:
    """The user's own rights. Raises TemplateError."""
    return msgspec.structs.replace(rights, pub=_part(rights.pub, user, account), sub=_part(rights.sub, user, account))


def _part(part: Subjects, user: UserClaims, account: Account) -> Subjects:
    allow = _subjects(part.allow, user, account, must=False)
    deny = _subjects(part.deny, user, account, must=True)
    if part.allow and not allow and ">" not in deny:
        deny = (*deny, ">")
    return Subjects(allow=allow, deny=deny)


def _subjects(texts: tuple[str, ...], user: UserClaims, account: Account, *, must: bool) -> tuple[str, ...]:
    """must: one that is no subject is an error."""
    if not any(_TEMPLATE.search(text) for text in texts):
        return texts
    found: list[str] = []
    for text in texts:
        wholes = [match.group() for match in _TEMPLATE.finditer(text)]
        values = [_values(text, whole[2:-2].strip(), user, account, must=must) for whole in wholes]
        count = 1
        for each in values:
            count *= len(each)
            if len(found) + count > limits.TEMPLATE_SUBJECTS_MAX:
                raise TemplateError(f"template expansion limit: {limits.TEMPLATE_SUBJECTS_MAX}")
        for chosen in product(*values):
            subject = text
            for whole, value in zip(wholes, chosen, strict=True):
                subject = subject.replace(whole, value)
            if pytokens.is_valid_filter(subject):
                found.append(subject)
            elif must:
                raise TemplateError("generated invalid subject")
    return tuple(found)


def _values(text: str, operation: str, user: UserClaims, account: Account, *, must: bool) -> tuple[str, ...]:
    simple = {
        "name()": user.name, "subject()": user.subject, "account-name()": account.name,
        "account-subject()": user.nats.issuer_account,
    }.get(operation.lower())  # fmt: skip
    if simple is not None:
        return (simple,)
    match = _TAG.fullmatch(operation)
    if match is None:
        raise TemplateError(f'template operation in "{text}": "{operation}" is not defined')
    of, name = match.groups()
    prefix = f"{name.lower()}:"
    tags = account.tags if of.lower() == "account-tag" else user.nats.tags
    found = tuple(tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix))
    if not found and must:
        raise TemplateError(f'generated invalid subject "{text}": "{name}" is not defined')
    return found or (" ",)
