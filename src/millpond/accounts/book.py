"""The accounts that a server knows by their claims (reference 02.1, SEC-06), as the rest of the house knows accounts.

    token -> claims, verified -> Known -> AccountOptions, with the imports that can be made now

What an import needs is another account, which may not be here yet, and perhaps an activation, which ends; so the
options of all are made anew when one changes, and at `next_change_s`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from millpond.accounts import claims_rules as rules
from millpond.accounts import jwt
from millpond.accounts.claims import (
    EVERYBODY,
    AccountClaims,
    ActivationClaims,
    Permissions,
    Scope,
    StreamLimits,
    Subjects,
)
from millpond.accounts.claims import Export as ExportClaim
from millpond.accounts.claims import Import as ImportClaim
from millpond.base import limits
from millpond.base.errors import MillpondError, OptionError
from millpond.config import exchange, security
from millpond.config.security import TIER, AccountOptions, Destination, Export, Import, JetStreamLimits, Latency
from millpond.config.security import Mapping as Mapped
from millpond.subjects import pytokens

log = logging.getLogger("millpond")

INT32_MAX: Final = 2**31 - 1
RESPONSES: Final[dict[str, security.Response]] = {"Stream": "stream", "Chunked": "chunked"}


class AccountError(MillpondError):
    """An account that cannot be had; the text is nats-server's."""


class Known(msgspec.Struct, kw_only=True):
    """One account. `expired`: nobody is let in, though others may import of it."""

    claims: AccountClaims
    token: str
    strict: bool
    """Users are issued by signing keys alone."""
    updated_s: float = 0.0
    complete: bool = True
    """All its imports could be made."""
    own: AccountOptions | None = None
    """What its claims come to without imports, once that is known."""
    activations: dict[ImportClaim, ActivationClaims | None] = {}
    """The tokens of its imports that were looked at; None: it is worth nothing. Their times were not."""

    @property
    def name(self) -> str:
        return self.claims.subject

    @property
    def label(self) -> str:
        """As logs name it."""
        return f"{self.name}/{self.claims.name}" if self.claims.name else self.name

    def options(self) -> AccountOptions:
        """Without its imports; made once, as claims do not change."""
        if self.own is None:
            self.own = _without_imports(self)
        return self.own

    def activation(self, wanted: ImportClaim) -> ActivationClaims | None:
        """Of one of its imports; None: it has none that is good. Signatures are verified once."""
        if wanted not in self.activations:
            blocking = any(issue.blocking for issue in rules.of_import(wanted, self.name))
            self.activations[wanted] = None if blocking else jwt.decode(wanted.token, ActivationClaims)
        return self.activations[wanted]

    @property
    def scopes(self) -> dict[str, Scope | None]:
        """Who issues users of this account, and for which of them the key says what they may do."""
        own: dict[str, Scope | None] = {} if self.strict else {self.name: None}
        return {**self.claims.nats.scopes, **own}

    @property
    def expired(self) -> bool:
        return 0 < self.claims.expires_s <= int(time.time())

    @property
    def has_callout(self) -> bool:
        """Does somebody else decide who its users are?"""
        return bool(self.claims.nats.authorization.auth_users)


def decoded(token: str) -> AccountClaims:
    """What the token of an account says. Raises AccountError."""
    try:
        return jwt.decode(token, AccountClaims)
    except jwt.JwtError as error:
        raise AccountError(str(error)) from None


def is_revoked(revocations: Mapping[str, int], key: str, issued_s: int) -> bool:
    """Is what was issued at that time for this key worth nothing any more?"""
    return any(issued_s <= revocations[each] for each in (EVERYBODY, key) if each in revocations)


class Directory(Protocol):
    """Where accounts come from that are not in the book yet."""

    def fetch(self, name: str, done: Callable[[], None], address: str = "") -> None:
        """`done()`, from the loop, when the account is in the book, or cannot be had. address: of who needs it."""


