"""Users by their JWTs (reference 02.1, SEC-06): an operator signs accounts, an account or its signing keys sign users.

A client shows a token, and signs the nonce with the user's key unless it is a bearer's. The order of the checks is
nats-server's; why somebody is refused is in the log at the level of debugging, the client is told nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from itertools import takewhile
from typing import Any, Final

import msgspec

from millpond.accounts import claims_rules as rules
from millpond.accounts import jwt, nkeys, templates
from millpond.accounts.authenticate import Identity, with_cookies
from millpond.accounts.book import (
    AccountBook,
    AccountError,
    Directory,
    Known,
    bounded,
    decoded,
    is_revoked,
    permissions,
)
from millpond.accounts.claims import OperatorClaims, Rights, UserClaims
from millpond.accounts.credential import Credential, Stranger
from millpond.accounts.origin import DIRECT, Origin
from millpond.accounts.permissions import CompiledPermissions
from millpond.accounts.time_windows import valid_for_s
from millpond.base import limits
from millpond.base.errors import OptionError
from millpond.base.ids import OPERATOR_PREFIX, decode_key
from millpond.config.operator import OperatorOptions, ResolverOptions
from millpond.config.options import Options
from millpond.config.security import SYSTEM_ACCOUNT, Permissions, User
from millpond.config.security_file import CONNECTION_TYPES
from millpond.wire.handshake import ConnectOptions

log = logging.getLogger("millpond")

OURS: Final = tuple(map(int, limits.SERVER_VERSION.split(".")))
NEVER_S: Final = 2**63 // 10**9
"""An end beyond the times that clocks in nanoseconds have is none."""
PROXY_REQUIRED: Final = "Proxy Required"
"""No proxy is trusted here."""


class Trust(msgspec.Struct, frozen=True):
    """Whom the operators of a server are, and what they say of it."""

    keys: tuple[str, ...]
    """Operators' keys whose accounts are believed."""
    strict: tuple[str, ...]
    """Those of them whose accounts sign users by signing keys alone."""
    system_account: str
    server_url: str
    """Where accounts are looked up, if the configuration does not say."""
    tokens: tuple[str, ...] = ()
    claims: tuple[OperatorClaims, ...] = ()


def judge_token(kind: str, token: str) -> None:
    """Raises OptionError, with nats-server's words, for what is no `operator` or `account` token."""
    if kind == "operator":
        _operator(token)
        return
    try:
        decoded(token)
    except AccountError:
        raise OptionError("invalid account JWT") from None


def _operator(token: str) -> OperatorClaims:
    try:
        return jwt.decode(token, OperatorClaims)
    except jwt.JwtError as error:
        raise OptionError(f"error parsing operator JWT: {error}") from None


def trust(options: OperatorOptions) -> Trust:
    """Reads the operators; the same ones once. Raises OptionError."""
    return _trust(options.tokens, options.keys)


@lru_cache(maxsize=4)
def _trust(tokens: tuple[str, ...], given_keys: tuple[str, ...]) -> Trust:
    found = [_operator(token) for token in tokens]
    if found and given_keys:
        raise OptionError("conflicting options for 'TrustedKeys' and 'TrustedOperators'")
    for claims in found:
        _check_version(claims)
    keys = list(given_keys)
    for claims in found:
        keys += () if claims.nats.strict_signing_key_usage else (claims.subject,)
        keys += claims.nats.signing_keys
    for key in keys:
        if decode_key(OPERATOR_PREFIX, key) is None:
            raise OptionError(f"trusted Keys {rules.quoted(key)} are required to be a valid public operator nkey")
    strict = [key for claims in found if claims.nats.strict_signing_key_usage for key in claims.nats.signing_keys]
    system = found[0].nats.system_account if found else ""
    url = found[0].nats.account_server_url if len(found) == 1 else ""
    return Trust(tuple(keys), tuple(strict), system, url, tokens, tuple(found))


