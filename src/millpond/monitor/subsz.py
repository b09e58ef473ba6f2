"""/subsz: the subject space in numbers, and its subscriptions (reference 07.1)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.monitor.connz import subscription_row
from millpond.monitor.view import PageError, View, breathe, number, sliced
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


def sublist_stats(view: View, account: str = "") -> dict[str, Any]:
    """The counters of one account's subject space, or of all, in the server's order."""
    sublists = [view.broker.accounts[name].router.sublist for name in names_of(view, account)]
    each = [sublist.statistics() for sublist in sublists]
    stats = {name: sum(one[name] for one in each) for name in COUNTERS}
    fanouts = [sublist.fanout() for sublist in sublists]
    largest, receivers = max((most for most, _ in fanouts), default=0), sum(total for _, total in fanouts)
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
        **sublist_stats(view, options.account),
        "total": 0,
        "offset": max(0, options.offset),
        "limit": options.limit if options.limit > 0 else limits.PAGE_ROWS_DEFAULT,
    }
    if options.subscriptions:
        rows = []
        for name in names_of(view, options.account):
            for at, sub in enumerate(view.broker.accounts[name].router.sublist.interests()):
                await breathe(at)
                subject = sub.subject.decode("utf-8", "replace")
                if not options.test or pytokens.matches(options.test, subject):
                    rows.append(_row(sub, subject, name))
        page["total"] = len(rows)
        if shown := rows[sliced(page["offset"], page["limit"], len(rows))]:
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
