"""Who may connect (reference 02.1): nobody special, a token, one user with a password, or a list of users.

The order is nats-server's: a known nkey decides alone; then users by name, or by their certificate where that maps to
users; then the single user or the token.
`check` answers at once, but for bcrypt hashes: those need time, and a thread.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Final

import msgspec

from millpond.accounts import passwords
from millpond.accounts.origin import DIRECT, STANDARD, WEBSOCKET, Cookies, Origin
from millpond.accounts.passwords import Attempt
from millpond.accounts.permissions import CompiledPermissions
from millpond.config.options import Options
from millpond.config.security import GLOBAL_ACCOUNT, VISITOR, User
from millpond.wire.handshake import ConnectOptions

if TYPE_CHECKING:
    from millpond.accounts.credential import Credential, Stranger
    from millpond.accounts.oidc import Issuer, KeysAwaited

TOKEN_NAME: Final = "[REDACTED]"
PREFIX: Final = "oidc:"
ANYBODY_ELSE: Final = f"{PREFIX}*"
LOCAL_NAME: Final = "local operator"


class Identity(msgspec.Struct, frozen=True, eq=False):
    """Who a connection is. `name` is "" on open servers; `user` None: not one of the list."""

    name: str = ""
    account: str = GLOBAL_ACCOUNT
    permissions: CompiledPermissions | None = None
    user: User | None = None
    credential: Credential | None = None
    """Known by its claims, not by the configuration."""
    guarded: bool = False
    """It may not ask in the server's place; see `callout.guarded`."""


ANYBODY: Final = Identity()


class _Door(msgspec.Struct, frozen=True):
    """Who may come in one way, beside the users. `maps`: certificates name them."""

    name: str
    password: str
    token: str
    no_auth_user: str
    maps: bool
    required: bool


def _standard(options: Options) -> _Door:
    maps = options.tls is not None and options.tls.verify_and_map
    required = bool(options.token or options.username or options.users)
    return _Door(options.username, options.password, options.token, options.no_auth_user, maps, required)


def _websocket(options: Options) -> _Door:
    """As the others, unless its block names somebody: then those, and nobody else but the users."""
    own, usual = options.websocket, _standard(options)
    if own is None:
        return usual
    maps = own.tls is not None and own.tls.verify_and_map
    if not own.has_own_users:
        return msgspec.structs.replace(usual, maps=maps)
    return _Door(own.username, own.password, own.token, own.no_auth_user, maps, True)


class LocalAuthenticator:
    """Of those who come in by the socket for operators: whatever they say, they are in the system account."""

    def __init__(self, options: Options) -> None:
        self._identity = Identity(LOCAL_NAME, account=options.system_account)

    def asks(self, kind: str) -> bool:
        """As an Authenticator's: there is somebody to become."""
        return True

    def check(self, *shown: object) -> Identity:
        """As an Authenticator's."""
        return self._identity

    def check_again(self, *shown: object) -> Identity:
        """After a reload."""
        return self._identity

    def without_connect(self, origin: Origin = DIRECT) -> Identity:
        """Who a client is that begins with another frame."""
        return self._identity

    def has_moved(self, known: Identity | None, connect: ConnectOptions | None, account: str, kind: str) -> bool:
        """After a reload: is the system account another one?"""
        return account != self._identity.account


