"""Everything a server can be told, as one frozen value: the result of flags, files and defaults.

Names follow nats-server's configuration keys; numbers carry their unit. A value that is out of
range never gets here: whoever makes an `Options` (command line, file, `Server(...)`) has checked it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from millpond.base import limits
from millpond.config.security import SYSTEM_ACCOUNT, AccountOptions, Mapping, User
from millpond.config.tls import TlsOptions
from millpond.config.websocket import WebsocketOptions

if TYPE_CHECKING:
    from millpond.config.oidc import OidcOptions
    from millpond.config.operator import CalloutOptions, OperatorOptions

SyncPolicy = Literal["always", "interval", "never"]


class JetStreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """JetStream part. `store_dir` None means a private temporary directory, removed at stop."""

    store_dir: str | None = None
    max_memory: int = -1
    """Bytes of memory storage; -1: taken from the machine (75 % of memory or of the cgroup limit)."""
    max_file: int = -1
    """Bytes of file storage; -1: taken from the disk (75 % of what is free)."""
    domain: str = ""
    strict: bool = True
    sync: SyncPolicy = "always"
    sync_interval_ns: int = limits.SYNC_INTERVAL_DEFAULT_NS
    scrub: bool = True
    """Read and verify what is stored, now and then."""
    default_max_consumers: int = limits.CONSUMERS_DEFAULT_MAX
    request_queue_limit: int = 0
    """Requests for information that wait for their turn, if `info_queue_limit` does not say; 0: the default."""
    info_queue_limit: int = 0
    max_buffered_msgs: int = 0
    """Publishes of one stream that may be under way, and their bytes; more are refused. 0: the default; -1: any."""
    max_buffered_bytes: int = 0
    unique_tag: str = ""
    """Of a cluster's servers; shown."""
    limit_max_ha_assets: int = 0
    """Of a cluster's servers; shown."""
    limit_max_ack_pending: int = 0
    """What one consumer may ask for, as the two below; 0: anything."""
    limit_max_request_batch: int = 0
    limit_duplicate_window_ns: int = 0
    limit_batches_per_stream: int = 0
    """Atomic batches under way, and as many fast ones; 0, as in the three below: the default."""
    limit_batches_total: int = 0
    """In all streams of an account."""
    limit_batch_msgs: int = 0
    limit_batch_timeout_ns: int = 0
    """After which an idle one ends."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One server's settings."""

    host: str = "0.0.0.0"
    port: int = 4222
    """-1: any free port."""
    server_name: str = ""
    """Empty: the server id."""
    client_advertise: str = ""
    server_tags: tuple[str, ...] = ()
    server_metadata: dict[str, str] = {}

    http_host: str = ""
    """Empty: the same as `host`."""
    http_port: int | None = None
    """None or 0: no monitoring; -1: any free port."""
    https_port: int | None = None
    """The same over TLS, with the certificate of `tls`; not both."""
    http_base_path: str = ""

    tls: TlsOptions | None = None
    """None: clients come in the clear."""
    allow_non_tls: bool = False
    """Clients may choose, on the same port."""
    proxy_protocol: bool = False
    """Load balancers may say, by a header of the PROXY protocol, where their clients are."""

    admin_socket: str = ""
    """Path of a Unix socket on which this user's and root's processes are clients of the system account; "": none."""

    websocket: WebsocketOptions | None = None
    """A listener for clients that come over WebSocket."""

    username: str = ""
    password: str = ""
    token: str = ""
    auth_timeout_ns: int = limits.AUTH_TIMEOUT_NS
    users: tuple[User, ...] = ()
    """Of all accounts. With users there is no single `username` and no `token`."""
    accounts: tuple[AccountOptions, ...] = ()
    """Beside `$G`, which is always there."""
    mappings: tuple[Mapping, ...] = ()
    """Of `$G`."""
    default_js_domain: dict[str, str] = {}
    """By account: the domain whose streams it means when it names none."""
    feature_flags: dict[str, bool] = {}
    """nats-server's, those of the configuration."""
    system_account: str = SYSTEM_ACCOUNT
    """Empty: there is none."""
    operator: OperatorOptions | None = None
    """Accounts and users are known by claims."""
    oidc: OidcOptions | None = None
    """Whose tokens say which of the users by oidc a client is."""
    callout: CalloutOptions | None = None
    """A service decides who is let in."""
    no_auth_user: str = ""
    """Whoever shows no credentials is this one of `users`."""

    max_payload: int = limits.PAYLOAD_BYTES_MAX
    max_pending: int = limits.PENDING_BYTES_MAX
    max_control_line: int = limits.CONTROL_LINE_BYTES_MAX
    max_connections: int = limits.CONNECTIONS_MAX
    max_subscriptions: int = 0
    """Per connection; 0: no limit."""
    max_sub_tokens: int = 0
    max_closed_clients: int = limits.CLOSED_CLIENTS_KEPT
    ping_interval_ns: int = limits.PING_INTERVAL_NS
    ping_max: int = limits.PINGS_OUTSTANDING_MAX
    write_deadline_ns: int = limits.WRITE_DEADLINE_NS
    write_timeout: str = ""
    """`retry`: who took something of what waited in that time, but not all, stays. `close`, or empty: who does not take
    all of it is closed."""
    no_header_support: bool = False
    no_fast_producer_stall: bool = False
    max_traced_msg_len: int = 0

    spin_ns: int = limits.SPIN_NS
    """How long a turn polls for more traffic before it gives the loop back; 0: never."""

    jetstream: JetStreamOptions | None = None
    """None: JetStream is off."""
    memory_bytes: int = 0
    """Budget of the whole server; 0: taken from the cgroup."""

    lame_duck_duration_ns: int = limits.LAME_DUCK_DURATION_NS
    lame_duck_grace_period_ns: int = limits.LAME_DUCK_GRACE_PERIOD_NS

    dev: bool = False
    """For work on one's own machine: on loopback, clients may ask and hear what the system account may (server.dev)."""

    debug: bool = False
    trace: bool = False
    trace_verbose: bool = False
    """As trace: what the server itself says in the system account comes from no connection."""
    trace_headers: bool = False
    """Of payloads, trace the headers alone."""
    logtime: bool = True
    logtime_utc: bool = False
    log_file: str = ""
    log_size_limit: int = 0
    """Bytes after which the log file is set aside and begun anew; 0: never."""
    log_max_num: int = 0
    """Log files kept, the current one included; 0: all."""
    syslog: bool = False
    remote_syslog: str = ""
    """`udp://host:port`, `tcp://host:port` or `unix:///path`."""
    pid_file: str = ""
    ports_file_dir: str = ""

    config_file: str = ""
    """Where the settings came from, as it was named; "": only from the command line."""
    config_digest: str = ""
    """`sha256:...` of that file's values, as /varz shows it."""
