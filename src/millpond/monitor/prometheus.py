"""/metrics: the pages as Prometheus text, with the names and labels of prometheus-nats-exporter.

So dashboards made for the exporter work without one. `?prefix=nats` is the exporter's `-prefix=nats`, as
the Helm chart sets it; without it server metrics begin with `gnatsd_` and JetStream's with `jetstream_`.

Of /varz, /routez and /subsz every number is a gauge named after its path, so that what these pages learn to
say is measured too; of a few strings the value becomes a label. Times are Unix milliseconds there. The
turns of the loop are a histogram of our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from millpond.jetstream.go_json import parse_time
from millpond.monitor import standalone
from millpond.monitor.accounts import AccountStatzOptions, account_detail, accstatz, shown_names
from millpond.monitor.connz import ConnzOptions, connz
from millpond.monitor.documents import gathered, taken
from millpond.monitor.healthz import HealthzOptions, healthz
from millpond.monitor.jsz import JszOptions, jsz
from millpond.monitor.subsz import SubszOptions, subsz
from millpond.monitor.varz import varz
from millpond.monitor.view import PageError, View, breathe, pause

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
LABELLED: Final = frozenset(("server_id", "server_name", "version", "domain", "leader", "name"))
TIMES: Final = frozenset(("start", "config_load_time"))
CONNECTION_TOTALS: Final = ("pending_bytes", "subscriptions", "in_bytes", "out_bytes", "in_msgs", "out_msgs")
COUNTED: Final = frozenset(("in_bytes", "out_bytes", "in_msgs", "out_msgs"))

OF_JWT: Final = ("subs", "data", "payload", "imports", "exports", "wildcards", "conn", "leaf")
"""Limits that an account's JWT says, -1: none; 0 for accounts without one, as by the exporter."""

LINES_PER_PIECE: Final = 512

Labels = dict[str, str]


class Metrics:
    """Samples by name; one name is written as one group, as the format wants it."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[str, list[str]]] = {}

    def add(self, name: str, value: float, labels: Labels, kind: str = "gauge") -> None:
        self._group(name, kind).append(f"{name}{_shown(labels)} {value}")

    def histogram(self, name: str, counts: dict[str, int], labels: Labels) -> None:
        """`counts`: upper bound -> how many fell below it and not below the one before."""
        lines, total = self._group(name, "histogram"), 0
        for bound, count in counts.items():
            total += count
            lines.append(f"{name}_bucket{_shown({**labels, 'le': bound})} {total}")
        lines.append(f"{name}_bucket{_shown({**labels, 'le': '+Inf'})} {total}")
        lines.append(f"{name}_count{_shown(labels)} {total}")

    def _group(self, name: str, kind: str) -> list[str]:
        return self._groups.setdefault(name, (kind, []))[1]

    def pieces(self) -> Iterator[bytes]:
        """The text, some lines at a time; they are forgotten."""
        for name in list(self._groups):
            kind, lines = self._groups.pop(name)
            yield f"# TYPE {name} {kind}\n".encode()
            for at in range(0, len(lines), LINES_PER_PIECE):
                yield ("\n".join(lines[at : at + LINES_PER_PIECE]) + "\n").encode()


def _shown(labels: Labels) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


async def metrics(view: View, prefix: str) -> list[bytes]:
    """All of them, in parts. Raises PageError for a prefix that no metric may have."""
    if prefix and not PREFIX.fullmatch(prefix):
        raise PageError(f"invalid prefix {prefix!r}: letters, digits and '_', 64 at most, no digit first")
    core, jetstream = prefix or "gnatsd", prefix or "jetstream"
    server = {"server_id": view.broker.server_id}
    out = Metrics()
    page = await varz(view)
    turns = page.pop("turn_us")
    _walk(out, f"{core}_varz", page, server)
    out.histogram(f"{core}_varz_turn_us", turns, server)
    await pause()
    _walk(out, f"{core}_routez", standalone.routez(view), server)
    _walk(out, f"{core}_subsz", await subsz(view, SubszOptions()), server)
    await _connections(out, f"{core}_connz", view, server)
    await _accounts(out, f"{core}_accstatz", view, server)
    await _account_details(out, f"{core}_accountz", view, server)
    out.add(f"{core}_leafz_conn_nodes_total", 0, server)
    await pause()
    _health(out, core, view, server)
    await pause()
    await _jetstream(out, jetstream, view)
    return await gathered(out.pieces())


def _walk(out: Metrics, name: str, page: dict[str, Any], server: Labels) -> None:
    """Every number below `page`. Unlike the exporter, an empty leaf object is no special case."""
    for key, value in page.items():
        path = re.sub("_+", "_", f"{name}_{key}".replace("/", "_")).strip("_")
        if isinstance(value, dict):
            _walk(out, path, value, server)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            out.add(path, value, server)
        elif isinstance(value, str) and key in LABELLED:
            out.add(path, 1, {**server, "value": value})
        elif isinstance(value, str) and key in TIMES:
            out.add(path, parse_time(value) // 1_000_000, server)


async def _connections(out: Metrics, name: str, view: View, server: Labels) -> None:
    """Sums over the page of connections, as the exporter's -connz."""
    page = await connz(view, ConnzOptions())
    for key in ("num_connections", "total", "offset", "limit"):
        out.add(f"{name}_{key}", page[key], server)
    totals = dict.fromkeys(CONNECTION_TOTALS, 0)
    for at, row in enumerate(page["connections"]):
        await breathe(at)
        for key in totals:
            totals[key] += row[key]
    for key, total in totals.items():
        out.add(f"{name}_{key}", total, server, "counter" if key in COUNTED else "gauge")


