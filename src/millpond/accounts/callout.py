"""What the auth callout is asked, and what its answer is worth (reference 02.1, SEC-09). Nothing here waits.

    a client -> request, signed by the server (and sealed) -> the service, in its account
    its answer: a response for this server and this request, with a user's JWT or an error -> an Identity

In both, the user is a key that was made for this one request, so that no answer is good twice.
"""

from __future__ import annotations

import logging
import time
from typing import Final, Protocol

import msgspec

from millpond.accounts import claims_rules as rules
from millpond.accounts import jwt, templates, xkey
from millpond.accounts.authenticate import Identity
from millpond.accounts.book import Known, permissions
from millpond.accounts.claims import (
    EVERYBODY,
    AuthRequestBody,
    AuthRequestClaims,
    AuthResponseClaims,
    ClientInformation,
    ClientTls,
    Connect,
    Rights,
    ServerId,
    UserClaims,
)
from millpond.accounts.credential import Credential, Stranger
from millpond.accounts.operator import PROXY_REQUIRED, identity_of, is_type_known, rights_of
from millpond.accounts.origin import Origin
from millpond.accounts.permissions import CompiledPermissions
from millpond.accounts.signing import KeyPair
from millpond.accounts.time_windows import valid_for_s
from millpond.base.ids import USER_PREFIX
from millpond.config.operator import TOKEN_PREFIX
from millpond.config.security import Permissions, SubjectPermission
from millpond.wire.handshake import ConnectOptions

log = logging.getLogger("millpond")

SUBJECT: Final = "$SYS.REQ.USER.AUTH"
AUDIENCE: Final = "nats-authorization-request"
XKEY_HEADER: Final = "Nats-Server-Xkey"


