"""The keys of nats-server's configuration (reference 08.2): what each sets, or why it is refused.

A key whose part exists names fields of `Options` (`jetstream.` for those of `JetStreamOptions`). A key that
nats-server knows and we do not serve is refused by name, never ignored, except with the value that asks for
what we do anyway. Keys are looked up in lower case.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from millpond.base import limits
from millpond.config import default_domains, exchange_file, feature_flags, values
from millpond.config.parser import Node
from millpond.config.source import ConfigError
from millpond.config.values import Reader

LAME_DUCK_LEAST_NS: Final = 30 * values.SECOND_NS
SUB_TOKENS_MAX: Final = 255


class Key(NamedTuple):
    """Sets `targets` to what `read` gives, item by item when there are several; None leaves the default.

    old_seconds: an integer is a number of seconds, which is warned about.
    """

    targets: tuple[str, ...]
    read: Reader
    old_seconds: bool = False


class Refused(NamedTuple):
    """Known to nats-server, not served. `unless`: values that change nothing."""

    what: str
    unless: tuple[Any, ...] = ()


class Block(NamedTuple):
    """Has keys of its own; `name` finds the function that reads it (config/file)."""

    name: str


Table = dict[str, Key | Refused | Block]


def _server_name(node: Node) -> str:
    name = values.string(node)
    if " " in name:
        raise ConfigError(node.place, "server name cannot contain spaces")
    return name


def _sub_tokens(node: Node) -> int:
    value = values.integer(node)
    if not 0 < value <= SUB_TOKENS_MAX:
        raise ConfigError(node.place, f"{value} is out of range; it must be 1 to {SUB_TOKENS_MAX}")
    return value


def _not_negative(node: Node) -> int:
    """nats-server reads a negative number as 0."""
    return max(0, values.integer(node))


def _lame_duck_duration(node: Node) -> int:
    value = values.duration(node)
    if value < LAME_DUCK_LEAST_NS:
        raise ConfigError(node.place, "invalid lame_duck_duration, minimum is 30 seconds")
    return value


def _write_timeout(node: Node) -> str:
    value = values.string(node)
    if value not in ("default", "close", "retry"):
        raise ConfigError(node.place, "write_timeout must be 'default', 'close' or 'retry'")
    return "" if value == "default" else value


def _feature_flags(node: Node) -> dict[str, bool]:
    """Also unknown ones, in their order."""
    if not isinstance(node.value, dict):
        raise ConfigError(node.place, f"expected a map of flags, but this is {values.kind(node.value)}")
    found = {name: values.boolean(entry) for name, entry in sorted(node.value.items())}
    for name, on in found.items():
        if not feature_flags.is_served(name, on):
            raise ConfigError(node.value[name].place, f"{name}: millpond does not serve this feature yet; remove it")
    return found


def _sync(node: Node) -> tuple[str | None, int | None]:
    """(policy, interval). A bare interval leaves the policy alone: docs/durability.md."""
    if isinstance(node.value, str) and node.value.lower() in ("always", "interval", "never"):
        return node.value.lower(), None
    interval_ns = values.old_duration(node)
    if interval_ns <= 0:
        raise ConfigError(node.place, "the interval must be above 0; or write always, interval or never")
    return None, interval_ns


def _also(table: Table, **aliases: str) -> Table:
    """The table with further names of its keys."""
    return {**table, **{alias: table[name] for alias, name in aliases.items()}}


def _unused(read: Reader) -> Key:
    """What members of a cluster are told, and one server has no use for: the value must be one, and that is all."""
    return Key((), read)


_CLUSTERING: Final = Refused("clustering")
_ENCRYPTION: Final = Refused("encryption at rest")
_QUEUES: Final = Refused("bounds of queues that it does not have")

TOP: Final = _also(
    {
        "listen": Key(("host", "port"), values.listen),
        "host": Key(("host",), values.string),
        "port": Key(("port",), values.port),
        "server_name": Key(("server_name",), _server_name),
        "client_advertise": Key(("client_advertise",), values.string),
        "debug": Key(("debug",), values.boolean),
        "trace": Key(("trace",), values.boolean),
        "trace_verbose": Key(("trace", "trace_verbose"), lambda node: (values.boolean(node),) * 2),
        "trace_headers": Key(("trace", "trace_headers"), lambda node: (values.boolean(node),) * 2),
        "logtime": Key(("logtime",), values.boolean),
        "logtime_utc": Key(("logtime_utc",), values.boolean),
        "log_file": Key(("log_file",), values.string),
        "log_size_limit": Key(("log_size_limit",), values.count_or_default),
        "log_max_num": Key(("log_max_num",), values.count_or_default),
        "syslog": Key(("syslog",), values.boolean),
        "remote_syslog": Key(("remote_syslog",), values.string),
        "pid_file": Key(("pid_file",), values.string),
        "ports_file_dir": Key(("ports_file_dir",), values.string),
        "prof_port": Refused("profiling", (0,)),
        "prof_block_rate": Refused("profiling", (0,)),
        "http": Key(("http_host", "http_port"), values.listen),
        "http_port": Key(("http_port",), values.port),
        "http_base_path": Key(("http_base_path",), values.string),
        "https": Key(("http_host", "https_port"), values.listen),
        "https_port": Key(("https_port",), values.port),
        "max_control_line": Key(("max_control_line",), values.int32_or_default),
        "max_payload": Key(("max_payload",), values.int32_or_default),
        "max_pending": Key(("max_pending",), values.count_or_default),
        "max_connections": Key(("max_connections",), _not_negative),
        "max_subscriptions": Key(("max_subscriptions",), _not_negative),
        "max_sub_tokens": Key(("max_sub_tokens",), _sub_tokens),
        "max_traced_msg_len": Key(("max_traced_msg_len",), _not_negative),
        "max_closed_clients": Key(("max_closed_clients",), values.count_or_default),
        "ping_interval": Key(("ping_interval_ns",), values.old_duration, old_seconds=True),
        "ping_max": Key(("ping_max",), values.count_or_default),
        "write_deadline": Key(("write_deadline_ns",), values.old_duration, old_seconds=True),
        "write_timeout": Key(("write_timeout",), _write_timeout),
        "lame_duck_duration": Key(("lame_duck_duration_ns",), _lame_duck_duration),
        "lame_duck_grace_period": Key(("lame_duck_grace_period_ns",), values.duration),
        "no_header_support": Key(("no_header_support",), values.boolean),
        "no_fast_producer_stall": Key(("no_fast_producer_stall",), values.boolean),
        "no_sublist_cache": Refused("routing without a cache of subjects", (False,)),
        "proxy_protocol": Key(("proxy_protocol",), values.boolean),
        "authorization": Block("authorization"),
        "jetstream": Block("jetstream"),
        "store_dir": Key(("store_dir",), values.string),
        "cluster": _CLUSTERING,
        "connect_error_reports": _unused(values.integer),
        "reconnect_error_reports": _unused(values.integer),
        "gateway": Refused("gateways"),
        "leafnodes": Refused("leaf nodes"),
        "websocket": Block("websocket"),
        "mqtt": Refused("MQTT"),
        "tls": Block("tls"),
        "allow_non_tls": Key(("allow_non_tls",), values.boolean),
        "ocsp": Refused("OCSP", (False,)),
        "ocsp_cache": Refused("OCSP", (False,)),
        "accounts": Block("accounts"),
        "system_account": Key(("system_account",), values.string),
        "no_system_account": Block("no_system_account"),
        "no_auth_user": Key(("no_auth_user",), values.string),
        "default_js_domain": Key(("default_js_domain",), default_domains.read),
        "mappings": Key(("mappings",), exchange_file.mappings),
        "default_sentinel": Block("operator.default_sentinel"),
        "operator": Block("operator.tokens"),
        "trusted_keys": Block("operator.keys"),
        "resolver": Block("operator.resolver"),
        "resolver_tls": Block("operator.resolver_tls"),
        "resolver_preload": Block("operator.preload"),
        "resolver_pinned_accounts": Block("operator.pinned_accounts"),
        "admin_socket": Key(("admin_socket",), values.string),
        "server_tags": Key(("server_tags",), values.tags),
        "server_metadata": Key(("server_metadata",), values.texts),
        "feature_flags": Key(("feature_flags",), _feature_flags),
        "proxies": Refused("trusted proxies"),
    },
    net="host", logfile="log_file", logfile_size_limit="log_size_limit", logfile_max_num="log_max_num",
    pidfile="pid_file", monitor_port="http_port", max_conn="max_connections", max_subs="max_subscriptions",
    max_subscription_tokens="max_sub_tokens", disable_sublist_cache="no_sublist_cache", storedir="store_dir",
    leaf="leafnodes", ws="websocket", system="system_account", no_system="no_system_account",
    no_sys_acc="no_system_account", maps="mappings", operators="operator", roots="operator", root="operator",
    root_operators="operator", root_operator="operator", trusted="trusted_keys", account_resolver="resolver",
    accounts_resolver="resolver",
)  # fmt: skip

AUTHORIZATION: Final = _also(
    {
        "user": Key(("username",), values.string),
        "password": Key(("password",), values.string),
        "token": Key(("token",), values.string),
        "timeout": Key(("auth_timeout_ns",), values.seconds_ns),
        "users": Block("users"),
        "permissions": Block("default_permissions"),
        "auth_callout": Block("callout"),
        "oidc": Block("oidc"),
        "proxy_required": Refused("trusted proxies", (False,)),
    },
    username="user", **{"pass": "password"}, default_permission="permissions", default_permissions="permissions",
    auth_hook="auth_callout",
)  # fmt: skip

JETSTREAM: Final = _also(
    {
        "enabled": Key(("jetstream",), values.boolean),
        "strict": Key(("jetstream.strict",), values.boolean),
        "store_dir": Key(("store_dir",), values.string),
        "sync_interval": Key(("jetstream.sync", "jetstream.sync_interval_ns"), _sync, old_seconds=True),
        "max_memory_store": Key(("jetstream.max_memory",), values.storage_size),
        "max_file_store": Key(("jetstream.max_file",), values.storage_size),
        "scrub": Key(("jetstream.scrub",), values.boolean),
        "domain": Key(("jetstream.domain",), values.string),
        "limits": Block("limits"),
        "key": _ENCRYPTION,
        "prev_key": _ENCRYPTION,
        "cipher": _ENCRYPTION,
        "tpm": _ENCRYPTION,
        "extension_hint": _unused(values.string),
        "unique_tag": Key(("jetstream.unique_tag",), lambda node: values.string(node).strip().lower()),
        "max_outstanding_catchup": _unused(values.storage_size),
        "meta_compact": _unused(values.at_least(0)),
        "meta_compact_size": _unused(values.storage_size),
        "meta_compact_sync": _unused(values.boolean),
        "max_buffered_size": Key(("jetstream.max_buffered_bytes",), values.storage_size),
        "max_buffered_msgs": Key(("jetstream.max_buffered_msgs",), values.at_least(0)),
        "request_queue_limit": Key(("jetstream.request_queue_limit",), values.at_least(0)),
        "info_queue_limit": Key(("jetstream.info_queue_limit",), values.at_least(0)),
        "max_concurrent_io": _QUEUES,
    },
    enable="enabled", store="store_dir", storedir="store_dir", sync="sync_interval", max_mem_store="max_memory_store",
    max_mem="max_memory_store", max_file="max_file_store", ek="key", encryption_key="key", prev_ek="prev_key",
    prev_encryption_key="prev_key",
)  # fmt: skip

def _batch_msgs(node: Node) -> int:
    value, most = values.integer(node), limits.ATOMIC_BATCH_MESSAGES_MAX
    if value > most:
        raise ConfigError(node.place, f"{value} is out of range; a batch has {most} messages at most")
    return max(0, value)


BATCH: Final[Table] = {
    "max_inflight_per_stream": Key(("jetstream.limit_batches_per_stream",), _not_negative),
    "max_inflight_total": Key(("jetstream.limit_batches_total",), _not_negative),
    "max_msgs": Key(("jetstream.limit_batch_msgs",), _batch_msgs),
    "timeout": Key(("jetstream.limit_batch_timeout_ns",), values.duration),
}
LIMITS: Final[Table] = {
    "max_ack_pending": Key(("jetstream.limit_max_ack_pending",), values.at_least(0)),
    "max_ha_assets": Key(("jetstream.limit_max_ha_assets",), values.integer),
    "max_request_batch": Key(("jetstream.limit_max_request_batch",), values.at_least(0)),
    "duplicate_window": Key(("jetstream.limit_duplicate_window_ns",), values.duration),
    "batch": Block("batch"),
    "default_max_consumers": Key(("jetstream.default_max_consumers",), values.at_least(1)),
}
