"""CONNECT is read as nats-server 2.15.1 reads it."""

from __future__ import annotations

import json

import pytest

from millpond.wire.handshake import ConnectOptions, decode_connect, encode_info


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"{}", ConnectOptions()),
        (b"null", ConnectOptions()),
        (b'{"verbose":null,"unknown":[1,{}]}', ConnectOptions()),
        (b'{"VERBOSE":false,"Pass":"x"}', ConnectOptions(verbose=False, password="x")),
        (b'{"verbose":true,"verbose":false}', ConnectOptions(verbose=False)),
        (b'{"name":"\xff"}', ConnectOptions(name="�")),
        (b'{"echo":false,"headers":true,"protocol":1}', ConnectOptions(echo=False, headers=True, protocol=1)),
    ],
)
def test_accepted(data: bytes, wanted: ConnectOptions) -> None:
    assert decode_connect(data) == wanted


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"a":1}x', b'{"verbose":"x"}', b'{"protocol":1.0}', b'{"user":5}', b"{", b"[" * 100_000],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="CONNECT"):
        decode_connect(data)


def test_info_has_a_blank_before_its_line_end() -> None:
    line = encode_info({"proto": 1, "headers": True})
    assert line == b'INFO {"proto":1,"headers":true} \r\n'
    assert json.loads(line[5:]) == {"proto": 1, "headers": True}
