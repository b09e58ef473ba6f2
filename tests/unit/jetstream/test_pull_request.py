"""Vectors for what clients write into pull requests and NAKs."""

import pytest
from millpond.jetstream.pull_request import parse_pull

from millpond.jetstream.pull_text import BadRequest, parse_nak_delay

SECOND = 10**9


@pytest.mark.parametrize(
    ("body", "batch", "expires", "no_wait"),
    [
        (b"", 1, 0, False),
        (b"  ", 1, 0, False),
        (b"7", 7, 0, False),
        (b"junk", 1, 0, False),
        (b'{"batch": 5, "no_wait": true}', 5, 0, True),
        (b'{"batch": 2, "expires": 5000000000, "unknown": [1]}', 2, 5 * SECOND, False),
        (b"{}", 0, 0, False),
        (b'{"Batch": 3, "EXPIRES": 9, "no_wait": null}', 3, 9, False),
        (b'{"batch": 3, "json": false}', 3, 0, False),
        (b"-2", -2, 0, False),
        (b"0x5", 1, 0, False),
    ],
)
def test_lenient(body, batch, expires, no_wait):
    request = parse_pull(body)
    assert (request["batch"], request["expires"], request["no_wait"]) == (batch, expires, no_wait)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"batch":', "unexpected end of JSON input"),
        (b'{"expires": 100, "idle_heartbeat": 90}', "heartbeat value too large"),
        (b'{"batch":"x"}', "json: cannot unmarshal string into Go struct field .batch of type int"),
        (b'{"batch":1.5}', "json: cannot unmarshal number 1.5 into Go struct field .batch of type int"),
        (b'{"batch":1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"batch":1}x', "invalid character 'x' after top-level value"),
        (b'{"batch":99999999999999999999}', "cannot unmarshal number 99999999999999999999 into Go struct field"),
        (b'{"no_wait":1}', "json: cannot unmarshal number into Go struct field .no_wait of type bool"),
    ],
)
def test_refused(body, text):
    with pytest.raises(BadRequest, match=text):
        parse_pull(body)


@pytest.mark.parametrize(
    ("argument", "delay_ns"),
    [
        (b"", None),
        (b" 50ms", 50_000_000),
        (b" 1m30s", 90 * SECOND),
        (b" 1.5s", 1_500_000_000),
        (b' {"delay": 50000000}', 50_000_000),
        (b" soon", None),
        (b' {"delay": "x"}', None),
        (b" \xff", None),
    ],
)
def test_nak_delay(argument, delay_ns):
    assert parse_nak_delay(argument) == delay_ns