def _check_version(claims: OperatorClaims) -> None:
    text = claims.nats.assert_server_version
    if not text:
        return
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise OptionError(
            f"operator {claims.subject} expects version {text} got error instead: asserted server version must be of "
            "the form <major>.<minor>.<update>"
        )
    for name, wanted, ours in zip(("major", "minor", "update"), map(int, parts), OURS, strict=True):
        if wanted > ours:
            raise OptionError(
                f"operator {claims.subject} expected {name} version {wanted} > server {name} version {ours}"
            )
        if wanted < ours:
            return


def completed(options: Options) -> Options:
    """The options with what the operators say, checked as nats-server does. Raises OptionError."""
    operator = options.operator
    if operator is None:
        return options
    found = trust(operator)
    resolver = operator.resolver
    if resolver is None and found.server_url:
        resolver = ResolverOptions(kind="url", url=f"{found.server_url.removesuffix('/')}/accounts/")
    for _, token in operator.preload:
        judge_token("account", token)
    if found.claims:
        _check(options, operator, resolver, found)
    elif operator.default_sentinel:
        raise OptionError("default sentinel requires operators and accounts")
    elif resolver is not None and resolver.kind in ("full", "cache"):
        raise OptionError("Could not start resolver: no operator key found")
    for key in operator.pinned_accounts:
        if not rules.is_account(key):
            raise OptionError(f"pinned account key {rules.quoted(key)} is not a valid public account nkey")
    system = options.system_account if options.system_account != SYSTEM_ACCOUNT else found.system_account
    pinned = operator.pinned_accounts
    pinned = pinned | {system} if pinned and system else pinned
    operator = msgspec.structs.replace(operator, resolver=resolver, pinned_accounts=pinned)
    return msgspec.structs.replace(options, operator=operator, system_account=system)


def _check(options: Options, operator: OperatorOptions, resolver: ResolverOptions | None, found: Trust) -> None:
    if operator.default_sentinel:
        _check_sentinel(operator.default_sentinel)
    if resolver is None:
        raise OptionError("operators require an account resolver to be configured")
    if [account for account in options.accounts if account.name != options.system_account]:
        raise OptionError("operators do not allow Accounts to be configured directly")
    if options.users:
        raise OptionError("operators do not allow users to be configured directly")
    configured = options.system_account if options.system_account != SYSTEM_ACCOUNT else ""
    named = [claims.nats.system_account for claims in found.claims if claims.nats.system_account]
    if configured and named and configured not in named:
        raise OptionError("system_account in config and operator JWT must be identical")
    if not configured and not found.system_account and resolver.kind in ("full", "cache"):
        raise OptionError(
            "using nats based account resolver - the system account needs to be specified in configuration or the "
            "operator jwt"
        )
    if options.callout is not None:
        raise OptionError("operators do not allow authorization callouts to be configured directly")
    if options.no_auth_user:
        raise OptionError("no_auth_user not compatible with Trusted Operator")


def _check_sentinel(token: str) -> None:
    try:
        claims = jwt.decode(token, UserClaims)
    except jwt.JwtError:
        raise OptionError("default sentinel JWT not valid") from None
    if not claims.nats.bearer_token and (not claims.nats.issuer_account or claims.nats.has_rights):
        raise OptionError("default sentinel must be a bearer token")


def open_book(options: OperatorOptions) -> AccountBook:
    """Without accounts. Raises OptionError."""
    found = trust(options)
    return AccountBook(found.keys, found.strict)


class AccountAwaited:
    """A user whose account has to be fetched before it can be judged."""

    begun = True
    final = False

    def __init__(self, directory: Directory, name: str, judge: Callable[[], Any], address: str = "") -> None:
        self._directory, self._name, self._judge, self._address = directory, name, judge, address
        self._given_up = False
        self._done: Callable[[Any], None]

    def begin(self, done: Callable[[Any], None]) -> None:
        self._done = done
        self._directory.fetch(self._name, self._fetched, self._address)

    def _fetched(self) -> None:
        if self._given_up:
            return
        try:
            verdict = self._judge()
        except Exception:  # whoever waits gets an answer
            log.exception("judging a user of account %s failed", self._name)
            verdict = None
        self._done(verdict)

    def give_up(self) -> None:
        self._given_up = True


Verdict = Identity | AccountAwaited | str | None
"""Who somebody is; something to wait for; refused, perhaps with the reason of the close."""


