"""What a `websocket` block says (reference 09.4), as one frozen value."""

from __future__ import annotations

import msgspec

from millpond.config.tls import TlsOptions


class WebsocketOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One listener. Texts and numbers that are empty ask for what other clients have, or for nothing."""

    host: str = "0.0.0.0"
    port: int = 0
    """-1: any free port; 0: nobody listens."""
    advertise: str = ""
    tls: TlsOptions | None = None
    no_tls: bool = False
    """Without `tls` this must be said."""
    same_origin: bool = False
    allowed_origins: tuple[str, ...] = ()
    handshake_timeout_ns: int = 0
    compression: bool = False
    headers: dict[str, str] = {}
    """Of the answer to an upgrade."""
    ping_interval_ns: int = 0

    username: str = ""
    password: str = ""
    token: str = ""
    no_auth_user: str = ""
    auth_timeout_ns: int = 0
    jwt_cookie: str = ""
    user_cookie: str = ""
    pass_cookie: str = ""
    token_cookie: str = ""

    @property
    def has_own_users(self) -> bool:
        """Is somebody let in here who is nobody elsewhere?"""
        return bool(self.username or self.token or self.no_auth_user)
