"""Values and queries in Go's words."""

from __future__ import annotations

import pytest

from millpond.monitor.documents import render
from millpond.monitor.query import Query
from millpond.monitor.view import PageError, number, rtt_text, sliced, uptime_text

S = 1_000_000_000


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0s"),
        (-5, "0s"),
        (59 * S + 999, "59s"),
        (60 * S, "1m0s"),
        (3600 * S, "1h0m0s"),
        (90_061 * S, "1d1h1m1s"),
        (366 * 86_400 * S + 5 * S, "1y1d0h0m5s"),
    ],
)
def test_uptime(duration_ns: int, text: str) -> None:
    assert uptime_text(duration_ns) == text


@pytest.mark.parametrize(
    ("rtt_ns", "text"), [(0, "0s"), (999, "999ns"), (1_000, "1µs"), (297_456, "297µs"), (1_234_567, "1.234567ms")]
)
def test_rtt(rtt_ns: int, text: str) -> None:
    assert rtt_text(rtt_ns) == text


def test_numbers_and_json() -> None:
    assert [number(2.0), number(0.5)] == [2, 0.5]
    assert render({"a": "<b>&", "c": [], "d": {}, "e": [1, 2.5]}) == (
        b'{\n  "a": "\\u003cb\\u003e\\u0026",\n  "c": [],\n  "d": {},\n  "e": [\n    1,\n    2.5\n  ]\n}'
    )
    assert render({"status": "ok"}, 0) == b'{"status":"ok"}'


def test_slices_stay_inside() -> None:
    rows = list(range(5))
    assert rows[sliced(3, 10, 5)] == [3, 4]
    assert rows[sliced(9, 10, 5)] == []
    assert rows[sliced(-1, 2, 5)] == [0, 1]


def test_query_values() -> None:
    query = Query("a=1&a=2&b=%20x+y&c=&d=T&e=-3&;f=1&g;h=1&i")
    assert query.text("a") == "1"
    assert query.text("b") == " x y"
    assert query.flag("d") and not query.flag("c") and not query.flag("none")
    assert (query.integer("e"), query.integer("a"), query.unsigned("a"), query.integer("c")) == (-3, 1, 1, 0)
    assert query.text("f") == "" and query.text("i") == ""
    assert Query("subs=Detail").subscriptions() == (False, True)
    assert Query("subs=1").subscriptions() == (True, False)


@pytest.mark.parametrize(
    ("text", "kind", "error"),
    [
        ("a=yes", "flag", 'Error decoding boolean for \'a\': strconv.ParseBool: parsing "yes": invalid syntax'),
        ("a=1x", "integer", "Error decoding int for 'a': strconv.Atoi: parsing \"1x\": invalid syntax"),
        (
            "a=9223372036854775808",
            "integer",
            "Error decoding int for 'a': strconv.Atoi: parsing \"9223372036854775808\": value out of range",
        ),
        ("a=-1", "unsigned", "Error decoding uint64 for 'a': strconv.ParseUint: parsing \"-1\": invalid syntax"),
        ("a=" + "9" * 5000, "integer", "value out of range"),
        ("a=%C2%B2", "integer", "invalid syntax"),
    ],
)
def test_query_errors(text: str, kind: str, error: str) -> None:
    with pytest.raises(PageError) as raised:
        getattr(Query(text), kind)("a")
    assert error in str(raised.value)
