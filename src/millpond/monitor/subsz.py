"""/subsz: the subject space in numbers, and its subscriptions (reference 07.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from millpond.base import limits
from millpond.monitor.connz import subscription_row
from millpond.monitor.view import GLOBAL_ACCOUNT, PageError, View, breathe, number, sliced
from millpond.subjects import pytokens


class SubszOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Names as in requests over NATS."""

    offset: int = 0
    limit: int = 0
    subscriptions: bool = False
    account: str = ""
    test: str = ""


def sublist_stats(view: View) -> dict[str, Any]:
    """The counters of the account's subject space, in the server's order."""
    sublist = view.broker.router.sublist
    stats = sublist.statistics()
    largest, receivers = sublist.fanout()
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
    known = options.account in ("", GLOBAL_ACCOUNT)
    stats = sublist_stats(view)
    page: dict[str, Any] = {
        **view.head(),
        **(stats if known else dict.fromkeys(stats, 0)),
        "total": 0,
        "offset": max(0, options.offset),
        "limit": options.limit if options.limit > 0 else limits.PAGE_ROWS_DEFAULT,
    }
    if options.subscriptions and known:
        rows = []
        for at, sub in enumerate(view.broker.router.sublist.interests()):
            await breathe(at)
            subject = sub.subject.decode("utf-8", "replace")
            if options.test and not pytokens.matches(options.test, subject):
                continue
            rows.append(_row(sub, subject))
        page["total"] = len(rows)
        if shown := rows[sliced(page["offset"], page["limit"], len(rows))]:
            page["subscriptions_list"] = shown
    return page


def _row(sub: Any, subject: str) -> dict[str, Any]:
    queue, sid = sub.queue.decode("utf-8", "replace"), sub.sid.decode("utf-8", "replace")
    cid = getattr(sub.sink, "cid", 0)
    return {
        "account": GLOBAL_ACCOUNT,
        "account_tag": GLOBAL_ACCOUNT,
        **subscription_row((subject, queue, sid, sub.delivered, sub.messages_max), cid),
    }
