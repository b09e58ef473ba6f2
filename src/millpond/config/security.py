"""Who may connect and what they may do, as a configuration file says it (reference 02): frozen values, checked."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from millpond.base import limits

Response = Literal["singleton", "stream", "chunked"]

GLOBAL_ACCOUNT = "$G"
"""Whoever is in no other account is in this one."""
SYSTEM_ACCOUNT = "$SYS"
"""The system account's name, unless the configuration names another one."""
VISITOR = "nats-" + os.urandom(4).hex()
"""Who a client without credentials is where only the system account has users; nobody can name it."""


class SubjectPermission(msgspec.Struct, frozen=True):
    """Subjects with wildcards, for subscriptions perhaps with a queue: `orders.> workers`.

    `allow` None: everything that is not denied; an empty tuple: nothing.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


class ResponsePermission(msgspec.Struct, frozen=True):
    """How often, and for how long, a reply subject that was received may be published to; negative: no bound."""

    max_msgs: int = limits.RESPONSES_PER_REQUEST_DEFAULT
    expires_ns: int = limits.RESPONSE_EXPIRES_DEFAULT_NS


class Permissions(msgspec.Struct, frozen=True):
    """One user's; None: no rule."""

    publish: SubjectPermission | None = None
    subscribe: SubjectPermission | None = None
    responses: ResponsePermission | None = None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user with a password (plain or a bcrypt hash), or one with an nkey, whose `name` is the public key."""

    name: str
    password: str = ""
    is_nkey: bool = False
    is_oidc: bool = False
    """Known by a token of the issuer alone; `name` is `oidc:` and the value of its claim."""
    account: str = GLOBAL_ACCOUNT
    permissions: Permissions | None = None
    connection_types: tuple[str, ...] = ()
    """In upper case; empty: any."""

    def __repr__(self) -> str:
        return f"User({self.name!r}, account={self.account!r})"


TIER = "R1"
"""What one server's streams are: in one replica."""


class JetStreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's streams may use; -1: no bound. Bytes, but for the counts."""

    max_memory: int = -1
    max_file: int = -1
    max_streams: int = -1
    max_consumers: int = -1
    max_ack_pending: int = -1
    memory_max_stream_bytes: int = -1
    file_max_stream_bytes: int = -1
    max_bytes_required: bool = False
    tiers: tuple[tuple[str, JetStreamLimits], ...] = ()
    """Limits by the number of replicas (`R1`), instead of those above: of these, one server's are `R1`."""


class Latency(msgspec.Struct, frozen=True):
    """How long a service takes is told on `subject`, of `sampling` percent of the requests, and of those whose headers
    say that they are a sampled part of a trace; 0: of these only."""

    subject: str
    sampling: int = 100


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What an account lets others import. `accounts` None: any of them."""

    subject: str
    service: bool = False
    accounts: tuple[str, ...] | None = None
    account_position: int = 0
    """From 1: the token that must be the importing account's name; 0: none."""
    response: Response = "singleton"
    threshold_ns: int = limits.SERVICE_RESPONSE_THRESHOLD_NS
    """How long an answer may take."""
    allow_trace: bool = False
    """A message trace of an importer tells what becomes of a request here. Of services only."""
    latency: Latency | None = None
    """Of services with one answer only."""


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """`subject` of `account`, here under `local`: with `$1` and so on, or `*`, for its wildcards in order."""

    account: str
    subject: str
    local: str
    service: bool = False
    share: bool = False
    """The exporter is told more about who asks."""
    allow_trace: bool = False
    """A message trace of the exporter tells what becomes of a message here. Of streams only."""
    named: bool = False
    """Only who names its first token hears it: `>` does not. Of streams only."""


class Destination(msgspec.Struct, frozen=True):
    """Where a mapping sends this share (in percent) of what is published."""

    subject: str
    weight: int = 100


class Mapping(msgspec.Struct, frozen=True):
    """What is published to `source` goes to one of the destinations; if they are less than 100, the rest stays."""

    source: str
    destinations: tuple[Destination, ...]


class AccountOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One account without its users; -1: no bound."""

    name: str
    nkey: str = ""
    name_tag: str = ""
    """What people call it, when its name is a key."""
    tags: tuple[str, ...] = ()
    issuer: str = ""
    """The operator's key that signed its claims; "": it is of the configuration."""
    max_connections: int = -1
    max_subscriptions: int = -1
    """Of one connection."""
    max_payload: int = -1
    jetstream: JetStreamLimits | None = None
    """None: no streams, unless there is no account but the global one."""
    trace_destination: str = ""
    """Where the way of messages with a sampled `traceparent` is told; empty: nowhere."""
    trace_sampling: int = 100
    """Of how many of 100 such messages."""
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()
    mappings: tuple[Mapping, ...] = ()