class AccountBook:
    """trusted: keys of operators. strict: those of them whose accounts issue users by signing keys alone."""

    def __init__(self, trusted: Iterable[str], strict: Iterable[str] = ()) -> None:
        self.trusted = frozenset(trusted)
        self._strict = frozenset(strict)
        self.known: dict[str, Known] = {}
        self.directory: Directory | None = None
        self.pinned_fails = 0
        """Users of accounts whose users are not let in."""
        self.next_change_s = 0
        """When an activation, or an account, ends (Unix time); 0: nothing does."""

    def verified(self, token: str, name: str = "") -> AccountClaims:
        """The claims, if they are to be believed now, and about this account. Raises AccountError."""
        claims = decoded(token)
        wrong = claims.issuer not in self.trusted or rules.is_blocking(rules.of_account(claims))
        if wrong or name not in ("", claims.subject):
            raise AccountError("account validation failed")
        return claims

    def put(self, token: str, name: str = "") -> Known | None:
        """Take an account's claims; None: they are the same as before. Raises AccountError."""
        before = self.known.get(name)
        if before is not None and before.token == token and before.complete:
            return None
        claims = self.verified(token, name)
        strict = claims.issuer in self._strict
        known = Known(claims=claims, token=token, strict=strict, updated_s=time.time())
        self.known[claims.subject] = known
        return known

    def forget(self, name: str) -> None:
        self.known.pop(name, None)

    def missing(self) -> set[str]:
        """Accounts that others import of, and that are not here."""
        wanted = {each.account for known in self.known.values() for each in known.claims.nats.imports}
        return {name for name in wanted - set(self.known) if rules.is_account(name)}

    def options(self) -> tuple[AccountOptions, ...]:
        """All accounts, with the imports that can be made now."""
        ends = [known.claims.expires_s for known in self.known.values() if known.claims.expires_s and not known.expired]
        without = {name: known.options() for name, known in self.known.items()}
        made: exchange.Made = {}
        for known in self.known.values():
            known.complete = True
        for service in (False, True):
            for known in self.known.values():
                for wanted in known.claims.nats.imports:
                    if (wanted.type == "service") == service and not self._make(known, wanted, without, made, ends):
                        known.complete = False
        self.next_change_s = min(ends, default=0)
        return tuple(
            msgspec.structs.replace(found, imports=tuple(made.get(name, ()))) for name, found in without.items()
        )

    def _make(
        self, known: Known, asked: ImportClaim, accounts: Mapping[str, AccountOptions], made: exchange.Made,
        ends: list[int],
    ) -> bool:
        kind = asked.type or "stream"
        exporter = accounts.get(asked.account)
        if exporter is None:
            return False
        try:
            wanted = _import(asked)
            exchange.check_import(accounts[known.name], wanted, accounts, made)
            self._check_activation(known, asked, wanted, exporter, ends)
        except OptionError as error:
            log.debug("Error adding %s import to account [%s]: %s", kind, known.label, error)
            return False
        made.setdefault(known.name, []).append(wanted)
        return True

    def _check_activation(
        self, known: Known, asked: ImportClaim, wanted: Import, exporter: AccountOptions, ends: list[int]
    ) -> None:
        """Raises OptionError when the export asks for a token that the import does not have."""
        found = exchange.export_for(exporter, wanted, known.name)
        assert found is not None, "it was checked before"
        owner = self.known[asked.account]
        claim = next(
            each for each in owner.claims.nats.exports
            if each.subject == found.subject and (each.type == "service") == found.service
        )  # fmt: skip
        if not claim.token_req:
            return
        if not asked.token or not _is_activated(asked, claim, owner, known, ends):
            raise OptionError(f"{asked.type} import not authorized")


def _is_activated(asked: ImportClaim, export: ExportClaim, owner: Known, known: Known, ends: list[int]) -> bool:
    activation = known.activation(asked)
    if activation is None:
        return False
    by = activation.nats.issuer_account
    if by and (by != owner.name or activation.issuer not in owner.scopes):
        return False
    if activation.expires_s:
        if activation.expires_s <= int(time.time()):
            return False
        ends.append(activation.expires_s)
    if activation.not_before_s > int(time.time()):
        ends.append(activation.not_before_s)
        return False
    return not is_revoked(export.revocations, activation.subject, activation.issued_s)


# --- from claims to options ---


def bounded(limit: int) -> int:
    """As nats-server reads a limit of connections, of subscriptions, of size: in 32 bits; below 0: none."""
    return max(-1, min(limit, INT32_MAX))


def _without_imports(known: Known) -> AccountOptions:
    claims, body = known.claims, known.claims.nats
    most = body.limits
    return AccountOptions(
        name=claims.subject, name_tag=claims.name, tags=body.tags, issuer=claims.issuer,
        max_connections=bounded(most.conn), max_subscriptions=bounded(most.subs), max_payload=bounded(most.payload),
        jetstream=_streams(known), exports=tuple(_exports(known)), mappings=tuple(_mappings(known)),
        trace_destination=body.trace.dest if body.trace is not None else "",
        trace_sampling=body.trace.percent if body.trace is not None else 100,
    )  # fmt: skip