class Denied(Exception):
    """The answer lets nobody in. `reason`: of the close, where it is not the usual one."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class Asking(Stranger, Protocol):
    """What a request says of a connection."""

    @property
    def nonce(self) -> str: ...
    @property
    def origin(self) -> Origin: ...


class Service(msgspec.Struct, frozen=True):
    """Who is asked. `issuer`: whose key signs users; in operator mode `known` is the account, else None."""

    account: str
    issuer: str
    xkey: str = ""
    known: Known | None = None


class ThisServer(msgspec.Struct, frozen=True):
    """Who asks."""

    id: str
    name: str
    host: str
    version: str
    tags: tuple[str, ...]
    keys: KeyPair
    xkey: str
    xkey_secret: bytes

    def __repr__(self) -> str:
        return f"ThisServer({self.id})"


class Request:
    """One client, asked about once. timeout_ns: how long the answer may take."""

    def __init__(self, server: ThisServer, service: Service, timeout_ns: int) -> None:
        self._server, self._service = server, service
        self._user = KeyPair.create(USER_PREFIX).public
        self._ends_s = int(time.time() + timeout_ns / 1e9)

    def message(self, client: Asking, connect: ConnectOptions, who: Identity, verifies: bool) -> tuple[bytes, bytes]:
        """(headers, body). who: the client says it is, or is for the configuration or by its claims."""
        server, sealed = self._server, self._service.xkey
        there = ServerId(
            name=server.name, host=server.host, id=server.id, version=server.version,
            tags=server.tags or msgspec.UNSET, xkey=server.xkey if sealed else msgspec.UNSET,
        )  # fmt: skip
        body = AuthRequestBody(
            server_id=there, user_nkey=self._user, client_info=_client(client, connect, who),
            connect_opts=_connect(connect, self._service), client_tls=_tls(client.origin, verifies),
        )  # fmt: skip
        claims = AuthRequestClaims(
            subject=self._service.issuer, audience=AUDIENCE, expires_s=self._ends_s, nats=body
        )
        token = jwt.encode(claims, server.keys).encode()
        if not sealed:
            return b"", token
        headers = f"NATS/1.0\r\n{XKEY_HEADER}: {server.xkey}\r\n\r\n".encode()
        return headers, xkey.seal(token, server.xkey_secret, sealed)

    def user_of(self, answer: bytes, client: Asking) -> UserClaims:
        """The user that the service has answered with. Raises Denied."""
        service, account = self._service, self._service.account
        if not answer:
            raise Denied(f'auth callout violation: "no reason supplied" on account {rules.quoted(account)}')
        sealed = bool(service.xkey) and not answer.startswith(TOKEN_PREFIX.encode())
        if sealed:
            try:
                answer = xkey.unseal(answer, self._server.xkey_secret, service.xkey)
            except ValueError as error:
                raise Denied(
                    f"error decrypting auth callout response on account {rules.quoted(account)}: {error}"
                ) from None
        try:
            response = jwt.decode(answer.decode("utf-8", "replace"), AuthResponseClaims)
            for issue in rules.of_response(response):
                raise Denied(f"authorization response had validation errors: {issue.description}")
            self._check(response, sealed)
            user = jwt.decode(response.nats.jwt, UserClaims)
        except jwt.JwtError as error:
            raise Denied(str(error)) from None
        self._check_user(user, client)
        return user

    def _check(self, response: AuthResponseClaims, sealed: bool) -> None:
        if response.subject != self._user:
            raise Denied("auth callout violation: auth callout response is not for expected user")
        if response.audience != self._server.id:
            raise Denied("auth callout violation: auth callout response is not for server")
        if response.nats.error:
            raise Denied(f"auth callout service returned an error: {response.nats.error}")
        known, signer = self._service.known, response.issuer
        if known is not None:
            signer = response.nats.issuer_account or signer
        believed = {self._service.issuer} | (set(known.scopes) if known is not None else set())
        if not sealed and signer not in believed:
            raise Denied("auth callout signing key is unknown")

    def _check_user(self, user: UserClaims, client: Asking) -> None:
        account = rules.quoted(self._service.account)
        if user.nats.proxy_required:
            raise Denied("proxy connection required", reason=PROXY_REQUIRED)
        for issue in rules.of_user(user):
            raise Denied(f"Error validating user JWT: {issue.description}")
        if user.subject != self._user:
            raise Denied(
                f"Expected authorized user of {rules.quoted(self._user)} but got {rules.quoted(user.subject)} on "
                f"account {account}"
            )
        if valid_for_s(user.nats) is None:
            log.error("%s:%d - cid:%d - Outside connect times", client.ip, client.port, client.cid)
            raise Denied(f"authorized user on account {account} outside of valid connect times")
        kinds = user.nats.allowed_connection_types
        if kinds and not any(map(is_type_known, kinds)):
            raise Denied(f"authorized user on account {account} using invalid connection type")

    def place_of(self, user: UserClaims) -> str:
        """The account that the user is to be in. Raises Denied."""
        service, known, account = self._service, self._service.known, rules.quoted(self._service.account)
        if user.nats.issuer_account and known is None:
            raise Denied(f"error non operator mode account {account}: attempted to use issuer_account")
        signer = user.nats.issuer_account or user.issuer
        if known is None:
            if signer != service.issuer:
                raise Denied(
                    f"wrong issuer for auth callout response on account {account}, expected "
                    f"{rules.quoted(service.issuer)} got {rules.quoted(signer)}"
                )
            return user.audience
        allowed = known.claims.nats.authorization.allowed_accounts
        if signer != known.name and EVERYBODY not in allowed and signer not in allowed:
            raise Denied(
                f"account {rules.quoted(user.issuer)} not permitted as valid account option for auth callout for "
                f"account {account}"
            )
        return signer


def identity(user: UserClaims, name: str, place: str, target: Known | None) -> Identity:
    """Who the client is from here on. target: the account `place` in operator mode. Raises Denied.

    As on nats-server the user's limits have no effect, nor its networks, and its tags are not shown. The hours that
    count are those of its scoped signing key, where it has one.
    """
    rights: Rights = user.nats
    defaults = None
    if target is not None:
        defaults = permissions(target.claims.nats.default_permissions)
        try:
            rights = rights_of(user, target)
        except templates.TemplateError as error:
            unknown = f"user JWT issuer {rules.quoted(user.issuer)} is not known"
            raise Denied(str(error) if user.issuer in target.scopes else unknown) from None
    rights = msgspec.structs.replace(rights, subs=-1, payload=-1)
    shown = msgspec.structs.replace(user, name="", nats=msgspec.structs.replace(user.nats, tags=()))
    window_s = valid_for_s(rights)
    if window_s is None:
        raise Denied(f"authorized user on account {rules.quoted(place)} outside of valid connect times")
    return identity_of(
        shown, rights, place, name=user.name or name, token="", window_s=window_s, defaults=defaults
    )


def guarded(found: Identity) -> Identity:
    """The same, but it may not ask in the server's place."""
    own = found.user.permissions if found.user is not None else None
    own = own or Permissions()
    publish = own.publish or SubjectPermission()
    publish = msgspec.structs.replace(publish, deny=(*publish.deny, SUBJECT))
    compiled = CompiledPermissions(msgspec.structs.replace(own, publish=publish))
    return msgspec.structs.replace(found, permissions=compiled, guarded=True)


def title(text: str) -> str:
    """With a capital letter in front, as nats-server's log has it."""
    return text[:1].upper() + text[1:]


def _client(client: Asking, connect: ConnectOptions, who: Identity) -> ClientInformation:
    shown = who.credential or Credential(subject="")
    return ClientInformation(
        host=client.ip, id=client.cid, user=who.name, name=connect.name, kind="Client",
        type="websocket" if client.origin.is_websocket else "nats", nonce=client.nonce if connect.sig else "",
        tags=shown.tags, name_tag=shown.name,
    )  # fmt: skip


def _connect(connect: ConnectOptions, service: Service) -> Connect:
    return Connect(
        jwt=connect.jwt if service.known is not None else "", nkey=connect.nkey, sig=connect.sig,
        auth_token=connect.auth_token, user=connect.user, password=connect.password, name=connect.name,
        lang=connect.lang, version=connect.version, protocol=connect.protocol,
    )  # fmt: skip


def _tls(origin: Origin, verifies: bool) -> ClientTls | None:
    peer = origin.tls
    if peer is None:
        return None
    from ssl import DER_cert_to_PEM_cert

    certificates = tuple(DER_cert_to_PEM_cert(der) for der in peer.chain)
    shown = {"verified_chains": (certificates,)} if verifies and certificates else {"certs": certificates}
    return ClientTls(version=peer.version, cipher=peer.cipher, **shown)
