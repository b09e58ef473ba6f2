"""Documents in steps are the same documents, and no step writes much."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.jetstream import go_json
from millpond.monitor import documents
from millpond.monitor.prometheus import LINES_PER_PIECE, Metrics

TEXTS = st.text(max_size=8) | st.sampled_from(["<a&b>", "\u2028", "line\nline", '"'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=25,
)


def steps(document: Coroutine[Any, Any, Any]) -> tuple[Any, int]:
    """The document, and how often it let the loop run."""
    count = 0
    while True:
        try:
            document.send(None)
        except StopIteration as end:
            return end.value, count
        count += 1


@given(VALUES)
@pytest.mark.parametrize("indent", [0, 2, 3])
def test_the_same_as_at_once(indent: int, value: Any) -> None:
    expected = documents.render(value, indent)
    assert b"".join(steps(documents.rendered(value, indent))[0]) == expected


@given(VALUES)
def test_the_same_as_other_requests_are_answered(value: Any) -> None:
    expected = go_json.encode(value)
    assert steps(documents.encoded(value))[0] == expected


def page(rows: int, of_each: int) -> dict[str, Any]:
    consumers = [{"name": "c" * 40, "config": {"filter": "x" * 400}} for _ in range(of_each)]
    streams = [{"name": f"S{n}", "consumer_detail": list(consumers)} for n in range(rows)]
    accounts = [{"name": "A", "stream_detail": streams}]
    return {"now": "now", "account_details": accounts, "total": 1}


@pytest.mark.parametrize(("rows", "of_each"), [(8000, 0), (2, 4000)], ids=["many streams", "many consumers"])
def test_a_long_page_lets_the_loop_run(rows: int, of_each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = documents.render

    def render(value: Any, indent: int = 2) -> bytes:
        written = real(value, indent)
        sizes.append(len(written))
        return written

    monkeypatch.setattr(documents, "render", render)
    asked = page(rows, of_each)
    parts, breaths = steps(documents.rendered(asked))
    document = b"".join(parts)
    assert document == real(page(rows, of_each)) and asked["account_details"] == []
    assert max(sizes) < 1000, "a row at a time"
    assert breaths >= len(document) // (documents.BYTES_PER_BREATH + 1000)
    assert max(map(len, parts)) < documents.BYTES_PER_BREATH + 1000, "each can be sent, and freed, on its own"


def test_a_short_page_is_written_at_once() -> None:
    assert steps(documents.rendered(page(3, 3)))[1] == 0


def test_metrics_are_put_together_in_pieces() -> None:
    out, rows = Metrics(), 3 * LINES_PER_PIECE + 1
    for number in range(rows):
        out.add("m", number, {"stream": f"S{number}"})
    pieces = list(out.pieces())
    assert max(piece.count(b"\n") for piece in pieces) <= LINES_PER_PIECE
    lines = b"".join(pieces).decode().splitlines()
    assert lines[0] == "# TYPE m gauge" and lines[1:] == [f'm{{stream="S{n}"}} {n}' for n in range(rows)]


def test_joined_lets_others_run() -> None:
    ran: list[str] = []

    async def scenario() -> None:
        other = asyncio.create_task(note())
        await documents.joined(iter([bytes(documents.BYTES_PER_BREATH)] * 3))
        ran.append("joined")
        await other

    async def note() -> None:
        ran.append("other")

    asyncio.run(scenario())
    assert ran == ["other", "joined"]
