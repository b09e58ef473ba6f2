"""An operator with accounts and users, made by our own encoder, for servers under test."""

from __future__ import annotations

from typing import Any

from millpond.accounts import claims as c
from millpond.accounts import jwt
from millpond.accounts.signing import KeyPair, base64_text
from millpond.base.ids import ACCOUNT_PREFIX, OPERATOR_PREFIX, USER_PREFIX

UNLIMITED: dict[str, Any] = {
    "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1,
}  # fmt: skip
FREE: dict[str, Any] = {"subs": -1, "data": -1, "payload": -1}


class User:
    """A user's key and token."""

    def __init__(self, key: KeyPair, token: str) -> None:
        self.key, self.token = key, token

    def connect(self, nonce: str, **more: Any) -> dict[str, Any]:
        """What CONNECT says."""
        return {"jwt": self.token, "sig": base64_text(self.key.sign(nonce.encode())), "protocol": 1, **more}

    @property
    def creds(self) -> str:
        """As a file for clients."""
        return (
            f"-----BEGIN NATS USER JWT-----\n{self.token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{self.key.seed}\n------END USER NKEY SEED------\n"
        )


class Account:
    """An account's key; its claims are changed by `claims(...)`."""

    def __init__(self, operator: Operator, name: str, **body: Any) -> None:
        self.operator, self.name = operator, name
        self.key = KeyPair.create(ACCOUNT_PREFIX)
        self.signing = KeyPair.create(ACCOUNT_PREFIX)
        self.body = body

    @property
    def public(self) -> str:
        return self.key.public

    def token(self, *, by: KeyPair | None = None, head: dict[str, Any] | None = None, **body: Any) -> str:
        """Signed by the operator. `limits` adds to what is unlimited."""
        given = {**self.body, **body}
        limits = c.Limits(**{**UNLIMITED, **given.pop("limits", {})})
        claims = c.AccountClaims(
            subject=self.public, name=self.name, nats=c.AccountBody(limits=limits, **given), **(head or {})
        )
        return jwt.encode(claims, by or self.operator.key)

    def user(
        self, name: str = "", *, by: KeyPair | None = None, key: KeyPair | None = None, scoped: bool = False,
        head: dict[str, Any] | None = None, issued_s: int = 0, **body: Any,
    ) -> User:  # fmt: skip
        """by: a signing key. scoped: it says nothing of rights."""
        key = key or KeyPair.create(USER_PREFIX)
        if by is not None:
            body.setdefault("issuer_account", self.public)
        claims = c.UserClaims(
            subject=key.public, name=name, nats=c.UserBody(**{**({} if scoped else FREE), **body}), **(head or {})
        )
        return User(key, jwt.encode(claims, by or self.key, issued_s))


class Operator:
    """Signs accounts; the first one is the system account."""

    def __init__(self, **body: Any) -> None:
        self.key = KeyPair.create(OPERATOR_PREFIX)
        self.body = body
        self._tokens: dict[str, str] = {}
        self.system = Account(self, "SYS", exports=())

    def token(self, **body: Any) -> str:
        """The same for the same claims: one that was issued a second later is another operator to a server."""
        given = {"system_account": self.system.public, **self.body, **body}
        claims = c.OperatorClaims(subject=self.key.public, name="O", nats=c.OperatorBody(**given))
        return self._tokens.setdefault(repr(given), jwt.encode(claims, self.key))

    def account(self, name: str, **body: Any) -> Account:
        return Account(self, name, **body)

    def config(self, *accounts: Account, tokens: dict[str, str] | None = None, more: str = "") -> str:
        """A configuration with these accounts in memory."""
        rows = {each.public: each.token() for each in (self.system, *accounts)} | (tokens or {})
        preload = "\n".join(f"  {name}: {token}" for name, token in rows.items())
        return f"operator: {self.token()}\nresolver: MEMORY\nresolver_preload {{\n{preload}\n}}\n{more}"


def answered_user(request: c.AuthRequestClaims, *, by: KeyPair, place: str, **changes: Any) -> str:
    """The user that a callout service makes of one that it is asked about."""
    head = {name: changes.pop(name) for name in ("name", "expires_s", "subject", "not_before_s") if name in changes}
    body = c.UserBody(**{**FREE, **changes})
    head = {"subject": request.nats.user_nkey, "audience": place, **head}
    return jwt.encode(c.UserClaims(nats=body, **head), by)


def answer(request: c.AuthRequestClaims, body: c.AuthResponseBody, *, by: KeyPair, **changes: Any) -> bytes:
    """What a callout service answers; further fields change what it says."""
    head = {"subject": request.nats.user_nkey, "audience": request.nats.server_id.id, **changes}
    return jwt.encode(c.AuthResponseClaims(nats=body, **head), by).encode()