class OperatorAuthenticator:
    """As `Authenticator`, for a server whose users are known by their claims."""

    required = True

    def __init__(self, options: OperatorOptions, book: AccountBook) -> None:
        self._options = options
        self._book = book

    def new_nonce(self) -> str:
        return nkeys.new_nonce()

    def asks(self, kind: str) -> bool:
        return True

    def tells(self) -> bool:
        return True

    def admits_the_same(self, other: OperatorAuthenticator) -> bool:
        return self._options == other._options

    def without_connect(self, origin: Origin = DIRECT) -> Identity | None:
        """Nobody comes in without a CONNECT."""
        return None

    def has_moved(self, known: Identity | None, connect: ConnectOptions | None, account: str, kind: str) -> bool:
        return False

    def check_again(
        self, known: Identity, connect: ConnectOptions, nonce: str, origin: Origin = DIRECT,
        stranger: Stranger | None = None,
    ) -> Verdict:
        """After a reload."""
        return self.check(connect, nonce, origin, stranger)

    def check(
        self, connect: ConnectOptions, nonce: str, origin: Origin = DIRECT, stranger: Stranger | None = None
    ) -> Verdict:
        """Who this is; something to wait for, when the account is not known yet; None, or a reason: refused."""
        label = "" if stranger is None else f"{stranger.ip}:{stranger.port} - cid:{stranger.cid} - "
        connect = with_cookies(connect, origin.cookies)
        return self._judge(_Shown(connect, nonce, origin, "" if stranger is None else stranger.ip, label))

    def _judge(self, shown: _Shown, *, fetched: bool = False) -> Verdict:
        try:
            return self._judged(shown, fetched)
        except _Refused as why:
            log.log(why.level, "%s%s", shown.label, why)
            return why.reason or None

    def _judged(self, shown: _Shown, fetched: bool) -> Verdict:
        token, claims = self._claims(shown.connect)
        if claims.nats.proxy_required:
            raise _Refused("proxy required", reason=PROXY_REQUIRED)
        issues = rules.of_user(claims)
        if rules.is_blocking(issues):
            raise _Refused(f"User JWT no longer valid: {'; '.join(each.description for each in issues)}")
        name = claims.nats.issuer_account or claims.issuer
        if self._options.pinned_accounts and name not in self._options.pinned_accounts:
            self._book.pinned_fails += 1
            raise _Refused(f"Account {name} not listed as operator pinned account")
        account = self._book.known.get(name)
        if (account is None or account.expired) and not fetched and self._book.directory is not None:
            return AccountAwaited(self._book.directory, name, lambda: self._judge(shown, fetched=True), shown.ip)
        if account is None or account.expired:
            raise _Refused(f"Account JWT lookup error: account {'missing' if account is None else 'expired'}")
        return _admitted(token, claims, self._rights(claims, account), account, shown)

    def _claims(self, connect: ConnectOptions) -> tuple[str, UserClaims]:
        """Of the token that the client shows, or of the one for those who show none."""
        try:
            return connect.jwt, jwt.decode(connect.jwt, UserClaims)
        except jwt.JwtError:
            sentinel = self._options.default_sentinel
        if not sentinel:
            raise _Refused("Authentication requires a user JWT")
        return sentinel, jwt.decode(sentinel, UserClaims)

    def _rights(self, claims: UserClaims, account: Known) -> Rights:
        """What the user may do, by its own claims or by those of a scoped signing key."""
        if account.claims.issuer not in self._book.trusted:
            raise _Refused("Account JWT not signed by trusted operator")
        try:
            return rights_of(claims, account)
        except templates.TemplateError as error:
            raise _Refused(str(error)) from None


class _Shown(msgspec.Struct, frozen=True):
    """What a client has shown, and where it is."""

    connect: ConnectOptions
    nonce: str
    origin: Origin
    ip: str
    label: str


class _Refused(Exception):
    """Why, for the log; `reason` is that of the close, where it is not the usual one."""

    def __init__(self, text: str, *, level: int = logging.DEBUG, reason: str = "") -> None:
        super().__init__(text)
        self.level, self.reason = level, reason


