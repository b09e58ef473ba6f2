"""/metrics: every name that prometheus-nats-exporter makes of a server's pages, and Prometheus' own format."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import nats
import pytest
from pages_rig import CONSUMER, STREAM, Peer, busy, get, run
from prometheus_client.parser import text_string_to_metric_families
from tests.jwt_rig import Operator

import millpond
from millpond.config.build import build
from millpond.config.file import read
from millpond.config.options import JetStreamOptions
from millpond.monitor.connz import ConnzOptions, connz
from millpond.monitor.prometheus import Metrics, _connections


@pytest.mark.parametrize(("prefix", "core", "jetstream"), [("", "gnatsd", "jetstream"), ("nats", "nats", "nats")])
def test_metrics_are_prometheus_text(prefix: str, core: str, jetstream: str) -> None:
    async def scenario(server: millpond.Server) -> None:
        peer = await Peer.open(server)
        await peer.say(b"SUB r 1\r\nPUB $JS.API.STREAM.CREATE.S r %d\r\n%s\r\n" % (len(STREAM), STREAM))
        await peer.say(b"PUB $JS.API.CONSUMER.DURABLE.CREATE.S.C r %d\r\n%s\r\n" % (len(CONSUMER), CONSUMER))
        await peer.say(b"PUB s.a 5\r\nhello\r\n")
        status, kind, body = await get(server, f"/metrics?prefix={prefix}")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        samples = {}
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                if sample.labels.get("account_id") == "$SYS":
                    continue
                key = (sample.name, sample.labels.get("le", ""))
                assert key not in samples, f"{key} twice"
                samples[key] = sample
        values = {name: sample.value for (name, le), sample in samples.items() if not le}
        assert values[f"{core}_varz_connections"] == 1
        # `_total` is the parser's doing: it renames counters.
        assert values[f"{core}_varz_in_msgs"] == values[f"{core}_connz_in_msgs_total"] == 3
        assert values[f"{core}_varz_memory_rss"] > 1_000_000
        assert values[f"{core}_healthz_status"] == 0
        assert values[f"{core}_accstatz_current_connections"] == 1
        assert values[f"{jetstream}_server_total_streams"] == 1
        assert values[f"{jetstream}_stream_limit_messages"] == 10
        assert values[f"{jetstream}_stream_total_messages"] == 1
        consumer = samples[f"{jetstream}_consumer_num_pending", ""]
        assert consumer.value == 1
        assert consumer.labels["consumer_desc"] == 'a "b"' and consumer.labels["stream_name"] == "S"
        buckets = [s.value for (name, le), s in samples.items() if name == f"{core}_varz_turn_us_bucket" and le]
        assert buckets == sorted(buckets) and buckets[-1] == values[f"{core}_varz_turn_us_count"] > 0

    run(scenario)


def test_limits_of_an_accounts_token(tmp_path: Path) -> None:
    said = {"subs": 7, "data": 8, "payload": 9, "imports": 10, "exports": 11, "wildcards": True, "conn": 12, "leaf": 13}
    operator = Operator()
    account = operator.account("A", limits=said)
    file, credentials = tmp_path / "operator.conf", tmp_path / "a.creds"
    credentials.write_text(account.user("u").creds)
    file.write_text(operator.config(account))

    async def main() -> None:
        chosen = {"host": "127.0.0.1", "port": -1, "http_port": -1}
        async with millpond.Server.from_options(build({**read(file).settings, **chosen})) as server:
            client = await nats.connect(server.client_url, user_credentials=str(credentials))
            _, _, body = await get(server, "/metrics")
            await client.close()
            samples = [each for family in text_string_to_metric_families(body.decode()) for each in family.samples]
            begins = "gnatsd_accountz_limit_"
            found = {
                each.name.removeprefix(begins): each.value
                for each in samples
                if each.name.startswith(begins) and each.labels["account_id"] == account.public
            }
            assert found == said

    asyncio.run(asyncio.wait_for(main(), 30))


def test_others_have_their_turn_between_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millpond.monitor.view.ROWS_PER_BREATH", 1)

    def breaths(page: Coroutine[Any, Any, Any]) -> int:
        count = 0
        with contextlib.suppress(StopIteration):
            while True:
                page.send(None)
                count += 1
        return count

    async def scenario(server: millpond.Server) -> None:
        peers = [await Peer.open(server) for _ in range(3)]
        assert len(server.broker.sessions) == len(peers)
        of_page = breaths(connz(server.view, ConnzOptions()))
        assert of_page == 2 * len(peers)
        assert breaths(_connections(Metrics(), "x", server.view, {})) == of_page + len(peers)

    run(scenario)


NAMES = {
    "gnatsd_accountz": """
        client_connections complete expired is_system jetstream_enabled leafnode_connections limit_conn limit_data
        limit_exports limit_imports limit_leaf limit_payload limit_subs limit_wildcards subscriptions
    """,
    "gnatsd_accstatz": """
        current_connections leaf_nodes received_bytes received_messages sent_bytes sent_messages slow_consumers
        subscriptions total_connections
    """,
    "gnatsd_connz": """
        in_bytes_total in_msgs_total limit num_connections offset out_bytes_total out_msgs_total pending_bytes
        subscriptions total
    """,
    "gnatsd_healthz": """
        js_enabled_only_status js_enabled_only_status_value js_server_only_status js_server_only_status_value status
        status_value
    """,
    "gnatsd_leafz": """
        conn_nodes_total
    """,
    "gnatsd_routez": """
        num_routes server_id server_name
    """,
    "gnatsd_subsz": """
        avg_fanout cache_hit_rate limit max_fanout num_cache num_inserts num_matches num_removes num_subscriptions
        offset server_id total
    """,
    "gnatsd_varz": """
        auth_timeout config_load_time connections cores cpu disk_io_wait_stats_max_wait_time
        disk_io_wait_stats_wait_time disk_io_wait_stats_waiters disk_io_wait_stats_waits gomaxprocs http_port
        https_port in_bytes in_client_bytes in_client_msgs in_msgs jetstream_config_max_memory
        jetstream_config_max_storage jetstream_config_sync_interval jetstream_limits_default_max_consumers
        jetstream_limits_max_ack_pending jetstream_limits_max_duplicate_window jetstream_stats_accounts
        jetstream_stats_api_errors jetstream_stats_api_level jetstream_stats_api_total jetstream_stats_ha_assets
        jetstream_stats_memory jetstream_stats_reserved_memory jetstream_stats_reserved_storage
        jetstream_stats_storage leafnodes max_connections max_control_line max_payload max_pending max_subscriptions
        mem out_bytes out_client_bytes out_client_msgs out_msgs ping_interval ping_max port proto remotes routes
        server_id server_name slow_consumer_stats_clients slow_consumer_stats_gateways slow_consumer_stats_leafs
        slow_consumer_stats_routes slow_consumers stale_connection_stats_clients stale_connection_stats_gateways
        stale_connection_stats_leafs stale_connection_stats_routes stale_connections stalled_clients start
        subscriptions tls_timeout total_connections version write_deadline
    """,
    "jetstream_account": """
        max_memory max_storage memory_used storage_used
    """,
    "jetstream_consumer": """
        ack_floor_consumer_seq ack_floor_stream_seq delivered_consumer_seq delivered_stream_seq last_ack_seconds
        last_delivery_seconds num_ack_pending num_pending num_redelivered num_waiting
    """,
    "jetstream_server": """
        jetstream_disabled max_memory max_storage total_consumers total_message_bytes total_messages total_streams
    """,
    "jetstream_stream": """
        consumer_count first_seq last_seq limit_bytes limit_messages mirror_active_duration_ns mirror_lag
        source_active_duration_ns source_lag subject_count total_bytes total_messages
    """,
}
"""What the exporter (0.20.1) makes of nats-server, with all its pages on; `_total` ends what is a counter here."""
SERVER = {"server_id", "server_name", "cluster", "domain", "meta_leader", "is_meta_leader"}
ACCOUNT = SERVER | {"account", "account_name", "account_id"}
STREAM_OF = ACCOUNT | {"stream_name", "stream_leader", "is_stream_leader", "stream_raft_group"}
LABELS = {
    "jetstream_server": SERVER,
    "jetstream_account": ACCOUNT,
    "jetstream_stream": STREAM_OF,
    "jetstream_stream_source": STREAM_OF | {"source_name", "source_api", "source_deliver"},
    "jetstream_stream_mirror": STREAM_OF | {"mirror_name", "mirror_api", "mirror_deliver"},
    "jetstream_consumer": STREAM_OF | {"consumer_name", "consumer_leader", "is_consumer_leader", "consumer_desc"},
    "gnatsd_accstatz": {"server_id", "account", "account_id", "account_name"},
    "gnatsd_accountz": {"server_id", "account_id", "account_name"},
    "gnatsd": {"server_id"},
}
"""By how a name begins; the longest one counts."""
ADDED = {"value", "le"}


def test_every_name_of_the_exporter_is_there(tmp_path: Path) -> None:
    async def scenario(server: millpond.Server) -> None:
        await busy(server)
        for prefix in ("", "nats"):
            _, _, body = await get(server, f"/metrics?prefix={prefix}")
            found = {sample.name: set(sample.labels) for family in text_string_to_metric_families(body.decode())
                     for sample in family.samples}  # fmt: skip
            wanted = {f"{begin}_{rest}" for begin, rests in NAMES.items() for rest in rests.split()}
            for name in sorted(wanted):
                labels = found.get(f"nats_{name.partition('_')[2]}" if prefix else name)
                assert labels is not None, f"{name} is missing"
                begin = max((each for each in LABELS if name.startswith(each)), key=len)
                assert labels - ADDED == LABELS[begin], name

    limits = {"limit_max_ack_pending": 900, "limit_duplicate_window_ns": 60_000_000_000, "default_max_consumers": 1}
    run(scenario, jetstream=JetStreamOptions(store_dir=str(tmp_path), **limits), max_subscriptions=500)