class Authenticator:
    """Judges CONNECT options. Comparisons take the same time wherever they differ."""

    def __init__(self, options: Options, issuer: Issuer | None = None) -> None:
        """issuer: of users by oidc; None: there are none."""
        self._issuer = issuer
        self._claimed = {user.name: user for user in options.users if user.is_oidc}
        self._users = {user.name: user for user in options.users if not user.is_nkey and not user.is_oidc}
        self._nkeys = {user.name: user for user in options.users if user.is_nkey}
        self._doors = {STANDARD: _standard(options), WEBSOCKET: _websocket(options)}
        self._identities: dict[str, Identity] = {}
        self.required = self._doors[STANDARD].required
        self._signatures: ModuleType | None = None
        if self._nkeys:
            from millpond.accounts import nkeys  # brings zlib with binascii

            self._signatures = nkeys

    def new_nonce(self) -> str:
        """What one client has to sign; "": nothing, as there are no users with nkeys."""
        return str(self._signatures.new_nonce()) if self._signatures is not None else ""

    def asks(self, kind: str) -> bool:
        """Must clients that come in this way say who they are?"""
        return self._doors[kind].required

    def tells(self) -> bool:
        """Are clients told so, before they have said anything? (Over WebSocket its own door says it.)"""
        door = self._doors[STANDARD]
        return door.required and door.no_auth_user in ("", VISITOR)

    def admits_the_same(self, other: Authenticator) -> bool:
        """Do both let in the same clients, with the same rights?"""
        return self._settings() == other._settings()

    def _settings(self) -> tuple[object, ...]:
        return self._users, self._nkeys, self._doors, self._claimed

    def check(
        self, connect: ConnectOptions, nonce: str, origin: Origin = DIRECT, stranger: Stranger | None = None
    ) -> Identity | Attempt | KeysAwaited | None:
        """Who this is; an attempt, when bcrypt has to say so; None: refused."""
        if connect.account or connect.new_account:
            return None
        door = self._doors[origin.kind]
        if not door.required:
            return ANYBODY
        connect = with_cookies(connect, origin.cookies)
        if self._issuer is not None and self._is_issued(connect.auth_token):
            return self._by_token(connect.auth_token, origin, fetched=False)
        if self._users or self._nkeys:
            return self._check_users(connect, nonce, origin, door)
        if door.token:
            return _compared(Identity(TOKEN_NAME), door.token, connect.auth_token)
        if not passwords.same(door.name, connect.user):
            return None
        return _compared(Identity(door.name), door.password, connect.password)

    @staticmethod
    def _is_issued(text: str) -> bool:
        from millpond.accounts.oidc import is_token

        return is_token(text)

    def _by_token(self, token: str, origin: Origin, *, fetched: bool) -> Identity | KeysAwaited | None:
        """fetched: the issuer's keys are those that there are."""
        from millpond.accounts.credential import Credential
        from millpond.accounts.oidc import KeysAwaited, Unknown

        assert self._issuer is not None, "somebody has seen a token"
        try:
            claims = self._issuer.verify(token)
        except Unknown:
            if fetched:
                return None
            return KeysAwaited(self._issuer, lambda: self._by_token(token, origin, fetched=True))
        if claims is None:
            return None
        names = [f"{PREFIX}{value}" for value in claims.values]
        user = next((self._claimed[name] for name in (*names, ANYBODY_ELSE) if names and name in self._claimed), None)
        if user is None or not _is_allowed(user, origin.kind):
            return None
        credential = Credential(subject=claims.subject, ends_s=claims.ends_s, is_bearer=True)
        return msgspec.structs.replace(self._identity(user), name=claims.subject, credential=credential)

    def _check_users(
        self, connect: ConnectOptions, nonce: str, origin: Origin, door: _Door
    ) -> Identity | Attempt | None:
        shown = connect.user or connect.password or connect.auth_token
        if self._nkeys and connect.nkey:
            user = self._nkeys.get(connect.nkey)
            if user is None or not _is_allowed(user, origin.kind):
                return None
            proven = user.name == door.no_auth_user or self._is_signed(user.name, connect.sig, nonce)
            return self._identity(user) if proven else None
        if door.maps and self._users:
            user = self._mapped(origin)
            return None if user is None else _compared(self._identity(user), user.password, connect.password)
        if not shown and door.no_auth_user:
            return self.without_credentials(origin)
        user = self._users.get(connect.user)
        if user is None or not _is_allowed(user, origin.kind) or self._needs_certificate(user, door):
            return None
        return _compared(self._identity(user), user.password, connect.password)

    def _is_signed(self, nkey: str, signature: str, nonce: str) -> bool:
        return self._signatures is not None and bool(self._signatures.is_signed(nkey, signature, nonce))

    def _needs_certificate(self, user: User, door: _Door) -> bool:
        """Whoever has no password, and may be named by a certificate elsewhere, is let in by that alone."""
        if user.password or user.name == door.no_auth_user:
            return False
        return any(other.maps and _is_allowed(user, kind) for kind, other in self._doors.items())

    def _mapped(self, origin: Origin) -> User | None:
        """The user that the client's certificate names."""
        from millpond.accounts import certificates

        if origin.tls is None or not origin.tls.chain:
            return None
        allowed = {name: user for name, user in self._users.items() if _is_allowed(user, origin.kind)}
        found = certificates.names(origin.tls.chain[0])
        for name in found.texts:
            if name in allowed:
                return allowed[name]
        if found.subject is not None:
            match = certificates.match_subject(found.subject, allowed)
            if match is not None:
                return allowed[match]
        return next((allowed[text] for text in found.subject_texts if text in allowed), None)

    def without_connect(self, origin: Origin = DIRECT) -> Identity | None:
        """Who a client is that begins with another frame; None: refused. A user with an nkey is not for those."""
        user = self._users.get(self._doors[origin.kind].no_auth_user)
        return self._identity(user) if user is not None else None

    def without_credentials(self, origin: Origin = DIRECT) -> Identity | None:
        """Who a client is that shows none in its CONNECT; None: refused."""
        name = self._doors[origin.kind].no_auth_user
        user = self._users.get(name) or self._nkeys.get(name)
        return self._identity(user) if user is not None and _is_allowed(user, origin.kind) else None

    def has_moved(self, known: Identity | None, connect: ConnectOptions | None, account: str, kind: str) -> bool:
        """After a reload: is the user that this client is, or names, in another account, or not there any more?"""
        if known is not None and known.user is not None and known.user.is_oidc:
            now = self._claimed.get(known.user.name)
            return now is None or now.account != account
        if known is not None and known.credential is not None:  # a callout has named it
            return bool(known.name)
        if connect is not None and connect.nkey:
            user = self._nkeys.get(connect.nkey)
        elif connect is not None and connect.user:
            user = self._users.get(connect.user)
        elif known is not None and known.user is not None and not self._doors[kind].maps:  # a guest
            user = self._users.get(known.user.name) or self._nkeys.get(known.user.name)
        else:
            return False
        return user is None or user.account != account

    def check_again(
        self, known: Identity, connect: ConnectOptions, nonce: str, origin: Origin = DIRECT,
        stranger: Stranger | None = None,
    ) -> Identity | Attempt | KeysAwaited | None:
        """After a reload. Whoever proved to be a user whose secret did not change need not prove it again."""
        before = known.user
        if before is not None and before.is_oidc and before.name in self._claimed:
            user = self._claimed[before.name]
            same = msgspec.structs.replace(self._identity(user), name=known.name, credential=known.credential)
            return same if _is_allowed(user, origin.kind) else None
        if before is not None and not self._doors[origin.kind].maps:
            now = (self._nkeys if before.is_nkey else self._users).get(before.name)
            if now is not None and now.password == before.password and _is_allowed(now, origin.kind):
                return self._identity(now)
        return self.check(connect, nonce, origin)

    def _identity(self, user: User) -> Identity:
        """One for each user: its compiled permissions are shared by its connections."""
        found = self._identities.get(user.name)
        if found is None:
            compiled = CompiledPermissions(user.permissions) if user.permissions is not None else None
            found = self._identities[user.name] = Identity(user.name, user.account, compiled, user)
        return found


def _is_allowed(user: User, kind: str) -> bool:
    return not user.connection_types or kind in user.connection_types


def with_cookies(connect: ConnectOptions, cookies: Cookies | None) -> ConnectOptions:
    """What CONNECT does not say. A token by which somebody is known is looked at where there is an operator."""
    if cookies is None:
        return connect
    return msgspec.structs.replace(
        connect, user=connect.user or cookies.user, password=connect.password or cookies.password,
        auth_token=connect.auth_token or cookies.token, jwt=connect.jwt or cookies.jwt,
    )  # fmt: skip


def _compared(identity: Identity, secret: str, given: str) -> Identity | Attempt | None:
    if passwords.is_hash(secret):
        return Attempt(identity, secret, given)
    return identity if passwords.same(secret, given) else None
