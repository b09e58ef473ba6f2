"""What NATS JWTs say (reference 02.1, SEC-06; the format is that of nats-io/jwt, version 2).

Members and their order are the wire's; what is at its default is not written. -1 is no limit, and a limit that a token
of version 2 does not name is 0, not unlimited.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

NO_LIMIT: Final = -1
EVERYBODY: Final = "*"
"""In a list of revocations: all keys; in a list of accounts: any of them."""
OPERATOR: Final = "operator"
ACCOUNT: Final = "account"
USER: Final = "user"
ACTIVATION: Final = "activation"
AUTH_REQUEST: Final = "authorization_request"
AUTH_RESPONSE: Final = "authorization_response"

ExportKind = Literal["stream", "service"]
Texts = tuple[str, ...]


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all parts of claims have in common."""


class Head(Part, frozen=True, kw_only=True):
    """The members that are not NATS's own. Times are Unix seconds; 0: none."""

    audience: str = msgspec.field(default="", name="aud")
    expires_s: int = msgspec.field(default=0, name="exp")
    token_id: str = msgspec.field(default="", name="jti")
    issued_s: int = msgspec.field(default=0, name="iat")
    issuer: str = msgspec.field(default="", name="iss")
    name: str = ""
    not_before_s: int = msgspec.field(default=0, name="nbf")
    subject: str = msgspec.field(default="", name="sub")


# --- what users may do ---


class Subjects(Part, frozen=True, kw_only=True):
    allow: Texts = ()
    deny: Texts = ()


class Responses(Part, frozen=True, kw_only=True, omit_defaults=False):
    max: int = 0
    ttl: int = 0


class TimeRange(Part, frozen=True, kw_only=True):
    """`HH:MM:SS` each; the end may be on the next day."""

    start: str = ""
    end: str = ""


class Permissions(Part, frozen=True, kw_only=True):
    pub: Subjects = Subjects()
    sub: Subjects = Subjects()
    resp: Responses | None = None


class Rights(Permissions, frozen=True, kw_only=True):
    """Permissions and limits of a user, or of all users of a scoped signing key."""

    src: Texts | str = ()
    """Networks; also one text with commas."""
    times: tuple[TimeRange, ...] = ()
    times_location: str = ""
    subs: int = 0
    data: int = 0
    payload: int = 0
    bearer_token: bool = False
    proxy_required: bool = False
    allowed_connection_types: Texts = ()

    @property
    def networks(self) -> Texts:
        """`src`, one by one."""
        return self.src if isinstance(self.src, tuple) else _split(self.src)


def _split(text: str) -> Texts:
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip().lower())))


class Template(Rights, frozen=True, kw_only=True):
    """Rights of all users of a scoped signing key. What it does not limit is unlimited."""

    subs: int = NO_LIMIT
    data: int = NO_LIMIT
    payload: int = NO_LIMIT


class Scope(Part, frozen=True, kw_only=True, omit_defaults=False):
    """A signing key whose users have no rights but these."""

    kind: Literal["user_scope"]
    key: str = ""
    role: str = ""
    template: Template = Template()
    description: str = ""


class UserBody(Rights, frozen=True, kw_only=True):
    issuer_account: str = ""
    """The account, when a signing key is the issuer."""
    tags: Texts = ()
    type: str = ""
    version: int = 0

    @property
    def has_rights(self) -> bool:
        """Does it say anything about rights?"""
        return any(getattr(self, name) != getattr(_NO_RIGHTS, name) for name in Rights.__struct_fields__)


_NO_RIGHTS: Final = Rights()


class UserClaims(Head, frozen=True, kw_only=True):
    nats: UserBody = UserBody()


# --- accounts ---


class Import(Part, frozen=True, kw_only=True):
    name: str = ""
    subject: str = ""
    account: str = ""
    token: str = ""
    to: str = ""
    local_subject: str = ""
    type: ExportKind | None = None
    share: bool = False
    allow_trace: bool = False


class Latency(Part, frozen=True, kw_only=True, omit_defaults=False):
    sampling: int | str = 0
    """Percent, or `headers`."""
    results: str = ""


class Export(Part, frozen=True, kw_only=True):
    name: str = ""
    subject: str = ""
    type: ExportKind | None = None
    token_req: bool = False
    revocations: dict[str, int] = {}
    response_type: str = ""
    response_threshold: int = 0
    """Nanoseconds."""
    service_latency: Latency | None = None
    account_token_position: int = 0
    advertise: bool = False
    allow_trace: bool = False
    description: str = ""
    info_url: str = ""


class StreamLimits(Part, frozen=True, kw_only=True):
    """Bytes, but for the counts; 0 of both kinds of storage: no streams."""

    mem_storage: int = 0
    disk_storage: int = 0
    streams: int = 0
    consumer: int = 0
    max_ack_pending: int = 0
    mem_max_stream_bytes: int = 0
    disk_max_stream_bytes: int = 0
    max_bytes_required: bool = False


