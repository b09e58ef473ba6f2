"""/accountz and /accstatz: accounts in detail and in numbers (reference 07.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from millpond.broker.account import Account
from millpond.jetstream.go_json import format_time
from millpond.monitor.account_sharing import shared
from millpond.monitor.subsz import sublist_stats
from millpond.monitor.view import PageError, View, breathe


def shown_names(view: View) -> list[str]:
    return list(view.broker.accounts)


class AccountzOptions(msgspec.Struct, frozen=True, kw_only=True):
    account: str = ""


class AccountStatzOptions(msgspec.Struct, frozen=True, kw_only=True):
    accounts: list[str] = []
    include_unused: bool = False


async def accountz(view: View, options: AccountzOptions) -> dict[str, Any]:
    """The page. Raises PageError for an account that is not there."""
    page = view.head()
    if view.options.system_account:
        page["system_account"] = view.options.system_account
    if not options.account:
        return {**page, "accounts": sorted(shown_names(view))}
    return {**page, "account_detail": account_detail(view, options.account)}


def account_detail(view: View, name: str) -> dict[str, Any]:
    """One account. Raises PageError when it is not there."""
    account = view.broker.accounts.get(name)
    if account is None:
        raise PageError(f"Account {name} does not exist")
    stats = sublist_stats(account.router.sublist)
    known = view.broker.book.known.get(name) if view.broker.book is not None else None
    claims = {"name_tag": name}
    if known is not None:
        from millpond.monitor.account_claims import claimed  # and JWTs with it

        claims = claimed(known)
    return {
        "account_name": name,
        "update_time": format_time(view.config_loaded_ns if known is None else int(known.updated_s * 1e9)),
        **({"is_system": True} if account is view.broker.system else {}),
        "expired": known is not None and known.expired,
        "complete": known is None or known.complete,
        "jetstream_enabled": view.jetstream is not None and name in view.jetstream.accounts,
        "leafnode_connections": 0,
        "client_connections": account.connections,
        "subscriptions": stats["num_subscriptions"],
        **shared(view, account),
        **claims,
        "sublist_stats": stats,
    }


async def accstatz(view: View, options: AccountStatzOptions) -> dict[str, Any]:
    """The page; accounts without connections only on request."""
    names = [name for name in options.accounts or shown_names(view) if name in view.broker.accounts]
    shown = []
    for row, name in enumerate(names):
        await breathe(row)
        account = view.broker.accounts.get(name)
        if account is not None and (options.include_unused or account.connections):
            shown.append(account_stat(account))
    return {**view.head(), "account_statz": shown}


def account_stat(account: Account) -> dict[str, Any]:
    """One account in numbers, in the server's order."""
    counters = account.statistics()
    nothing = {"msgs": 0, "bytes": 0}
    elsewhere = {"gateways": nothing, "routes": nothing, "leafs": nothing}
    connections = account.connections
    return {
        "acc": account.name,
        "name": account.options.name_tag or account.name,
        "conns": connections,
        "leafnodes": 0,
        "total_conns": connections,
        "num_subscriptions": account.router.sublist.statistics()["subscriptions"],
        "sent": {"msgs": counters["out_msgs"], "bytes": counters["out_bytes"], **elsewhere},
        "received": {"msgs": counters["in_msgs"], "bytes": counters["in_bytes"], **elsewhere},
        "slow_consumers": counters["slow_consumers"],
    }
