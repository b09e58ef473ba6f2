"""/connz: the connections, open and closed, sorted, filtered, a page at a time (reference 07.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator
from heapq import merge
from operator import attrgetter
from typing import Any, Final

import msgspec

from millpond.accounts import certificates
from millpond.accounts.origin import TlsPeer
from millpond.base import limits
from millpond.broker.connection_info import ConnectionInfo
from millpond.jetstream.go_json import format_time
from millpond.monitor.view import GLOBAL_ACCOUNT, PageError, View, breathe, pause, rtt_text, uptime_text
from millpond.subjects import pytokens

OPEN, CLOSED, ALL = 0, 1, 2
STATES: Final = {"": OPEN, "open": OPEN, "closed": CLOSED, "any": ALL, "all": ALL}

DESCENDING: Final[dict[str, Callable[[ConnectionInfo], Any]]] = {
    "subs": lambda info: info.num_subscriptions,
    "pending": lambda info: info.pending_bytes,
    "msgs_to": lambda info: info.out_msgs,
    "msgs_from": lambda info: info.in_msgs,
    "bytes_to": lambda info: info.out_bytes,
    "bytes_from": lambda info: info.in_bytes,
    "last": lambda info: info.last_activity_ns,
    "idle": lambda info: -info.last_activity_ns,
    "stop": lambda info: info.stop_ns,
    "rtt": lambda info: info.rtt_ns,
}
ASCENDING: Final[dict[str, Callable[[ConnectionInfo], Any]]] = {
    "": lambda info: info.cid,
    "cid": lambda info: info.cid,
    "start": lambda info: info.cid,
    "uptime": lambda info: (info.stop_ns or time.time_ns()) - info.start_ns,
    "reason": lambda info: info.reason,
}
CLOSED_ONLY: Final = ("stop", "reason")


class ConnzOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Names as in requests over NATS. `state`: 0 open, 1 closed, 2 all; `limit` 0: the usual page."""

    sort: str = ""
    auth: bool = False
    subscriptions: bool = False
    subscriptions_detail: bool = False
    offset: int = 0
    limit: int = 0
    cid: int = 0
    mqtt_client: str = ""
    state: int = OPEN
    user: str = ""
    acc: str = ""
    filter_subject: str = ""


async def connz(view: View, options: ConnzOptions) -> dict[str, Any]:
    """The page. Raises PageError for sorts and filters that make no sense."""
    _check(options)
    offset = max(0, options.offset)
    limit = 1 if options.cid else options.limit if options.limit > 0 else limits.PAGE_ROWS_DEFAULT
    page: dict[str, Any] = {**view.head(), "num_connections": 0, "total": 0, "offset": offset, "limit": limit}
    if options.acc and options.acc not in view.broker.accounts:
        return {**page, "server_id": "", "connections": None}
    infos, page["total"] = await _found(view, options)
    rows = page["connections"] = []
    for at, info in enumerate(await _in_order(infos, options.sort)):
        await breathe(at)
        if at >= offset + limit:
            break
        if at >= offset:
            rows.append(_row(info, options, view.broker.accounts))
    page["num_connections"] = len(rows)
    return page


def _check(options: ConnzOptions) -> None:
    if options.sort not in DESCENDING and options.sort not in ASCENDING:
        raise PageError(f"invalid sorting option: {options.sort}")
    if options.sort in CLOSED_ONLY and options.state != CLOSED:
        raise PageError(f"sort by {options.sort} only valid on closed connections")
    if options.filter_subject not in ("", ">") and not options.acc:
        raise PageError("filter by subject only valid with account filtering")


async def _found(view: View, options: ConnzOptions) -> tuple[list[ConnectionInfo], int]:
    """What passes the filters, and how many there were before them."""
    detailed = options.subscriptions or options.subscriptions_detail or options.filter_subject != ""
    sessions, closed = view.broker.sessions, view.broker.closed
    if options.state not in (OPEN, CLOSED, ALL):
        return [], 0
    if options.acc:
        opened = view.broker.accounts[options.acc].connections
        ended_count = await _count_of(closed, options.acc) if options.state != OPEN else 0
    else:
        opened, ended_count = len(sessions), len(closed)
    total = (opened if options.state != CLOSED else 0) + (ended_count if options.state != OPEN else 0)
    found: list[ConnectionInfo] = []
    if options.cid:
        session = sessions.get(options.cid) if options.state != CLOSED else None
        if session is not None:
            return [session.info(detailed)], total
        ended = closed if options.state != OPEN else ()
        for row, info in enumerate(ended):
            await breathe(row)
            if info.cid == options.cid:
                return [info], total
        return [], total
    if options.state != CLOSED:
        for row, session in enumerate(list(sessions.values())):
            await breathe(row)
            info = session.info(detailed)
            if _wanted(info, options) and _listens(info, options.filter_subject):
                found.append(info)
    if options.state != OPEN:
        for row, info in enumerate(closed):
            await breathe(row)
            if _wanted(info, options):
                found.append(info)
    return found, total


