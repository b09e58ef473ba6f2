"""How many subscriptions of clients there are for a subject."""

from __future__ import annotations

from millpond.monitor.documents import taken
from millpond.monitor.view import View, breathe
from millpond.subjects import pytokens


async def count_subscribers(view: View, account: str, subject: str, queue: str | None = None) -> int:
    """Those that hear the literal `subject`; for one with wildcards: those within it. queue: only its members."""
    wild = pytokens.has_wildcard(subject)
    count = 0
    for at, sub in enumerate(taken(view.broker.accounts[account].router.sublist.interests())):
        await breathe(at)
        if not getattr(sub.sink, "cid", 0) or (queue is not None and sub.queue.decode("utf-8", "replace") != queue):
            continue
        heard = sub.subject.decode("utf-8", "replace")
        count += pytokens.is_subset(heard, subject) if wild else pytokens.matches(subject, heard)
    return count
