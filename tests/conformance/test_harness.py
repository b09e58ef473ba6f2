"""The harness itself: it must see differences, hide only what it declares, and have no stale excuses."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from .compare import normalise, record, show_payload
from .known import KNOWN

HERE = Path(__file__).parent
ROWS = HERE.parents[1] / "docs" / "differences.md"


def test_every_known_difference_has_a_row_and_a_scenario():
    rows = set(re.findall(r"^\| ([a-z-]+) \|", ROWS.read_text(), re.M))
    modules = [import_module(f".{path.stem}", __package__) for path in HERE.glob("scenarios_*.py")]
    scenarios = {name for module in modules for name in vars(module)}
    assert set(KNOWN.values()) <= rows, "known.py names rows that docs/differences.md does not have"
    assert set(KNOWN) <= scenarios, "known.py names scenarios that do not exist"


def test_key_order_types_and_zero_fields_count():
    assert show_payload(b'{"a":1,"b":2}') != show_payload(b'{"b":2,"a":1}')
    assert show_payload(b'{"a":0}') != show_payload(b"{}")
    assert show_payload(b'{"id":"x"}') != show_payload(b'{"id":1}')
    assert show_payload(b'{"storage":"file"}') != show_payload(b'{"storage":"memory"}')


def test_only_the_clock_of_an_ack_subject_is_hidden():
    first = normalise("$JS.ACK.S.C.1.2.3.1700000000000000000.4", {})
    assert first == normalise("$JS.ACK.S.C.1.2.3.1800000000000000000.4", {})
    assert first != normalise("$JS.ACK.S.C.1.2.3.1700000000000000000.5", {})


def test_times_far_from_now_are_not_hidden():
    for time in ("0001-01-01T00:00:00Z", "2020-01-01T00:00:00Z"):
        assert normalise(time, {}) == time


@pytest.mark.reference
def test_a_scenario_that_stops_on_the_truth_is_an_error(pair):
    def silent(session):
        session.client.socket.settimeout(0.05)
        session.client.next_message()

    with pytest.raises(TimeoutError):
        record(pair[0], silent, is_truth=True)
    assert record(pair[0], silent).lines == ["STOPPED by TimeoutError"]
