"""/jsz: JetStream in numbers, and its accounts, streams and consumers in detail (reference 07.1)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.jetstream.account_streams import AccountStreams
from millpond.jetstream.api.consumers import ConsumerApi
from millpond.jetstream.api.sourcing import shown_count
from millpond.jetstream.api.streams import StreamApi
from millpond.jetstream.stream import Stream
from millpond.jetstream.usage import Usage
from millpond.monitor.view import JetStreamView, View, breathe, sliced

UNSIGNED: Final = 2**64
"""An account without a limit has -1, which nats-server prints as an unsigned number."""
REPLY_METADATA: Final = frozenset(("_nats.level", "_nats.ver"))


class JszOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Names as in requests over NATS."""

    account: str = ""
    accounts: bool = False
    streams: bool = False
    consumer: bool = False
    direct_consumer: bool = False
    config: bool = False
    leader_only: bool = False
    offset: int = 0
    limit: int = 0
    raft: bool = False
    stream_leader_only: bool = False


def jetstream_config(jetstream: JetStreamView) -> dict[str, Any]:
    """The configuration in force, as /varz and /jsz show it."""
    options = jetstream.options
    config: dict[str, Any] = {
        "max_memory": options.max_memory,
        "max_storage": options.max_file,
        "store_dir": jetstream.store_dir,
        "sync_interval": options.sync_interval_ns,
    }
    if options.sync == "always":
        config["sync_always"] = True
    if options.domain:
        config["domain"] = options.domain
    if jetstream.is_bounded:
        config["compress_ok"] = True
    if options.unique_tag:
        config["unique_tag"] = options.unique_tag
    if options.strict:
        config["strict"] = True
    return config


def jetstream_limits(jetstream: JetStreamView) -> dict[str, Any]:
    options = jetstream.options
    found = {
        "max_request_batch": options.limit_max_request_batch,
        "max_ack_pending": options.limit_max_ack_pending,
        "max_ha_assets": options.limit_max_ha_assets,
        "max_duplicate_window": options.limit_duplicate_window_ns,
        "max_batch_inflight_per_stream": options.limit_batches_per_stream,
        "max_batch_inflight_total": options.limit_batches_total,
        "max_batch_size": options.limit_batch_msgs,
        "max_batch_timeout": options.limit_batch_timeout_ns,
        "default_max_consumers": options.default_max_consumers,
    }
    return {name: value for name, value in found.items() if value}


async def jetstream_stats(jetstream: JetStreamView) -> dict[str, Any]:
    """Usage of the whole server, in the server's order."""
    return _stats(jetstream, await jetstream.usage(), await store_damage(jetstream))


def _stats(jetstream: JetStreamView, usage: Usage, damage: dict[str, int]) -> dict[str, Any]:
    return {
        "memory": usage.memory,
        "storage": usage.storage,
        "reserved_memory": usage.reserved_memory,
        "reserved_storage": usage.reserved_storage,
        "accounts": len(jetstream.accounts),
        "ha_assets": 0,
        "api": {
            "level": limits.API_LEVEL,
            "total": sum(part.api.total for part in jetstream.accounts.values()),
            "errors": sum(part.api.errors for part in jetstream.accounts.values()),
        },
        **({"store_damage": damage} if damage else {}),
    }


async def store_damage(jetstream: JetStreamView) -> dict[str, int]:
    """How many streams damage has taken messages from since the start, and how many messages; {}: none."""
    lost = []
    for row, part in enumerate(list(jetstream.accounts.values())):
        await breathe(row)
        lost += [stream.store.losses for stream in part.engine.streams.values() if stream.store.losses]
    return {"streams": len(lost), "messages": sum(each.messages for each in lost)} if lost else {}


def _disabled(view: View) -> dict[str, Any]:
    return {
        "memory": 0,
        "storage": 0,
        "reserved_memory": 0,
        "reserved_storage": 0,
        "accounts": 0,
        "ha_assets": 0,
        "api": {"level": 0, "total": 0, "errors": 0},
        **view.head(),
        "disabled": True,
        "config": {"max_memory": 0, "max_storage": 0},
        "streams": 0,
        "consumers": 0,
        "messages": 0,
        "bytes": 0,
        "total": 0,
    }


