"""What is wrong with claims whose signature is right (nats-io/jwt, `Validate`), as lists of issues.

nats-server refuses claims with an issue that blocks, or that is about time; it only shows the others.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

import msgspec

from millpond.accounts import jwt
from millpond.accounts.claims import (
    EVERYBODY,
    NO_LIMIT,
    AccountBody,
    AccountClaims,
    ActivationClaims,
    AuthResponseClaims,
    Export,
    ExternalAuthorization,
    Head,
    Import,
    Limits,
    Permissions,
    Rights,
    Scope,
    StreamLimits,
    UserClaims,
)
from millpond.base.ids import ACCOUNT_PREFIX, CURVE_PREFIX, SERVER_PREFIX, USER_PREFIX, decode_key
from millpond.subjects import pytokens
from millpond.wire.quote import quote

INFO_LENGTH_MAX = 8 * 1024
CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d+)?")
RESPONSE_TYPES = ("", "Singleton", "Chunked", "Stream")


class Issue(msgspec.Struct, frozen=True):
    description: str
    blocking: bool = True
    time_check: bool = False


Issues = Iterator[Issue]


def quoted(text: str) -> str:
    """As in nats-server's texts."""
    return quote(text.encode("utf-8", "surrogatepass"))


def is_blocking(issues: Iterable[Issue]) -> bool:
    """Are the claims to be refused, now?"""
    return any(issue.blocking or issue.time_check for issue in issues)


def of_user(claims: UserClaims) -> list[Issue]:
    found = [*_times(claims), *_permissions(claims.nats), *_rights(claims.nats)]
    account = claims.nats.issuer_account
    if account and not is_account(account):
        found.append(Issue("account_id is not an account public key"))
    return found


def of_response(claims: AuthResponseClaims) -> list[Issue]:
    body, found = claims.nats, []
    if decode_key(USER_PREFIX, claims.subject) is None:
        found.append(Issue("Subject must be a user public key"))
    if decode_key(SERVER_PREFIX, claims.audience) is None:
        found.append(Issue("Audience must be a server public key"))
    if not body.error and not body.jwt:
        found.append(Issue("Error or Jwt is required"))
    if body.error and body.jwt:
        found.append(Issue("Only Error or Jwt can be set"))
    if body.issuer_account and not is_account(body.issuer_account):
        found.append(Issue("issuer_account is not an account public key"))
    return [*found, *_times(claims)]


def of_account(claims: AccountClaims) -> list[Issue]:
    found = [*_times(claims), *_account(claims.nats, claims.subject)]
    if is_account(claims.issuer) and claims.nats.limits != Limits():
        found.append(Issue("self-signed account JWTs shouldn't contain operator limits", blocking=False))
    return found


def is_account(text: str) -> bool:
    """Is this an account's public key?"""
    return decode_key(ACCOUNT_PREFIX, text) is not None


def _times(claims: Head) -> Issues:
    now = int(time.time())
    if 0 < claims.expires_s < now:
        yield Issue("claim is expired", blocking=False, time_check=True)
    if claims.not_before_s > now:
        yield Issue("claim is not yet valid", blocking=False, time_check=True)


# --- subjects and permissions ---


def _subject(text: str) -> Issues:
    if not text:
        yield Issue("subject cannot be empty")
        return
    if " " in text:
        yield Issue(f"subject {quoted(text)} cannot have spaces")
    if text[0] == "." or text[-1] == ".":
        yield Issue(f"subject {quoted(text)} cannot start or end with a `.`")
    if ".." in text:
        yield Issue(f"subject {quoted(text)} cannot contain consecutive `.`")


def _permissions(rights: Permissions) -> Issues:
    for part, queues in ((rights.sub, True), (rights.pub, False)):
        for text in (*part.allow, *part.deny):
            words = text.split(" ")
            if len(words) > 2:
                yield Issue(f'Permission Subject "{text}" contains too many spaces')
                continue
            for word in words:
                yield from _subject(word)
            if len(words) == 2 and not queues:
                yield Issue(f'Permission Subject "{text}" is not allowed to contain queue')