def _admitted(token: str, claims: UserClaims, rights: Rights, account: Known, shown: _Shown) -> Identity:
    connect = shown.connect
    if rights.bearer_token and account.claims.nats.limits.disallow_bearer:
        raise _Refused("Account does not allow bearer tokens")
    if not is_connection_allowed(rights, shown.origin.kind):
        raise _Refused("Connection type not allowed")
    if not rights.bearer_token and not nkeys.is_signed(claims.subject, connect.sig, shown.nonce):
        raise _Refused("Signature not verified" if connect.sig else "Signature missing")
    if is_revoked(account.claims.nats.revocations, claims.subject, claims.issued_s):
        raise _Refused("User authentication revoked")
    if not is_from(rights, shown.ip):
        raise _Refused(f"Bad src Ip {shown.ip}", level=logging.ERROR)
    window_s = valid_for_s(rights)
    if window_s is None:
        raise _Refused("Outside connect times", level=logging.ERROR)
    log.debug(
        "%sAuthenticated JWT: Client %s (claim-name: %s) signed with %s by Account %s (claim-name: %s)", shown.label,
        rules.quoted(claims.subject), rules.quoted(claims.name), rules.quoted(claims.issuer),
        rules.quoted(account.name), rules.quoted(account.claims.name),
    )  # fmt: skip
    name = connect.shown_user or claims.subject
    defaults = permissions(account.claims.nats.default_permissions)
    return identity_of(
        claims, rights, account.name, name=name, token=token, window_s=window_s, defaults=defaults
    )


def rights_of(claims: UserClaims, account: Known) -> Rights:
    """The user's own, or those that the scope of its signing key gives it. Raises TemplateError."""
    scopes = account.scopes
    if claims.issuer not in scopes:
        raise templates.TemplateError("User JWT issuer is not known")
    scope = scopes[claims.issuer]
    if scope is None:
        return claims.nats
    if claims.nats.has_rights:
        raise templates.TemplateError("User JWT is not valid: scoped users require no permissions or limits set")
    try:
        named = templates.Account(account.claims.name, account.claims.nats.tags)
        return templates.filled_in(scope.template, claims, named)
    except templates.TemplateError as error:
        raise templates.TemplateError(f"User JWT generated invalid permissions: {error}") from None


def is_connection_allowed(rights: Rights, kind: str) -> bool:
    """Types that nobody knows allow nothing, but do no harm beside others."""
    asked = rights.allowed_connection_types
    return kind in [each.upper() for each in asked if is_type_known(each)] if asked else True


def is_type_known(kind: str) -> bool:
    return kind.upper() in CONNECTION_TYPES


def is_from(rights: Rights, ip: str) -> bool:
    """Is the address in one of the networks, up to the first that is none? (Nobody judges the template of a scoped
    signing key before.)"""
    if not rights.networks:
        return True
    import ipaddress

    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    networks = takewhile(rules.is_network, rights.networks)
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)


def identity_of(
    claims: UserClaims, rights: Rights, place: str, *, name: str, token: str, window_s: float,
    defaults: Permissions | None,
) -> Identity:
    """Who a user of these claims is, in the account `place`. window_s: for how long it may stay today, 0: all day.
    defaults: what the account's users may do that have no permissions of their own."""
    own = permissions(rights)
    has_defaults = own is None
    own = defaults if own is None else own
    ends = [each for each in (claims.expires_s, window_s and time.time() + window_s) if 0 < each < NEVER_S]
    credential = Credential(
        subject=claims.subject, token=token, account=place, issued_s=claims.issued_s, ends_s=min(ends, default=0),
        signing_key=claims.issuer if claims.nats.issuer_account else "", name=claims.name, tags=claims.nats.tags,
        max_payload=bounded(rights.payload), max_subscriptions=bounded(rights.subs), is_bearer=rights.bearer_token,
        has_defaults=has_defaults,
    )  # fmt: skip
    user = User(name=claims.subject, is_nkey=True, account=place, permissions=own)
    compiled = CompiledPermissions(own) if own is not None else None
    return Identity(name=name, account=place, permissions=compiled, user=user, credential=credential)