def _streams(known: Known) -> JetStreamLimits | None:
    most = known.claims.nats.limits
    if not rules.has_streams(most):
        return None
    if not most.tiered_limits:
        return _of_streams(most.untiered)
    tiers = tuple((name, _of_streams(found)) for name, found in sorted(most.tiered_limits.items()))
    ours = _of_streams(most.tiered_limits.get(TIER, StreamLimits()))
    return msgspec.structs.replace(ours, tiers=tiers)


def _of_streams(found: StreamLimits) -> JetStreamLimits:
    return JetStreamLimits(
        max_memory=found.mem_storage, max_file=found.disk_storage, max_streams=found.streams,
        max_consumers=found.consumer, max_ack_pending=found.max_ack_pending if found.max_ack_pending > 0 else -1,
        memory_max_stream_bytes=found.mem_max_stream_bytes if found.mem_max_stream_bytes > 0 else -1,
        file_max_stream_bytes=found.disk_max_stream_bytes if found.disk_max_stream_bytes > 0 else -1,
        max_bytes_required=found.max_bytes_required,
    )  # fmt: skip


def _exports(known: Known) -> list[Export]:
    found: list[Export] = []
    for each in known.claims.nats.exports:
        service = each.type == "service"
        export = Export(
            subject=each.subject, service=service, account_position=each.account_token_position,
            response=RESPONSES.get(each.response_type, "singleton"),
            threshold_ns=each.response_threshold or limits.SERVICE_RESPONSE_THRESHOLD_NS, allow_trace=each.allow_trace,
        )  # fmt: skip
        try:
            exchange.check_export(export, {})
        except OptionError as error:
            log.debug("Error adding %s export to account [%s]: %s", each.type, known.label, error)
            continue
        export = msgspec.structs.replace(export, latency=_latency(known, each, (*found, export)))
        found.append(export)
    return found


def _latency(known: Known, each: ExportClaim, exports: Sequence[Export]) -> Latency | None:
    """exports: those so far, of which the last one is it."""
    asked = each.service_latency
    if asked is None or not exports[-1].service:
        return None
    wanted = Latency(asked.results, asked.sampling if isinstance(asked.sampling, int) else 0)
    try:
        exchange.check_latency(msgspec.structs.replace(exports[-1], latency=wanted), exports, has_events=True)
    except OptionError as error:
        log.debug("Error adding latency tracking for service export to account [%s]: %s", known.label, error)
        return None
    return wanted


def _mappings(known: Known) -> Iterable[Mapped]:
    for source, rows in known.claims.nats.mappings.items():
        here = tuple(Destination(row.subject, row.percent) for row in rows if not row.cluster)
        try:
            exchange.check_mapping(source, [(each.subject, each.weight) for each in here])
        except OptionError as error:
            log.debug("Error adding mapping to account [%s]: %s", known.label, error)
            continue
        if here:
            yield Mapped(source, here)


def _import(asked: ImportClaim) -> Import:
    """Raises OptionError for one that cannot be written as such."""
    service = asked.type == "service"
    subject, local = asked.subject, asked.local_subject
    if service and not local:
        subject, local = asked.to or asked.subject, asked.subject
    elif not service and not local:
        if asked.to and pytokens.has_wildcard(asked.to):
            raise OptionError("stream import prefix can not contain wildcard tokens")
        local = f"{asked.to.removesuffix('.')}.{subject}" if asked.to else subject
    return Import(
        account=asked.account, subject=subject, local=local, service=service, share=asked.share,
        allow_trace=asked.allow_trace,
    )  # fmt: skip


def permissions(rights: Permissions) -> security.Permissions | None:
    """What a user may do; None: everything. Whoever may answer may publish nothing else, unless it is allowed."""
    publish, subscribe = _part(rights.pub), _part(rights.sub)
    responses = None
    if rights.resp is not None:
        usual = security.ResponsePermission()
        responses = security.ResponsePermission(rights.resp.max or usual.max_msgs, rights.resp.ttl or usual.expires_ns)
        publish = publish or security.SubjectPermission()
        if publish.allow is None:
            publish = msgspec.structs.replace(publish, allow=())
    if publish is None and subscribe is None:
        return None
    return security.Permissions(publish, subscribe, responses)


def _part(subjects: Subjects) -> security.SubjectPermission | None:
    """A filter that is no subject allows and denies nothing, as on nats-server."""
    if not subjects.allow and not subjects.deny:
        return None
    allow = tuple(row for row in subjects.allow if _is_filter(row)) if subjects.allow else None
    return security.SubjectPermission(allow, tuple(row for row in subjects.deny if _is_filter(row)))


def _is_filter(row: str) -> bool:
    words = row.split(" ")
    return len(words) <= 2 and all(pytokens.is_valid_filter(word) for word in words)