def _rights(rights: Rights) -> Issues:
    for network in rights.networks:
        if not is_network(network):
            yield Issue(f"invalid cidr {quoted(network)} in user src limits")
    for window in rights.times:
        for name, text in (("start", window.start), ("end", window.end)):
            if not text:
                yield Issue(f"time ranges {name} must contain {'a start' if name == 'start' else 'an end'}")
            elif CLOCK.fullmatch(text) is None:
                yield Issue(f"{name} in time range is invalid {quoted(text)}")
    if rights.times_location and not is_zone(rights.times_location):
        zone = rights.times_location
        yield Issue(f"could not parse iana time zone by name: unknown time zone {zone}")


def is_network(text: str) -> bool:
    """An address and the length of its prefix, as Go reads it."""
    address, slash, digits = text.partition("/")
    try:
        ipaddress.ip_network(f"{address}/{int(digits)}", strict=False)
    except ValueError:
        return False
    return bool(slash) and digits.isdecimal() and "%" not in address


def is_zone(name: str) -> bool:
    """Does the machine, or `tzdata`, know this time zone?"""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if name in ("UTC", "Local"):
        return True
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


# --- accounts ---


def _account(body: AccountBody, subject: str) -> Issues:
    yield from _imports(body.imports, subject)
    yield from _exports(body.exports)
    limits = body.limits
    if limits.tiered_limits and "" in limits.tiered_limits:
        yield Issue('Tiered JetStream Limits can not contain a blank "" tier name')
    yield from _permissions(body.default_permissions)
    yield from _mappings(body)
    yield from _callout(body.authorization)
    yield from _trace(body)
    if limits != Limits() and 0 <= limits.imports < len(body.imports):
        yield Issue("the account contains more imports than allowed by the operator")
    if limits.imports != NO_LIMIT and len(body.imports) > limits.imports:
        yield Issue("the account contains more imports than allowed by the operator")
    if limits.exports != NO_LIMIT:
        if len(body.exports) > limits.exports:
            yield Issue("the account contains more exports than allowed by the operator")
        for export in body.exports:
            if not limits.wildcards and pytokens.has_wildcard(export.subject):
                yield Issue("the account contains wildcard exports that are not allowed by the operator")
    for key in body.signing_keys:
        if isinstance(key, Scope) and not is_account(key.key):
            yield Issue(f"{key.key} is not an account public key")
        elif isinstance(key, str) and not is_account(key):
            yield Issue(f"{quoted(key)} is not a valid account signing key")
    yield from _info(body.description, body.info_url)
    if body.cluster_traffic not in ("", "system", "owner"):
        yield Issue(f"unknown cluster traffic option: {quoted(body.cluster_traffic)}")


def _mappings(body: AccountBody) -> Issues:
    for source, rows in body.mappings.items():
        yield from _subject(source)
        totals: dict[str, int] = {}
        for row in rows:
            yield from _subject(row.subject)
            if row.percent > 100:
                yield Issue(f"Mapping {quoted(source)} has a weight {row.percent} that exceeds 100")
            totals[row.cluster] = totals.get(row.cluster, 0) + row.percent
            if row.cluster and totals[row.cluster] > 100:
                yield Issue(
                    f"Mapping {quoted(source)} in cluster {quoted(row.cluster)} exceeds 100% among all of it's "
                    "weighted to mappings"
                )
        if totals.get("", 0) > 100:
            yield Issue(f"Mapping {quoted(source)} exceeds 100% among all of it's weighted to mappings")


def _callout(given: ExternalAuthorization) -> Issues:
    if given.allowed_accounts and not given.auth_users:
        yield Issue("External authorization cannot have accounts without users specified")
    for user in given.auth_users:
        if decode_key(USER_PREFIX, user) is None:
            yield Issue(f"AuthUser {quoted(user)} is not a valid user public key")
    for name in given.allowed_accounts:
        if name == EVERYBODY and len(given.allowed_accounts) > 1:
            yield Issue(f"AllowedAccounts can only be a list of accounts or {quoted(EVERYBODY)}")
        elif name != EVERYBODY and not is_account(name):
            yield Issue(f"Account {quoted(name)} is not a valid account public key")
    if given.xkey and decode_key(CURVE_PREFIX, given.xkey) is None:
        yield Issue(f"XKey {quoted(given.xkey)} is not a valid public xkey")