async def _accounts(out: Metrics, name: str, view: View, server: Labels) -> None:
    page = await accstatz(view, AccountStatzOptions(include_unused=True))
    for at, row in enumerate(taken(page["account_statz"])):
        await breathe(at)
        account, shown = row["acc"], row["name"]
        labels = {**server, "account": account, "account_id": account, "account_name": shown}
        values = {
            "current_connections": row["conns"],
            "total_connections": row["total_conns"],
            "subscriptions": row["num_subscriptions"],
            "leaf_nodes": row["leafnodes"],
            "sent_messages": row["sent"]["msgs"],
            "sent_bytes": row["sent"]["bytes"],
            "received_messages": row["received"]["msgs"],
            "received_bytes": row["received"]["bytes"],
            "slow_consumers": row["slow_consumers"],
        }
        for key, value in values.items():
            out.add(f"{name}_{key}", value, labels)


async def _account_details(out: Metrics, name: str, view: View, server: Labels) -> None:
    for at, account in enumerate(sorted(shown_names(view))):
        await breathe(at)
        if account not in view.broker.accounts:
            continue
        detail = account_detail(view, account)
        labels = {**server, "account_id": account, "account_name": detail["name_tag"]}
        for key in ("client_connections", "leafnode_connections", "subscriptions"):
            out.add(f"{name}_{key}", detail[key], labels)
        for key in ("is_system", "expired", "complete", "jetstream_enabled"):
            out.add(f"{name}_{key}", int(detail.get(key, False)), labels)
        said = detail.get("decoded_jwt", {"nats": {}})["nats"].get("limits", {})
        for key in OF_JWT:
            out.add(f"{name}_limit_{key}", int(said.get(key, 0)), labels)


def _health(out: Metrics, core: str, view: View, server: Labels) -> None:
    asked = {
        "healthz": HealthzOptions(),
        "healthz_js_enabled_only": HealthzOptions(js_enabled_only=True),
        "healthz_js_server_only": HealthzOptions(js_server_only=True),
    }
    for name, options in asked.items():
        status = healthz(view, options)[1]["status"]
        out.add(f"{core}_{name}_status", int(status != "ok"), server)
        out.add(f"{core}_{name}_status_value", int(status == "ok"), {**server, "value": status})


