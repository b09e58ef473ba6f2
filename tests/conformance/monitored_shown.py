"""What two servers in the same situation show, without what belongs to one run and the servers' own subscriptions."""

from __future__ import annotations

import re
from typing import Any

OF_CLIENTS = ("_INBOX.", "pre.", "s.1", "s.2", "s.3")
"""How subjects begin that only clients listen on, in these situations."""
NAMED_BY_CHANCE = re.compile(r"(JS_(?:MIRROR|SRC)_\w+-|\$JS\.[MS]\.)\w+")
COUNTS_TEXTS = frozenset({"out_bytes", "out_client_bytes", "active", "pause_remaining"})
"""Of answers with times in them, which are of any length; and what runs with the clock."""


def without_own(value: Any, key: str = "") -> Any:
    """Without what belongs to one run, and the servers' own subscriptions; lists of maps in order."""
    if key == "http_req_stats":
        return list(value)
    if isinstance(value, dict):
        if key == "sent" or str(value.get("subject")).startswith("pre."):  # docs/differences.md imported-max
            value = {**value, "bytes" if key == "sent" else "msgs": "<number>"}
        if "subscriptions_list" in value and "num_cache" in value:
            value = {**value, "total": "<number>"}
        return {name: without_own(item, name) for name, item in value.items()}
    if key in COUNTS_TEXTS:
        return "<number>"
    if isinstance(value, str):
        return NAMED_BY_CHANCE.sub(r"\1<name>", value)
    if not isinstance(value, list):
        return value
    rows = [without_own(item, "row") for item in value]
    if key == "subscriptions_list":
        return [row for row in rows if isinstance(row, str) or row["subject"].startswith(OF_CLIENTS)]
    if key == "subscriptions_list_detail":
        return sorted(rows, key=str)
    if key in ("account_statz", "account_details", "stream_detail", "consumer_detail", "direct_consumer_detail"):
        return sorted(rows, key=lambda row: str(row.get("acc") or row.get("name")))
    return rows
