"""/accountz and /accstatz: accounts in detail and in numbers (reference 07.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from millpond.broker.account import Account
from millpond.jetstream.go_json import format_time
from millpond.monitor.subsz import sublist_stats
from millpond.monitor.view import PageError, View


def shown_names(view: View) -> list[str]:
    """All accounts; the implied system account has nobody in it and is not shown."""
    implied = not view.options.accounts
    return [name for name in view.broker.accounts if not (implied and name == view.options.system_account)]


class AccountzOptions(msgspec.Struct, frozen=True, kw_only=True):
    account: str = ""


class AccountStatzOptions(msgspec.Struct, frozen=True, kw_only=True):
    accounts: list[str] = []
    include_unused: bool = False


async def accountz(view: View, options: AccountzOptions) -> dict[str, Any]:
    """The page. Raises PageError for an account that is not there."""
    page = view.head()
    name = options.account
    if view.options.system_account and view.options.accounts:
        page["system_account"] = view.options.system_account
    if not name:
        return {**page, "accounts": sorted(shown_names(view))}
    account = view.broker.accounts.get(name)
    if account is None:
        raise PageError(f"Account {name} does not exist")
    stats = sublist_stats(view, name)
    detail = {
        "account_name": name,
        "update_time": format_time(view.config_loaded_ns),
        "expired": False,
        "complete": True,
        "jetstream_enabled": view.jetstream is not None and name in view.jetstream.accounts,
        "leafnode_connections": 0,
        "client_connections": account.connections,
        "subscriptions": stats["num_subscriptions"],
        "name_tag": name,
        "sublist_stats": stats,
    }
    return {**page, "account_detail": detail}


async def accstatz(view: View, options: AccountStatzOptions) -> dict[str, Any]:
    """The page; accounts without connections only on request."""
    names = [name for name in options.accounts or shown_names(view) if name in view.broker.accounts]
    accounts = [view.broker.accounts[name] for name in names]
    shown = [account_stat(account) for account in accounts if options.include_unused or account.connections]
    return {**view.head(), "account_statz": shown}


def account_stat(account: Account) -> dict[str, Any]:
    """One account in numbers, in the server's order."""
    counters = account.statistics()
    nothing = {"msgs": 0, "bytes": 0}
    elsewhere = {"gateways": nothing, "routes": nothing, "leafs": nothing}
    connections = account.connections
    return {
        "acc": account.name,
        "name": account.name,
        "conns": connections,
        "leafnodes": 0,
        "total_conns": connections,
        "num_subscriptions": account.router.sublist.statistics()["subscriptions"],
        "sent": {"msgs": counters["out_msgs"], "bytes": counters["out_bytes"], **elsewhere},
        "received": {"msgs": counters["in_msgs"], "bytes": counters["in_bytes"], **elsewhere},
        "slow_consumers": counters["slow_consumers"],
    }