async def _jetstream(out: Metrics, prefix: str, view: View) -> None:
    page = await jsz(view, JszOptions(consumer=True, config=True, raft=True))
    server = {
        "server_id": view.broker.server_id,
        "server_name": view.broker.server_name,
        "cluster": "",
        "domain": page["config"].get("domain", ""),
        "meta_leader": "",
        "is_meta_leader": "true",
    }
    totals = {
        "jetstream_disabled": int(page.get("disabled", False)),
        "max_memory": page["config"]["max_memory"],
        "max_storage": page["config"]["max_storage"],
        "total_streams": page["streams"],
        "total_consumers": page["consumers"],
        "total_messages": page["messages"],
        "total_message_bytes": page["bytes"],
    }
    for key, value in totals.items():
        out.add(f"{prefix}_server_{key}", value, server)
    row = 0
    for account in taken(page.get("account_details", [])):
        await breathe(row := row + 1)
        labels = {
            **server, "account": account["name"], "account_name": account["name"], "account_id": account["id"],
        }  # fmt: skip
        out.add(f"{prefix}_account_max_storage", account["reserved_storage"], labels)
        out.add(f"{prefix}_account_max_memory", account["reserved_memory"], labels)
        out.add(f"{prefix}_account_storage_used", account["storage"], labels)
        out.add(f"{prefix}_account_memory_used", account["memory"], labels)
        for stream in taken(account.get("stream_detail", [])):
            await breathe(row := row + 1)
            of_stream = _stream(out, prefix, stream, labels)
            for consumer in taken(stream.get("consumer_detail", [])):
                await breathe(row := row + 1)
                _consumer(out, f"{prefix}_consumer", consumer, of_stream)


def _stream(out: Metrics, prefix: str, stream: dict[str, Any], account: Labels) -> Labels:
    """Its samples, but for those of its consumers, which begin with the labels returned."""
    labels = {
        **account,
        "stream_name": stream["name"],
        "stream_leader": stream["cluster"]["leader"],
        "is_stream_leader": "true",
        "stream_raft_group": "",
    }
    state, config = stream["state"], stream["config"]
    values = {
        "total_messages": state["messages"],
        "total_bytes": state["bytes"],
        "first_seq": state["first_seq"],
        "last_seq": state["last_seq"],
        "consumer_count": state["consumer_count"],
        "subject_count": state.get("num_subjects", 0),
        "limit_bytes": config["max_bytes"],
        "limit_messages": config["max_msgs"],
    }
    for key, value in values.items():
        out.add(f"{prefix}_stream_{key}", value, labels)
    upstreams = [("source", row) for row in stream.get("sources", [])]
    if mirror := stream.get("mirror"):
        upstreams.append(("mirror", mirror))
    for kind, row in upstreams:
        _upstream(out, f"{prefix}_stream_{kind}", kind, row, labels)
    return labels


def _upstream(out: Metrics, name: str, kind: str, row: dict[str, Any], stream: Labels) -> None:
    external = row.get("external") or {}
    labels = {
        **stream,
        f"{kind}_name": row["name"],
        f"{kind}_api": external.get("api", ""),
        f"{kind}_deliver": external.get("deliver", ""),
    }
    out.add(f"{name}_lag", row["lag"], labels)
    out.add(f"{name}_active_duration_ns", row["active"], labels)


def _consumer(out: Metrics, name: str, consumer: dict[str, Any], stream: Labels) -> None:
    labels = {
        **stream,
        "consumer_name": consumer["name"],
        "consumer_leader": stream["stream_leader"] if consumer.get("cluster") else "",
        "is_consumer_leader": "true",
        "consumer_desc": consumer["config"].get("description", ""),
    }
    for key, seconds in _ages(consumer):
        out.add(f"{name}_{key}", seconds, labels)
    values = {
        "delivered_consumer_seq": consumer["delivered"]["consumer_seq"],
        "delivered_stream_seq": consumer["delivered"]["stream_seq"],
        "num_ack_pending": consumer["num_ack_pending"],
        "num_redelivered": consumer["num_redelivered"],
        "num_waiting": consumer["num_waiting"],
        "num_pending": consumer["num_pending"],
        "ack_floor_stream_seq": consumer["ack_floor"]["stream_seq"],
        "ack_floor_consumer_seq": consumer["ack_floor"]["consumer_seq"],
    }
    for key, value in values.items():
        out.add(f"{name}_{key}", value, labels)


def _ages(consumer: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Seconds since the last delivery and the last ack, when there was one."""
    now_ns = parse_time(consumer["ts"])
    for key, place in (("last_delivery_seconds", "delivered"), ("last_ack_seconds", "ack_floor")):
        if last := consumer[place].get("last_active"):
            yield key, (now_ns - parse_time(last)) / 1e9