def _trace(body: AccountBody) -> Issues:
    if body.trace is None:
        return
    for issue in _subject(body.trace.dest):
        yield Issue(f"the account Trace.Destination {issue.description}")
        break
    if pytokens.has_wildcard(body.trace.dest):
        yield Issue(f"the account Trace.Destination subject {quoted(body.trace.dest)} is not a valid publish subject")
    if not 0 <= body.trace.sampling <= 100:
        yield Issue(
            f"the account Trace.Sampling value '{body.trace.sampling}' is not valid, should be in the range [1..100]"
        )


def _info(description: str, url: str) -> Issues:
    if len(description) > INFO_LENGTH_MAX:
        yield Issue("Description is too long")
    if url:
        if len(url) > INFO_LENGTH_MAX:
            yield Issue("Info URL is too long")
        try:
            parts = urlsplit(url)
            is_url = bool(parts.scheme and parts.hostname)
        except ValueError:
            is_url = False
        if not is_url:
            yield Issue("error parsing info url: no hostname or scheme")


# --- exports and imports ---


def _exports(exports: tuple[Export, ...]) -> Issues:
    for export in exports:
        yield from _export(export)
    for service in (True, False):
        subjects = [each.subject for each in exports if (each.type == "service") == service]
        told: set[str] = set()
        for at, inner in enumerate(subjects):
            for other_at, outer in enumerate(subjects):
                if at != other_at and outer not in told and contains(outer, inner):
                    told.add(outer)
                    kind = "service" if service else "stream"
                    yield Issue(f"{kind} export subject {quoted(outer)} already exports {quoted(inner)}")


def _export(export: Export) -> Issues:
    service = export.type == "service"
    if export.type is None:
        yield Issue('invalid export type: "unknown"')
    if service and export.response_type not in RESPONSE_TYPES:
        yield Issue(f"invalid response type for service: {quoted(export.response_type)}")
    if export.type == "stream":
        if export.response_type:
            yield Issue(f"invalid response type for stream: {quoted(export.response_type)}")
        if export.allow_trace:
            yield Issue("AllowTrace only valid for service export")
    if export.service_latency is not None:
        if not service:
            yield Issue("latency tracking only permitted for services")
        sampling = export.service_latency.sampling
        if isinstance(sampling, int) and sampling != 0 and not 1 <= sampling <= 100:
            yield Issue("sampling percentage needs to be between 1-100")
        yield from _subject(export.service_latency.results)
        if pytokens.has_wildcard(export.service_latency.results):
            yield Issue("results subject can not contain wildcards")
    if export.response_threshold < 0:
        yield Issue("negative response threshold is invalid")
    if export.response_threshold > 0 and not service:
        yield Issue("response threshold only valid for services")
    yield from _subject(export.subject)
    yield from _position(export)
    yield from _info(export.description, export.info_url)


def _position(export: Export) -> Issues:
    position, subject = export.account_token_position, export.subject
    if position <= 0:
        return
    tokens = subject.split(".")
    if not pytokens.has_wildcard(subject):
        yield Issue(f"Account Token Position can only be used with wildcard subjects: {subject}")
    elif position > len(tokens):
        yield Issue(f"Account Token Position {position} exceeds length of subject '{subject}'")
    elif tokens[position - 1] != "*":
        yield Issue(
            f"Account Token Position {position} matches '{tokens[position - 1]}' but must match a * in: {subject}"
        )


def contains(outer: str, inner: str) -> bool:
    """Is all of `inner` in `outer`? Token by token; neither needs to be a subject."""
    theirs, mine = outer.split("."), inner.split(".")
    if len(mine) < len(theirs) or (len(mine) > len(theirs) and theirs[-1] != ">"):
        return False
    for at, token in enumerate(theirs):
        if token == ">" and at == len(theirs) - 1:
            return True
        if token not in (mine[at], "*"):
            return False
    return True


