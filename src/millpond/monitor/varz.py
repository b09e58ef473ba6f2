"""/varz: the server in numbers (reference 07.1), and two objects of our own.

`memory` says where the container's memory is (memory_report), `turn_us` how long turns of the loop took:
for each bound in microseconds the turns that took less than it and not less than the one before.
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

from millpond.base import limits, process_memory
from millpond.config import feature_flags
from millpond.jetstream.go_json import format_time
from millpond.monitor import memory_report
from millpond.monitor.jsz import jetstream_config, jetstream_limits, jetstream_stats
from millpond.monitor.view import View, breathe, now_text, number, uptime_text

TURN_BUCKETS: Final = 24
"""As many as `broker.turn` has."""


async def varz(view: View) -> dict[str, Any]:
    """The page, in the server's order, our own objects last."""
    seen = await memory_of(view)
    jetstream = await jetstream_varz(view)
    tls = view.options.tls
    return {
        **_who(view),
        **_settings(view),
        "jetstream": jetstream,
        "tls_timeout": number((tls.timeout_ns if tls is not None else limits.TLS_TIMEOUT_NS) / 1e9),
        "write_deadline": view.options.write_deadline_ns,
        **({"write_timeout": view.options.write_timeout} if view.options.write_timeout else {}),
        "start": format_time(view.broker.started_ns),
        "now": now_text(),
        "uptime": uptime_text(time.time_ns() - view.broker.started_ns),
        "mem": seen["rss"],
        "cores": os.cpu_count() or 1,
        "gomaxprocs": 1,
        "cpu": number(view.cpu.percent()),
        **_traffic(view),
        "http_req_stats": dict(sorted(view.requests.items())),
        "config_load_time": format_time(view.config_loaded_ns),
        "config_digest": view.options.config_digest,
        **_labels(view),
        "feature_flags": feature_flags.in_force(view.options.feature_flags),
        **_trusted(view),
        **_trouble(view),
        **_certificate(view),
        "memory": seen,
        "turn_us": turn_us(view),
    }


async def memory_of(view: View) -> dict[str, int]:
    """The `memory` object: what the kernel says, the budgets, the trend."""
    await view.memory.measured()
    pages = await _own_pages(view.jetstream.store_dir) if view.jetstream is not None else 0
    seen = memory_report.varz_object(view.budgets, pages)
    return {**seen, "slope_per_hour": view.memory.slope_bytes_per_hour}


async def _own_pages(directory: str) -> int:
    """Bytes in the page cache of the files below it, as far as they are counted."""
    steps, row = process_memory.counting(directory, memory_report.FILES_MAX), 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: process_memory.FileCache = end.value
            return found.cached
        await breathe(row := row + 1)


def _who(view: View) -> dict[str, Any]:
    info = view.broker.info
    page = {
        "server_id": view.broker.server_id,
        "server_name": view.broker.server_name,
        "version": info["version"],
        "proto": info["proto"],
        "git_commit": info["git_commit"],
        "go": info["go"],
        "host": info["host"],
        "port": info["port"],
    }
    return page | {name: True for name in ("auth_required", "tls_required", "tls_verify") if info.get(name)}


def _labels(view: View) -> dict[str, Any]:
    """`tags` and `metadata` of the configuration; what is empty is left out."""
    options = view.options
    shown = {"tags": list(options.server_tags), "metadata": dict(sorted(options.server_metadata.items()))}
    return {name: value for name, value in shown.items() if value}


def _certificate(view: View) -> dict[str, Any]:
    """When what clients are shown ends."""
    ends_ns = view.certificate_ends_ns(view.options.tls)
    return {"tls_cert_not_after": format_time(ends_ns)} if ends_ns else {}


