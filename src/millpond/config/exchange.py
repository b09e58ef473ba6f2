"""What accounts may import of each other (reference 02.3), judged before anything runs.

An import is made when its exporter exports a subject that contains it, to this account, and when no message could
come back to where it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING

from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.config.options import Options
from millpond.config.security import AccountOptions, Export, Import
from millpond.subjects import pytokens

if TYPE_CHECKING:
    from millpond.subjects.transform import Transform

Accounts = Mapping[str, AccountOptions]
Made = dict[str, list[Import]]
"""What each account imports already."""


def check(options: Options) -> None:
    """Raises OptionError when an export, an import or a mapping cannot be."""
    accounts = {account.name: account for account in options.accounts}
    for account in options.accounts:
        for at, export in enumerate(account.exports):
            check_export(export, accounts)
            check_latency(export, account.exports[: at + 1], has_events=bool(options.system_account))
    made: Made = {}
    for service in (False, True):
        for account in options.accounts:
            for wanted in account.imports:
                if wanted.service == service:
                    check_import(account, wanted, accounts, made)
                    made.setdefault(account.name, []).append(wanted)


def check_export(export: Export, accounts: Accounts) -> None:
    """Raises OptionError."""
    kind = "service" if export.service else "stream"
    for name in export.accounts or ():
        if name not in accounts:
            raise OptionError(f'"{name}" account not defined for {kind} export')
    if not pytokens.is_valid_filter(export.subject):
        raise OptionError(f'Error adding {kind} export "{export.subject}": invalid subject')
    position, tokens = export.account_position, export.subject.split(".")
    if position and (export.accounts is not None or position > len(tokens) or tokens[position - 1] != "*"):
        raise OptionError(
            f'Error adding {kind} export "{export.subject}": account_token_position {position} must be a "*" of the '
            "subject, and goes without a list of accounts"
        )


def check_latency(export: Export, known: Sequence[Export], *, has_events: bool) -> None:
    """Raises OptionError. known: what the account exports so far, this one included; has_events: somebody tells."""
    if export.latency is None:
        return
    subject, about = export.latency.subject, f'Error adding service latency sampling for "{export.subject}"'
    if not has_events:
        raise OptionError(f"{about}: system account not setup")
    trouble = ""
    if not pytokens.is_valid_subject(subject) or any(
        each.service and pytokens.is_subset(subject, each.subject) for each in known
    ):
        trouble = "invalid publish subject"
    elif export.response != "singleton":
        trouble = "bad service response type"
    if trouble:
        raise OptionError(f'{about} on subject "{subject}": {trouble}')


def check_import(account: AccountOptions, wanted: Import, accounts: Accounts, made: Made) -> None:
    """Raises OptionError when the account cannot import this beside what was made before."""
    kind = "service" if wanted.service else "stream"
    exporter = accounts.get(wanted.account)
    if exporter is None:
        raise OptionError(f'"{wanted.account}" account not defined for {kind} import')
    trouble = _trouble(account, wanted, exporter, made)
    if trouble:
        raise OptionError(f'Error adding {kind} import "{wanted.subject}": {trouble}')


def _trouble(account: AccountOptions, wanted: Import, exporter: AccountOptions, made: Made) -> str:
    if not pytokens.is_valid_filter(wanted.subject) or not pytokens.is_valid_filter(local_filter(wanted)):
        return "invalid subject"
    if export_for(exporter, wanted, account.name) is None:
        return f"{'service' if wanted.service else 'stream'} import not authorized"
    mine = [other for other in made.get(account.name, ()) if other.service == wanted.service]
    if wanted.service and any(
        other.account == wanted.account and local_filter(other) == local_filter(wanted) for other in mine
    ):
        return f'duplicate service import subject "{wanted.local}"'
    if not wanted.service and any(
        other.account == wanted.account and other.subject == wanted.subject for other in mine
    ):
        return "stream import already exists"
    for subject in {local_filter(wanted)} if wanted.service else {local_filter(wanted), wanted.subject}:
        if _comes_back(wanted.account, subject, wanted.service, made, {account.name}):
            return "import forms a cycle"
    try:
        inward(wanted) if wanted.service else outward(wanted)
    except ValueError as error:
        return f"failed to create mapping transform from {wanted.subject!r} to {wanted.local!r}: {error}"
    return ""


def export_for(exporter: AccountOptions, wanted: Import, account: str) -> Export | None:
    """The export that lets `account` import this; None: there is none."""
    exports = [export for export in exporter.exports if export.service == wanted.service]
    for export in exports:
        if export.subject == wanted.subject:
            return export if _is_approved(export, wanted.subject, account) else None
    for export in exports:
        if pytokens.is_subset(wanted.subject, export.subject):
            return export if _is_approved(export, wanted.subject, account) else None
    return None


def _is_approved(export: Export, subject: str, account: str) -> bool:
    if export.account_position:
        return subject.split(".")[export.account_position - 1] == account
    return not export.accounts or account in export.accounts


def _comes_back(
    account: str, subject: str, service: bool, made: Made, visited: set[str]
) -> bool:
    """Would what `account` gets under `subject` go on, by imports, to one of the `visited`?"""
    if len(visited) >= limits.IMPORTS_IN_A_ROW_MAX:
        return True
    for other in made.get(account, ()):
        here = other.subject if service else local_filter(other)
        if other.service != service or not pytokens.overlap(subject, here):
            continue
        if other.account in visited:
            return True
        inner = local_filter(other)
        further = inner if pytokens.is_subset(inner, subject) else subject
        if _comes_back(other.account, further, service, made, visited | {account}):
            return True
    return False


def check_mapping(source: str, destinations: Iterable[tuple[str, int]]) -> None:
    """Raises OptionError when what is published to `source` cannot be sent there."""
    from millpond.subjects.transform import TransformError, check_destination  # not for servers without mappings

    seen: set[str] = set()
    total = 0
    for subject, weight in destinations:
        total += weight
        trouble = f'duplicate entry for "{subject}"' if subject in seen else ""
        seen.add(subject)
        if total > 100:
            trouble = trouble or "total weight needs to be <= 100"
        try:
            check_destination(source, subject)
        except TransformError as error:
            trouble = trouble or str(error)
        if trouble:
            raise OptionError(f'Error adding mapping for "{source}" to "{subject}" : {trouble}')


# --- how subjects change on the way ---


def _numbered(subject: str) -> list[str]:
    """The tokens, each `*` as `$1`, `$2` and so on in order; what has a number keeps it."""
    numbers = count(1)
    return [f"${next(numbers)}" if token == "*" else token for token in subject.split(".")]


def _is_numbered(token: str) -> bool:
    return token[:1] == "$" and token[1:].isdecimal()


def local_filter(wanted: Import) -> str:
    """The local subject with `*` for its wildcards."""
    return ".".join("*" if _is_numbered(token) else token for token in wanted.local.split("."))


def outward(wanted: Import) -> Transform | None:
    """From the exporter's subjects to the local ones; None: they are the same. Raises ValueError."""
    if local_filter(wanted) == wanted.subject:
        return None
    from millpond.subjects.transform import Transform

    return Transform(wanted.subject, ".".join(_numbered(wanted.local)), strict=True)


