"""Lines of the protocol trace: nothing secret, nothing that could be taken for another line."""

from __future__ import annotations

import pytest

from millpond.broker.trace_lines import TRACE, TraceLines, label, redacted
from millpond.config.options import Options


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(TRACE, "millpond")
    return caplog


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b'{"user":"u","pass":"secret"}', b'{"user":"u","pass":"[REDACTED]"}'),
        (b'{"auth_token" : "se{cret" }', b'{"auth_token" : "[REDACTED]" }'),
        (b'{"passphrase":"secret","name":"pass"}', b'{"passphrase":"[REDACTED]","name":"pass"}'),
        (b'{"nkey":"secret","sig":"secret"}', b'{"nkey":"[REDACTED]","sig":"[REDACTED]"}'),
        (b'{"design":"seen"}', b'{"design":"seen"}'),
        (b'{"pass":"secret","pass":"secret"}', b'{"pass":"[REDACTED]","pass":"[REDACTED]"}'),
        (b'{"verbose":true}', b'{"verbose":true}'),
    ],
)  # fmt: skip
def test_secrets_are_replaced(said: bytes, shown: bytes) -> None:
    assert redacted(said) == shown


def test_a_payload_cannot_forge_a_line(lines: pytest.LogCaptureFixture) -> None:
    TraceLines("c", Options()).incoming("PUB", b" a 9\r", b"x\r\n[1] y\x1b", 0)
    assert [record.getMessage() for record in lines.records] == [
        "c - <<- [PUB a 9]",
        'c - <<- MSG_PAYLOAD: ["x\\r\\n[1] y\\x1b"]',
    ]
    assert {record.levelno for record in lines.records} == {TRACE}


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (Options(max_traced_msg_len=3), ['"NAT..."']),
        (Options(max_traced_msg_len=99), ['"NATS/1.0\\r\\n\\r\\nbody"']),
        (Options(trace_headers=True), ['"NATS/1.0"']),
    ],
)  # fmt: skip
def test_payloads_are_cut(lines: pytest.LogCaptureFixture, options: Options, shown: list[str]) -> None:
    payload = b"NATS/1.0\r\n\r\nbody"
    TraceLines("c", options).outgoing(b"HMSG a 1 12 16\r\n" + payload + b"\r\n")
    found = [record.getMessage() for record in lines.records]
    assert found == ["c - ->> [HMSG a 1 12 16]", *(f"c - ->> MSG_PAYLOAD: [{text}]" for text in shown)]


def test_everything_that_is_sent(lines: pytest.LogCaptureFixture) -> None:
    sent = b"INFO {} \r\n+OK\r\nPONG\r\nPING\r\n-ERR 'no'\r\nMSG a 1 2\r\n\r\n\r\nMSG b 1 0\r\n\r\n"
    TraceLines("c", Options()).outgoing(sent)
    assert [record.getMessage().removeprefix("c - ") for record in lines.records] == [
        "->> [OK]", "->> [PONG]", "->> [PING]", "->> [-ERR no]", "->> [MSG a 1 2]", '->> MSG_PAYLOAD: ["\\r\\n"]',
        "->> [MSG b 1 0]",
    ]  # fmt: skip


def test_labels() -> None:
    assert label("1.2.3.4:5 - cid:6", "", "") == "1.2.3.4:5 - cid:6"
    assert label("x", 'v1:go:"n', "A/user:a") == 'x - "v1:go:\\"n" - "A/user:a"'
