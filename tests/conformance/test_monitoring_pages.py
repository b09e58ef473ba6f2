"""Every page with every option, in several situations: both servers show the same, key for key, in the same order.

Values count as well, but for what `test_monitoring.HIDDEN` names, and for the servers' own subscriptions.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest

from .monitored import QUERIES, SITUATIONS, SORTS, Situation
from .monitored_shown import without_own
from .test_monitoring import difference, shown

pytestmark = [
    pytest.mark.reference, pytest.mark.parametrize("situation", SITUATIONS, indirect=True, scope="module")
]  # fmt: skip

OURS = frozenset({"/healthz?account=$G"})
"""Pages that differ on purpose: docs/differences.md healthz-account."""


def page(here: Situation, path: str) -> Any:
    status, body = here.target.http(path)
    if not body.startswith(b"{"):
        return [status, body.decode()]
    return [status, without_own(shown(json.loads(body), here.target, top=path.partition("?")[0]))]


def differences_of(both: list[Situation], paths: list[str]) -> str:
    found = []
    for path in paths:
        pages = [page(here, path) for here in both]
        if pages[0] != pages[1] or json.dumps(pages[0]) != json.dumps(pages[1]):
            found.append(f"{path}\n{difference(*pages)}")
    return "\n\n".join(found)


@pytest.mark.parametrize("path", [path for path in QUERIES if QUERIES[path]])
def test_same_pages(situation: list[Situation], path: str) -> None:
    queries = [query for query in QUERIES[path] if f"{path}?{query}" not in OURS]
    diff = differences_of(situation, [f"{path}?{query}" if query else path for query in queries])
    assert not diff, diff


FIELDS = {
    "subs": "subscriptions", "msgs_to": "out_msgs", "msgs_from": "in_msgs",
    "bytes_to": "out_bytes", "bytes_from": "in_bytes", "reason": "reason",
}  # fmt: skip
"""What a page is sorted by; of equal ones either server shows any first."""
TIMES = {"start": "start", "last": "last_activity", "stop": "stop"}


def moment(text: str) -> datetime:
    """To the microsecond."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text.replace("Z", "+00:00")))


def order(here: Situation, sort: str, state: str) -> list[Any]:
    """Of the rows: the values that decide; of what is another value in each run, whether they rise and fall."""
    status, body = here.target.http(f"/connz?sort={sort}&state={state}")
    if status != 200:
        return [status, body.decode()]
    rows = json.loads(body)["connections"] or []
    if sort in FIELDS and not (sort == "bytes_to" and any(row.get("name") == "api" for row in rows)):
        return [row.get(FIELDS[sort]) for row in rows]
    if sort in TIMES:
        times = [moment(row[TIMES[sort]]) for row in rows]
        return [len(rows), times == sorted(times), times == sorted(times, reverse=True)]
    return [row["name"] for row in rows] if sort in ("", "cid") else [len(rows)]


@pytest.mark.parametrize("state", ["", "open", "closed", "any"])
@pytest.mark.parametrize("sort", [*SORTS, "size", "CID"])
def test_same_order(situation: list[Situation], sort: str, state: str) -> None:
    reference, other = (order(here, sort, state) for here in situation)
    assert other == reference