def inward(wanted: Import) -> Transform | None:
    """From the local subjects to the exporter's; None: they are the same. Raises ValueError."""
    if local_filter(wanted) == wanted.subject:
        return None
    from millpond.subjects.transform import Transform

    outward(wanted)  # only what can be undone is an import
    numbers = [int(token[1:]) for token in _numbered(wanted.local) if _is_numbered(token)]
    stars = count(1)
    tokens = [f"${numbers.index(next(stars)) + 1}" if token == "*" else token for token in wanted.subject.split(".")]
    return Transform(local_filter(wanted), ".".join(tokens))


def common(a: str, b: str) -> str:
    """What two filters that overlap have in common, as a filter."""
    left, right = a.split("."), b.split(".")
    found: list[str] = []
    for at in range(max(len(left), len(right))):
        one = left[at] if at < len(left) and left[at] != ">" else ""
        other = right[at] if at < len(right) and right[at] != ">" else ""
        if not one or not other:
            longer = left if one else right if other else [">"]
            return ".".join(found + (longer[at:] if one or other else [">"]))
        found.append(other if one == "*" else one)
    return ".".join(found)


def exporter_filter(wanted: Import, subject: str) -> str:
    """The exporter's subjects that a local subscription to `subject` is about."""
    shared = common(subject, local_filter(wanted)).split(".")
    local = _numbered(wanted.local)
    by_number = {int(token[1:]): shared[at] for at, token in enumerate(local) if _is_numbered(token)}
    tokens, star = [], 0
    for token in wanted.subject.split("."):
        if token == "*":
            star += 1
            tokens.append(by_number[star])
        elif token == ">":
            tokens += shared[len(local) - 1 :]
        else:
            tokens.append(token)
    return ".".join(tokens)