async def jsz(view: View, options: JszOptions) -> dict[str, Any]:
    """The page."""
    jetstream = view.jetstream
    if jetstream is None:
        return _disabled(view)
    usage, consumers = await jetstream.usage(), await _consumer_count(jetstream)
    damage = await store_damage(jetstream)
    leads = options.raft
    page: dict[str, Any] = {
        **_stats(jetstream, usage, damage),
        **view.head(),
        "config": jetstream_config(jetstream),
        "limits": jetstream_limits(jetstream),
        "streams": usage.streams,
    }
    if leads and usage.streams:
        page["streams_leader"] = usage.streams
    page["consumers"] = consumers
    if leads and consumers:
        page["consumers_leader"] = consumers
    page["messages"] = usage.messages
    page["bytes"] = usage.memory + usage.storage
    if options.consumer:
        options = msgspec.structs.replace(options, streams=True)
    details = []
    for row, name in enumerate(_shown_accounts(jetstream, options)):
        await breathe(row)
        if name in jetstream.accounts:
            details.append(await account_detail(jetstream.accounts[name], options))
    if details:
        page["account_details"] = details
    page["total"] = len(jetstream.accounts)
    return page


async def _consumer_count(jetstream: JetStreamView) -> int:
    """Of all accounts, without those that other streams have made for themselves."""
    streams = [stream for part in jetstream.accounts.values() for stream in part.engine.streams.values()]
    count = 0
    for at, stream in enumerate(streams):
        await breathe(at)
        count += shown_count(stream)
    return count


def _shown_accounts(jetstream: JetStreamView, options: JszOptions) -> list[str]:
    """The named one, or a page of all, sorted; with a limit below 0 all of them."""
    if options.account in jetstream.accounts:
        return [options.account]
    if not (options.accounts or (not options.account and options.streams)):
        return []
    names = sorted(jetstream.accounts)
    if options.limit < 0:
        return names
    return names[sliced(options.offset, options.limit or limits.PAGE_ROWS_DEFAULT, len(names))]


async def account_detail(jetstream: AccountStreams, options: JszOptions) -> dict[str, Any]:
    """One account and, as far as asked for, what is in it."""
    usage, most = jetstream.engine.usage(), jetstream.engine.account_limits
    detail: dict[str, Any] = {
        "name": jetstream.engine.account,
        "id": jetstream.engine.account,
        "memory": usage.memory,
        "storage": usage.storage,
        "reserved_memory": most.max_memory % UNSIGNED,
        "reserved_storage": most.max_file % UNSIGNED,
        "accounts": 0,
        "ha_assets": 0,
        "api": {"level": 0, "total": jetstream.api.total, "errors": jetstream.api.errors},
    }
    if options.streams:
        rows = []
        for at, name in enumerate(sorted(jetstream.engine.streams)):
            await breathe(at)
            stream = jetstream.engine.streams.get(name)
            if stream is not None:
                rows.append(await _stream(jetstream, stream, options))
        if rows:
            detail["stream_detail"] = rows
    return detail


async def _stream(jetstream: AccountStreams, stream: Stream, options: JszOptions) -> dict[str, Any]:
    described = StreamApi(jetstream.engine).described(stream)
    row: dict[str, Any] = {
        "name": stream.name,
        "created": described["created"],
        "cluster": {"leader": jetstream.engine.server_name},
    }
    if options.config:
        row["config"] = _as_stored(described["config"])
    row["state"] = described["state"]
    details = {"consumer_detail": False, **({"direct_consumer_detail": True} if options.direct_consumer else {})}
    for name, direct in details.items() if options.consumer else ():
        if rows := await _consumers(jetstream, stream, options, direct=direct):
            row[name] = rows
    for name in ("mirror", "sources"):
        if described.get(name):
            row[name] = described[name]
    return row


async def _consumers(
    jetstream: AccountStreams, stream: Stream, options: JszOptions, *, direct: bool
) -> list[dict[str, Any]]:
    """Those that the API shows, or those that other streams have made for themselves."""
    api = ConsumerApi(jetstream.engine)
    rows = []
    for at, name in enumerate(sorted(stream.consumers)):
        await breathe(at)
        consumer = stream.consumers.get(name)
        if consumer is None or consumer.config.direct != direct:
            continue
        row = api.described(consumer)
        if options.config:
            row["config"] = _as_stored(row["config"])
        else:
            del row["config"]
        rows.append(row)
    return rows


def _as_stored(config: dict[str, Any]) -> dict[str, Any]:
    """Without the metadata that only replies of the API carry."""
    metadata = {key: value for key, value in config.get("metadata", {}).items() if key not in REPLY_METADATA}
    return {**config, "metadata": metadata} if metadata else {k: v for k, v in config.items() if k != "metadata"}