def _wanted(info: ConnectionInfo, options: ConnzOptions) -> bool:
    mine = options.acc in ("", info.account)
    return mine and not options.mqtt_client and options.user in ("", info.authorized_user)


def _listens(info: ConnectionInfo, filter_subject: str) -> bool:
    if filter_subject in ("", ">"):
        return True
    return any(pytokens.overlap(filter_subject, row[0]) for row in info.subscriptions)


async def _count_of(closed: Iterable[ConnectionInfo], account: str) -> int:
    count = 0
    for row, info in enumerate(closed):
        await breathe(row)
        count += info.account == account
    return count


async def _in_order(infos: list[ConnectionInfo], by: str) -> Iterator[ConnectionInfo]:
    """Sorted; among equals by `cid`. A part of them is sorted at a time, and the parts are merged as they are taken."""
    descending = by in DESCENDING
    key, parts = DESCENDING[by] if descending else ASCENDING[by], []
    infos.sort(key=attrgetter("cid"))  # nearly so already
    for begin in range(0, len(infos), limits.SORTED_PER_STEP):
        if begin:
            await pause()
        parts.append(sorted(infos[begin : begin + limits.SORTED_PER_STEP], key=key, reverse=descending))
    return merge(*parts, key=key, reverse=descending)


def _row(info: ConnectionInfo, options: ConnzOptions, accounts: Container[str]) -> dict[str, Any]:
    """One connection, in the server's order. accounts: those that there are."""
    now_ns = info.stop_ns or time.time_ns()
    row: dict[str, Any] = {
        "cid": info.cid,
        "kind": "Client",
        "type": info.client_type,
        "ip": info.ip,
        "port": info.port,
        "start": format_time(info.start_ns),
        "last_activity": format_time(info.last_activity_ns),
    }
    if info.stop_ns:
        row["stop"] = format_time(info.stop_ns)
        row["reason"] = info.reason
    row["rtt"] = rtt_text(info.rtt_ns)
    row["uptime"] = uptime_text(now_ns - info.start_ns)
    row["idle"] = uptime_text(now_ns - info.last_activity_ns)
    for name in ("pending_bytes", "in_msgs", "out_msgs", "in_bytes", "out_bytes"):
        row[name] = getattr(info, name)
    if info.stalls:
        row["stalls"] = info.stalls
    row["subscriptions"] = info.num_subscriptions
    for name in ("name", "lang", "version"):
        if value := getattr(info, name):
            row[name] = value
    if info.tls is not None:
        row |= _tls(info.tls, detailed=options.auth)
    if options.auth and info.authorized_user:
        row["authorized_user"] = info.authorized_user
    if options.auth and info.account != GLOBAL_ACCOUNT:
        row["account"] = info.account
    if options.subscriptions_detail and info.subscriptions:
        row["subscriptions_list_detail"] = [_detail(info, each) for each in info.subscriptions]
    elif options.subscriptions and info.subscriptions:
        row["subscriptions_list"] = [each[0] for each in info.subscriptions]
    if options.auth:
        row |= _claims(info, accounts)
    return row


def _claims(info: ConnectionInfo, accounts: Container[str]) -> dict[str, Any]:
    """What whoever asks for users is told of a JWT, and of the account while there is one."""
    tag = info.account_tag or info.account
    shown = {"jwt": info.jwt, "issuer_key": info.issuer_key, "name_tag": tag, "tags": info.tags}
    if info.stop_ns and (info.account == GLOBAL_ACCOUNT or info.account not in accounts):
        del shown["name_tag"]
    return {name: value for name, value in shown.items() if value}


def _tls(peer: TlsPeer, *, detailed: bool) -> dict[str, Any]:
    """What the handshake came to; certificates only for whoever asks for users."""
    row: dict[str, Any] = {"tls_version": peer.version, "tls_cipher_suite": peer.cipher}
    if detailed and peer.chain:
        rows = [certificates.shown(der) for der in peer.chain]
        row["tls_peer_certs"] = [
            {"subject": each.subject, "spki_sha256": each.key_sha256, "cert_sha256": each.sha256} for each in rows
        ]
    if peer.first:
        row["tls_first"] = True
    return row


Subscribed = tuple[str, str, str, int, int]
"""(subject, queue, sid, delivered, max), as in ConnectionInfo."""


def _detail(info: ConnectionInfo, subscribed: Subscribed) -> dict[str, Any]:
    account = {"account": info.account, "account_tag": info.account_tag or info.account} if info.stop_ns else {}
    return {**account, **subscription_row(subscribed, info.cid)}


def subscription_row(subscribed: Subscribed, cid: int) -> dict[str, Any]:
    """One subscription, in the server's order."""
    subject, queue, sid, delivered, most = subscribed
    row: dict[str, Any] = {"subject": subject}
    if queue:
        row["qgroup"] = queue
    row["sid"] = sid
    row["msgs"] = delivered
    if most:
        row["max"] = most
    row["cid"] = cid
    return row