def local_of(wanted: Import) -> str:
    """Where requests for an imported service are published."""
    return wanted.to or as_filter(wanted.local_subject) or wanted.subject


def as_filter(subject: str) -> str:
    """With `*` for each reference to a wildcard."""
    tokens = subject.split(".")
    return ".".join("*" if token[:1] == "$" and token[1:].isdecimal() else token for token in tokens)


def _imports(imports: tuple[Import, ...], account: str) -> Issues:
    seen: dict[str, list[str]] = {}
    for wanted in imports:
        if wanted.type == "service":
            local = local_of(wanted)
            for other in seen.get(wanted.account, ()):
                if contains(other, local) or contains(local, other):
                    yield Issue(
                        f"overlapping subject namespace for {quoted(local)} and {quoted(other)} in same account "
                        f"{quoted(wanted.account)}"
                    )
            seen.setdefault(wanted.account, []).append(local)
        yield from of_import(wanted, account)


def of_import(wanted: Import, account: str) -> Issues:
    """Of one import into this account."""
    service = wanted.type == "service"
    if wanted.type is None:
        yield Issue('invalid import type: "unknown"')
    if service and wanted.allow_trace:
        yield Issue("AllowTrace only valid for stream import")
    if not wanted.account:
        yield Issue("account to import from is not specified")
    if wanted.to:
        yield Issue("the field to has been deprecated (use LocalSubject instead)", blocking=False)
    yield from _subject(wanted.subject)
    if wanted.local_subject:
        yield from _renamed(wanted.local_subject, wanted.subject)
        if wanted.to:
            yield Issue("Local Subject replaces To")
    if wanted.share and not service:
        yield Issue(
            f"sharing information (for latency tracking) is only valid for services: {quoted(wanted.subject)}"
        )
    if wanted.token:
        yield from _activation(wanted, account)


def _renamed(local: str, subject: str) -> Issues:
    yield from _subject(local)
    if (local.rsplit(".", maxsplit=1)[-1] == ">") != (subject.rsplit(".", maxsplit=1)[-1] == ">"):
        yield Issue("both, renaming subject and subject, need to end or not end in >")
    stars, used = subject.split(".").count("*"), 0
    for token in local.split("."):
        if token == "*":
            used += 1
        elif token[:1] == "$" and token[1:].isdecimal():
            if int(token[1:]) > stars:
                yield Issue(
                    f"Reference ${int(token[1:])} in {quoted(local)} reference * in {quoted(subject)} that do not exist"
                )
            else:
                used += 1
    if used != stars:
        yield Issue("subject does not contain enough * or reference wildcards $[0-9]")


def _activation(wanted: Import, account: str) -> Issues:
    try:
        found = jwt.decode(wanted.token, ActivationClaims)
    except jwt.JwtError:
        yield Issue(f"import {quoted(wanted.subject)} contains an invalid activation token")
        return
    body = found.nats
    if wanted.account not in (found.issuer, body.issuer_account):
        yield Issue(f"activation token doesn't match account for import {quoted(wanted.subject)}")
    if found.subject != account:
        yield Issue(f"activation token doesn't match account it is being included in, {quoted(wanted.subject)}")
    if body.kind != wanted.type:
        yield Issue(
            f"mismatch between token import type {body.kind or 'unknown'} and type of import "
            f"{wanted.type or 'unknown'}"
        )
    if body.kind is None:
        yield Issue('invalid import type: "unknown"')
    yield from _subject(body.subject)
    if body.issuer_account and not is_account(body.issuer_account):
        yield Issue("account_id is not an account public key")
    subject = wanted.to if wanted.type == "service" and wanted.to else wanted.subject
    if not contains(body.subject, subject):
        yield Issue(
            f"activation token import subject {quoted(body.subject)} doesn't match import {quoted(wanted.subject)}"
        )


def has_streams(limits: Limits) -> bool:
    """May an account with these limits have streams?"""
    rows: Iterable[StreamLimits] = limits.tiered_limits.values() if limits.tiered_limits else (limits.untiered,)
    return any(row.mem_storage != 0 or row.disk_storage != 0 for row in rows)
