"""Who may connect (reference 02.1): nobody special, a token, one user with a password, or a list of users.

The order is nats-server's: a known nkey decides alone; then users by name; then the single user or the token.
`check` answers at once, but for bcrypt hashes: those need time, and a thread.
"""

from __future__ import annotations

from typing import Final

import msgspec

from millpond.accounts import nkeys, passwords
from millpond.accounts.passwords import Attempt
from millpond.accounts.permissions import CompiledPermissions
from millpond.config.options import Options
from millpond.config.security import GLOBAL_ACCOUNT, User
from millpond.wire.handshake import ConnectOptions

STANDARD: Final = "STANDARD"
TOKEN_NAME: Final = "[REDACTED]"


class Identity(msgspec.Struct, frozen=True, eq=False):
    """Who a connection is. `name` is "" on open servers; `user` None: not one of the list."""

    name: str = ""
    account: str = GLOBAL_ACCOUNT
    permissions: CompiledPermissions | None = None
    user: User | None = None


ANYBODY: Final = Identity()


class Authenticator:
    """Judges CONNECT options. Comparisons take the same time wherever they differ."""

    def __init__(self, options: Options) -> None:
        self._token = options.token
        self._name, self._password = options.username, options.password
        self._users = {user.name: user for user in options.users if not user.is_nkey}
        self._nkeys = {user.name: user for user in options.users if user.is_nkey}
        self._no_auth_user = options.no_auth_user
        self._identities: dict[str, Identity] = {}
        self.required = bool(self._token or self._name or options.users)
        self.needs_nonce = bool(self._nkeys)

    def admits_the_same(self, other: Authenticator) -> bool:
        """Do both let in the same clients, with the same rights?"""
        return self._settings() == other._settings()

    def _settings(self) -> tuple[object, ...]:
        return self._token, self._name, self._password, self._users, self._nkeys, self._no_auth_user

    def check(self, connect: ConnectOptions, nonce: str) -> Identity | Attempt | None:
        """Who this is; an attempt, when bcrypt has to say so; None: refused."""
        if connect.account or connect.new_account:
            return None
        if not self.required:
            return ANYBODY
        if self._users or self._nkeys:
            return self._check_users(connect, nonce)
        if self._token:
            return _compared(Identity(TOKEN_NAME), self._token, connect.auth_token)
        if not passwords.same(self._name, connect.user):
            return None
        return _compared(Identity(self._name), self._password, connect.password)

    def _check_users(self, connect: ConnectOptions, nonce: str) -> Identity | Attempt | None:
        shown = connect.user or connect.password or connect.auth_token
        if self._nkeys and connect.nkey:
            user = self._nkeys.get(connect.nkey)
            if user is None or not _is_allowed(user):
                return None
            proven = user.name == self._no_auth_user or nkeys.is_signed(user.name, connect.sig, nonce)
            return self._identity(user) if proven else None
        if not shown and self._no_auth_user:
            return self.without_credentials()
        user = self._users.get(connect.user)
        if user is None or not _is_allowed(user):
            return None
        return _compared(self._identity(user), user.password, connect.password)

    def without_connect(self) -> Identity | None:
        """Who a client is that begins with another frame; None: refused. A user with an nkey is not for those."""
        user = self._users.get(self._no_auth_user)
        return self._identity(user) if user is not None else None

    def without_credentials(self) -> Identity | None:
        """Who a client is that shows none in its CONNECT; None: refused."""
        user = self._users.get(self._no_auth_user) or self._nkeys.get(self._no_auth_user)
        return self._identity(user) if user is not None and _is_allowed(user) else None

    def check_again(self, known: Identity, connect: ConnectOptions, nonce: str) -> Identity | Attempt | None:
        """After a reload. Whoever proved to be a user whose secret did not change need not prove it again."""
        before = known.user
        if before is not None:
            now = (self._nkeys if before.is_nkey else self._users).get(before.name)
            if now is not None and now.password == before.password and _is_allowed(now):
                return self._identity(now)
        return self.check(connect, nonce)

    def _identity(self, user: User) -> Identity:
        """One for each user: its compiled permissions are shared by its connections."""
        found = self._identities.get(user.name)
        if found is None:
            compiled = CompiledPermissions(user.permissions) if user.permissions is not None else None
            found = self._identities[user.name] = Identity(user.name, user.account, compiled, user)
        return found


def _is_allowed(user: User) -> bool:
    return not user.connection_types or STANDARD in user.connection_types


def _compared(identity: Identity, secret: str, given: str) -> Identity | Attempt | None:
    if passwords.is_hash(secret):
        return Attempt(identity, secret, given)
    return identity if passwords.same(secret, given) else None
