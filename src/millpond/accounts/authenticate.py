"""Who may connect: nobody special, a token, or a user with a password (reference 02.1)."""

from __future__ import annotations

from _operator import _compare_digest as same_secret  # hmac's own, without the 4 MiB of OpenSSL behind it

from millpond.config.options import Options
from millpond.wire.handshake import ConnectOptions


class Authenticator:
    """Judges CONNECT options. Comparisons take the same time wherever they differ."""

    def __init__(self, options: Options) -> None:
        self._token = options.token.encode()
        self._user = options.username.encode()
        self._password = options.password.encode()
        self.required = bool(self._token or self._user)

    def __eq__(self, other: object) -> bool:
        """Do both let in the same clients?"""
        return isinstance(other, Authenticator) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def check(self, connect: ConnectOptions) -> str | None:
        """The authorized user's name ("" for tokens and open servers), or None: refused."""
        if connect.account or connect.new_account:
            return None
        if not self.required:
            return ""
        if self._token and same_secret(connect.auth_token.encode(), self._token):
            return "[REDACTED]"
        if self._user:
            user_ok = same_secret(connect.user.encode(), self._user)
            password_ok = same_secret(connect.password.encode(), self._password)
            if user_ok and password_ok:
                return connect.user
        return None
