"""CONNECT is read as nats-server 2.15.1 reads it."""

from __future__ import annotations

import json

import pytest

from millpond.wire.handshake import ConnectOptions, check_info, decode_connect, encode_info


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
        (b'{"verbose":false,"verbose":null}', ConnectOptions(verbose=False)),
        ('{"verbo\u017fe":false,"\u212a":1}'.encode(), ConnectOptions(verbose=False)),
        (b'{"name":"\\ud800","x":1e999}', ConnectOptions(name="\ufffd")),
        (b'{"import":{"allow":["a",null]},"export":null,"proxy_sig":"x"}', ConnectOptions()),
    ],
)
def test_accepted(data: bytes, wanted: ConnectOptions) -> None:
    assert decode_connect(data) == wanted


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"a":1}x', b'{"verbose":"x"}', b'{"protocol":1.0}', b'{"user":5}', b"{", b"[" * 100_000,
     b'{"verbose":"x","verbose":true}', b'{"a":NaN}', b'{"protocol":9223372036854775808}', b'{"protocol":true}',
     b'{"import":[]}', b'{"export":{"deny":"a"}}', b'{"remote_account":5}'],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="CONNECT"):
        decode_connect(data)


def test_info_has_a_blank_before_its_line_end() -> None:
    line = encode_info({"proto": 1, "headers": True})
    assert line == b'INFO {"proto":1,"headers":true} \r\n'
    assert json.loads(line[5:]) == {"proto": 1, "headers": True}


def test_a_second_connect_changes_only_what_it_names() -> None:
    first = decode_connect(b'{"verbose":false,"user":"a"}')
    second = decode_connect(b'{"headers":true,"user":null}', first)
    assert second == ConnectOptions(verbose=False, user="a", headers=True)


@pytest.mark.parametrize("data", [b"", b"[]", b"x", b"1"])
def test_info_of_a_client_must_be_an_object(data: bytes) -> None:
    with pytest.raises(ValueError, match="INFO"):
        check_info(data)
    check_info(b"{}")
    check_info(b"null")