def _settings(view: View) -> dict[str, Any]:
    options = view.options
    page: dict[str, Any] = {"max_connections": options.max_connections}
    if options.max_subscriptions:
        page["max_subscriptions"] = options.max_subscriptions
    return {
        **page,
        "ping_interval": options.ping_interval_ns,
        "ping_max": options.ping_max,
        "http_host": options.http_host or options.host,
        "http_port": options.http_port or 0,
        "http_base_path": options.http_base_path,
        "https_port": options.https_port or 0,
        "auth_timeout": number(options.auth_timeout_ns / 1e9),
        "max_control_line": options.max_control_line,
        "max_payload": options.max_payload,
        "max_pending": options.max_pending,
        "cluster": {},
        "gateway": {},
        "leaf": {},
        "mqtt": {},
        "websocket": _websocket(view),
    }


def _websocket(view: View) -> dict[str, Any]:
    """Its settings; what is empty is left out."""
    options = view.options.websocket
    if options is None or not options.port:
        return {}
    tls = options.tls
    shown = {
        "host": options.host,
        "port": view.websocket_port,
        "advertise": options.advertise,
        "no_auth_user": options.no_auth_user,
        "handshake_timeout": options.handshake_timeout_ns,
        "auth_timeout": number(options.auth_timeout_ns / 1e9),
        "no_tls": options.no_tls,
        "tls_map": tls is not None and tls.verify_and_map,
        "tls_pinned_certs": sorted(tls.pinned_certs) if tls is not None else [],
        "same_origin": options.same_origin,
        "allowed_origins": list(options.allowed_origins),
        "compression": options.compression,
        "tls_cert_not_after": format_time(ends_ns) if (ends_ns := view.certificate_ends_ns(tls)) else "",
    }
    return {name: value for name, value in shown.items() if value}


async def jetstream_varz(view: View) -> dict[str, Any]:
    """Empty when JetStream is off."""
    if view.jetstream is None:
        return {}
    return {
        "config": jetstream_config(view.jetstream),
        "stats": await jetstream_stats(view.jetstream),
        "limits": jetstream_limits(view.jetstream),
    }


def _traffic(view: View) -> dict[str, Any]:
    broker, counters = view.broker, view.broker.statistics()
    page: dict[str, Any] = {
        "connections": len(broker.sessions),
        "total_connections": counters["total_connections"],
        "routes": 0,
        "remotes": 0,
        "leafnodes": 0,
    }
    for way in ("in", "out"):
        messages, size = counters[f"{way}_msgs"], counters[f"{way}_bytes"]
        page |= {f"{way}_msgs": messages, f"{way}_bytes": size}
        page |= {f"{way}_client_msgs": messages, f"{way}_client_bytes": size}
    return {
        **page,
        "slow_consumers": counters["slow_consumers"],
        "stale_connections": counters["stale_connections"],
        "stalled_clients": counters["stalled_clients"],
        "subscriptions": broker.subscriptions(),
    }


def _trusted(view: View) -> dict[str, Any]:
    """Without what is empty."""
    system, operator = view.options.system_account, view.options.operator
    if operator is None:
        return {"system_account": system} if system else {}
    from millpond.monitor.account_claims import operators  # and JWTs with it

    found = operators(operator, view.broker.book)
    fails = found.pop("pinned_account_fails")
    shown = {**found, "system_account": system, "pinned_account_fails": fails}
    return {name: value for name, value in shown.items() if value}


def _trouble(view: View) -> dict[str, Any]:
    counters = view.broker.statistics()
    elsewhere = {"routes": 0, "gateways": 0, "leafs": 0}
    return {
        "slow_consumer_stats": {"clients": counters["slow_consumers"], **elsewhere},
        "stale_connection_stats": {"clients": counters["stale_connections"], **elsewhere},
        "disk_io_wait_stats": {"waiters": 0, "waits": 0, "wait_time": 0, "max_wait_time": 0},
    }


def turn_us(view: View) -> dict[str, int]:
    """{upper bound: turns}; the last bucket has no bound in truth."""
    counts = view.broker.turn.histogram()
    return {str(1 << bit): counts.get(1 << bit, 0) for bit in range(TURN_BUCKETS)}
