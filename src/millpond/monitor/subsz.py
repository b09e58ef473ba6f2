"""/subsz: the subject space in numbers, and its subscriptions (reference 07.1)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.monitor.connz import subscription_row
from millpond.monitor.documents import taken
from millpond.monitor.view import PageError, View, breathe, number
from millpond.subjects import pytokens


class SubszOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Names as in requests over NATS."""

    offset: int = 0
    limit: int = 0
    subscriptions: bool = False
    account: str = ""
    test: str = ""


COUNTERS: Final = ("subscriptions", "cached", "inserts", "removes", "matches", "cache_hits")


def names_of(view: View, account: str) -> list[str]:
    """The accounts that are meant: the named one, if it is there; all for ""."""
    if account:
        return [account] if account in view.broker.accounts else []
    return sorted(view.broker.accounts)


def sublist_stats(sublist: Any) -> dict[str, Any]:
    """The counters of one account's subject space, in the server's order."""
    return _shown(sublist.statistics(), *sublist.fanout())


async def all_stats(view: View, account: str) -> dict[str, Any]:
    """The same of the named account, or of all together."""
    stats, largest, receivers = dict.fromkeys(COUNTERS, 0), 0, 0
    for row, name in enumerate(names_of(view, account)):
        await breathe(row)
        if (known := view.broker.accounts.get(name)) is not None:
            counters, (most, total) = known.router.sublist.statistics(), known.router.sublist.fanout()
            for counter in COUNTERS:
                stats[counter] += counters[counter]
            largest, receivers = max(largest, most), receivers + total
    return _shown(stats, largest, receivers)


def _shown(stats: dict[str, int], largest: int, receivers: int) -> dict[str, Any]:
    matches, cached = stats["matches"], stats["cached"]
    return {
        "num_subscriptions": stats["subscriptions"],
        "num_cache": cached,
        "num_inserts": stats["inserts"],
        "num_removes": stats["removes"],
        "num_matches": matches,
        "cache_hit_rate": number(stats["cache_hits"] / matches) if matches else 0,
        "max_fanout": largest,
        "avg_fanout": number(receivers / cached) if cached else 0,
    }


async def subsz(view: View, options: SubszOptions) -> dict[str, Any]:
    """The page. Raises PageError when `test` is no subject to publish to."""
    if options.test and (pytokens.has_wildcard(options.test) or not pytokens.is_valid_subject(options.test)):
        raise PageError(f"invalid test subject, must be valid publish subject: {options.test}")
    page: dict[str, Any] = {
        **view.head(),
        **await all_stats(view, options.account),
        "total": 0,
        "offset": max(0, options.offset),
        "limit": options.limit if options.limit > 0 else limits.PAGE_ROWS_DEFAULT,
    }
    if options.subscriptions:
        shown = []
        first, end = page["offset"], page["offset"] + page["limit"]
        at = 0
        for name in names_of(view, options.account):
            account = view.broker.accounts.get(name)
            for sub in taken(account.router.sublist.interests() if account is not None else []):
                await breathe(at := at + 1)
                subject = sub.subject.decode("utf-8", "replace")
                if not options.test or pytokens.matches(options.test, subject):
                    if first <= page["total"] < end:
                        shown.append(_row(sub, subject, name))
                    page["total"] += 1
        if shown:
            page["subscriptions_list"] = shown
    return page


def _row(sub: Any, subject: str, account: str) -> dict[str, Any]:
    queue, sid = sub.queue.decode("utf-8", "replace"), sub.sid.decode("utf-8", "replace")
    cid = getattr(sub.sink, "cid", 0)
    return {
        "account": account,
        "account_tag": account,
        **subscription_row((subject, queue, sid, sub.delivered, sub.messages_max), cid),
    }
