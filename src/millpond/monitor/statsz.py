"""STATSZ: the server in a few numbers, sent to whoever listens and to whoever pings (reference 07.2, 07.3)."""

from __future__ import annotations

import os
from typing import Any

from millpond.base import process_memory
from millpond.jetstream.go_json import format_time
from millpond.monitor.jsz import jetstream_config, jetstream_limits, jetstream_stats
from millpond.monitor.view import View, number


async def statsz(view: View) -> dict[str, Any]:
    """The document, in the server's order."""
    broker, counters = view.broker, view.broker.statistics()
    received = {"msgs": counters["in_msgs"], "bytes": counters["in_bytes"]}
    sent = {"msgs": counters["out_msgs"], "bytes": counters["out_bytes"]}
    out: dict[str, Any] = {
        "start": format_time(broker.started_ns),
        "mem": process_memory.read().rss,
        "cores": os.cpu_count() or 1,
        "cpu": number(view.cpu.percent()),
        "connections": len(broker.sessions),
        "total_connections": counters["total_connections"],
        "active_accounts": sum(1 for account in broker.accounts.values() if account.connections),
        "subscriptions": broker.subscriptions(),
        "sent": sent,
        "sent_to_clients": sent,
        "received": received,
        "received_from_clients": received,
        "slow_consumers": counters["slow_consumers"],
    }
    elsewhere = {"routes": 0, "gateways": 0, "leafs": 0}
    if slow := counters["slow_consumers"]:
        out["slow_consumer_stats"] = {"clients": slow, **elsewhere}
    if stale := counters["stale_connections"]:
        out["stale_connections"] = stale
        out["stale_connection_stats"] = {"clients": stale, **elsewhere}
    if counters["stalled_clients"]:
        out["stalled_clients"] = counters["stalled_clients"]
    out["active_servers"] = 1
    if view.jetstream is not None:
        config = {name: value for name, value in jetstream_config(view.jetstream).items() if name != "store_dir"}
        most = jetstream_limits(view.jetstream)
        stats = await jetstream_stats(view.jetstream)
        out["jetstream"] = {"config": config, "stats": stats, "limits": most}
    return {**out, "gomaxprocs": 1}
