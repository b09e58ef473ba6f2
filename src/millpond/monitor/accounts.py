"""/accountz and /accstatz: accounts in detail and in numbers (reference 07.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from millpond.jetstream.go_json import format_time
from millpond.monitor.subsz import sublist_stats
from millpond.monitor.view import GLOBAL_ACCOUNT, PageError, View


class AccountzOptions(msgspec.Struct, frozen=True, kw_only=True):
    account: str = ""


class AccountStatzOptions(msgspec.Struct, frozen=True, kw_only=True):
    accounts: list[str] = []
    include_unused: bool = False


async def accountz(view: View, options: AccountzOptions) -> dict[str, Any]:
    """The page. Raises PageError for an account that is not there."""
    page = view.head()
    if not options.account:
        return {**page, "accounts": [GLOBAL_ACCOUNT]}
    if options.account != GLOBAL_ACCOUNT:
        raise PageError(f"Account {options.account} does not exist")
    stats = sublist_stats(view)
    detail = {
        "account_name": GLOBAL_ACCOUNT,
        "update_time": format_time(view.config_loaded_ns),
        "expired": False,
        "complete": True,
        "jetstream_enabled": view.jetstream is not None,
        "leafnode_connections": 0,
        "client_connections": len(view.broker.sessions),
        "subscriptions": stats["num_subscriptions"],
        "name_tag": GLOBAL_ACCOUNT,
        "sublist_stats": stats,
    }
    return {**page, "account_detail": detail}


async def accstatz(view: View, options: AccountStatzOptions) -> dict[str, Any]:
    """The page; accounts without connections only on request."""
    asked = not options.accounts or GLOBAL_ACCOUNT in options.accounts
    used = options.include_unused or len(view.broker.sessions) > 0
    return {**view.head(), "account_statz": [account_stat(view)] if asked and used else []}


def account_stat(view: View) -> dict[str, Any]:
    """One account in numbers, in the server's order."""
    counters = view.broker.statistics()
    nothing = {"msgs": 0, "bytes": 0}
    elsewhere = {"gateways": nothing, "routes": nothing, "leafs": nothing}
    connections = len(view.broker.sessions)
    return {
        "acc": GLOBAL_ACCOUNT,
        "name": GLOBAL_ACCOUNT,
        "conns": connections,
        "leafnodes": 0,
        "total_conns": connections,
        "num_subscriptions": view.broker.router.sublist.statistics()["subscriptions"],
        "sent": {"msgs": counters["out_msgs"], "bytes": counters["out_bytes"], **elsewhere},
        "received": {"msgs": counters["in_msgs"], "bytes": counters["in_bytes"], **elsewhere},
        "slow_consumers": counters["slow_consumers"],
    }