class Limits(Part, frozen=True, kw_only=True):
    subs: int = 0
    data: int = 0
    payload: int = 0
    imports: int = 0
    exports: int = 0
    wildcards: bool = False
    disallow_bearer: bool = False
    conn: int = 0
    leaf: int = 0
    mem_storage: int = 0
    disk_storage: int = 0
    streams: int = 0
    consumer: int = 0
    max_ack_pending: int = 0
    mem_max_stream_bytes: int = 0
    disk_max_stream_bytes: int = 0
    max_bytes_required: bool = False
    tiered_limits: dict[str, StreamLimits] = {}

    @property
    def untiered(self) -> StreamLimits:
        """The limits of streams that are in no tier; with tiers there are none."""
        if self.tiered_limits:
            return StreamLimits()
        return StreamLimits(**{name: getattr(self, name) for name in StreamLimits.__struct_fields__})


class WeightedMapping(Part, frozen=True, kw_only=True):
    subject: str
    weight: int = 0
    cluster: str = ""

    @property
    def percent(self) -> int:
        """0 is all of it."""
        return self.weight or 100


class ExternalAuthorization(Part, frozen=True, kw_only=True):
    auth_users: Texts = ()
    allowed_accounts: Texts = ()
    xkey: str = ""


class Trace(Part, frozen=True, kw_only=True):
    dest: str = ""
    sampling: int = 0

    @property
    def percent(self) -> int:
        """0 is all of them."""
        return self.sampling or 100


class AccountBody(Part, frozen=True, kw_only=True):
    imports: tuple[Import, ...] = ()
    exports: tuple[Export, ...] = ()
    limits: Limits = Limits()
    signing_keys: tuple[str | Scope, ...] = ()
    revocations: dict[str, int] = {}
    default_permissions: Permissions = Permissions()
    mappings: dict[str, tuple[WeightedMapping, ...]] = {}
    authorization: ExternalAuthorization = ExternalAuthorization()
    trace: Trace | None = None
    cluster_traffic: str = ""
    description: str = ""
    info_url: str = ""
    tags: Texts = ()
    type: str = ""
    version: int = 0

    @property
    def scopes(self) -> dict[str, Scope | None]:
        """By signing key; None: its users say themselves what they may do."""
        return {(key if isinstance(key, str) else key.key): (None if isinstance(key, str) else key)
                for key in self.signing_keys}  # fmt: skip


class AccountClaims(Head, frozen=True, kw_only=True):
    nats: AccountBody = AccountBody()


# --- operators, activations ---


class OperatorBody(Part, frozen=True, kw_only=True):
    signing_keys: Texts = ()
    account_server_url: str = ""
    operator_service_urls: Texts = ()
    system_account: str = ""
    assert_server_version: str = ""
    strict_signing_key_usage: bool = False
    tags: Texts = ()
    type: str = ""
    version: int = 0


class OperatorClaims(Head, frozen=True, kw_only=True):
    nats: OperatorBody = OperatorBody()


class ActivationBody(Part, frozen=True, kw_only=True):
    subject: str = ""
    kind: ExportKind | None = None
    issuer_account: str = ""
    tags: Texts = ()
    type: str = ""
    version: int = 0


class ActivationClaims(Head, frozen=True, kw_only=True):
    nats: ActivationBody = ActivationBody()


# --- the auth callout ---


class ServerId(Part, frozen=True, kw_only=True, omit_defaults=False):
    name: str
    host: str
    id: str
    version: str | msgspec.UnsetType = msgspec.UNSET
    cluster: str | msgspec.UnsetType = msgspec.UNSET
    tags: Texts | msgspec.UnsetType = msgspec.UNSET
    xkey: str | msgspec.UnsetType = msgspec.UNSET


class ClientInformation(Part, frozen=True, kw_only=True):
    host: str = ""
    id: int = 0
    user: str = ""
    name: str = ""
    tags: Texts = ()
    name_tag: str = ""
    kind: str = ""
    type: str = ""
    mqtt_id: str = ""
    nonce: str = ""


class Connect(Part, frozen=True, kw_only=True):
    jwt: str = ""
    nkey: str = ""
    sig: str = ""
    auth_token: str = ""
    user: str = ""
    password: str = msgspec.field(default="", name="pass")
    name: str = ""
    lang: str = ""
    version: str = ""
    protocol: int | None = None

    def __repr__(self) -> str:
        return "Connect(...)"


class ClientTls(Part, frozen=True, kw_only=True):
    version: str = ""
    cipher: str = ""
    certs: Texts = ()
    verified_chains: tuple[Texts, ...] = ()


class AuthRequestBody(Part, frozen=True, kw_only=True):
    server_id: ServerId
    user_nkey: str
    client_info: ClientInformation = msgspec.field(default_factory=ClientInformation)
    connect_opts: Connect = msgspec.field(default_factory=Connect)
    client_tls: ClientTls | None = None
    request_nonce: str = ""
    tags: Texts = ()
    type: str = ""
    version: int = 0


class AuthRequestClaims(Head, frozen=True, kw_only=True):
    nats: AuthRequestBody


class AuthResponseBody(Part, frozen=True, kw_only=True):
    jwt: str = ""
    error: str = ""
    issuer_account: str = ""
    tags: Texts = ()
    type: str = ""
    version: int = 0


class AuthResponseClaims(Head, frozen=True, kw_only=True):
    nats: AuthResponseBody = AuthResponseBody()


Claims = (
    OperatorClaims | AccountClaims | UserClaims | ActivationClaims | AuthRequestClaims | AuthResponseClaims
)
