"""What must hold for any bytes at all. Each check raises AssertionError, or whatever the code under test should not.

Hypothesis runs them in CI (tests/property/test_any_bytes.py), `make fuzz` for as long as one likes.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from millpond.subjects.sublist import Interest, Sublist
from millpond.wire.headers import find_value
from millpond.wire.parser import FrameReader

from millpond.subjects import pytokens
from millpond.wire.handshake import ConnectOptions, check_info, decode_connect
from millpond.wire.quote import quote

LINE_MAX, PAYLOAD_MAX = 64, 256


def frames(chunks: list[bytes]) -> list[object]:
    """What a connection with small limits understands."""
    reader = FrameReader(control_line_max=LINE_MAX, payload_max=PAYLOAD_MAX)
    found: list[object] = []
    for chunk in chunks:
        found += reader.feed(chunk)
        assert reader.failed or reader.kept <= LINE_MAX + PAYLOAD_MAX + 8, f"{reader.kept} bytes are held"
    return found


def parser(data: bytes) -> None:
    """Reads may be cut anywhere."""
    whole = frames([data])
    assert frames([data[i : i + 1] for i in range(len(data))]) == whole
    cut = len(data) // 2
    assert frames([data[:cut], data[cut:]]) == whole


def headers(data: bytes) -> None:
    """The lookup against a slow and obvious one. The key is what stands before the first colon, if anything."""
    for key in {b"K", data.split(b"\r\n")[-1].split(b":")[0] or b"K", data[:3] or b"K"}:
        assert find_value(data, key) == _slow_find(data, key), key


def _slow_find(block: bytes, key: bytes) -> bytes | None:
    at = block.find(b"\r\n")
    while at >= 0:
        line = block[at + 2 :]
        if line.startswith(key + b":"):
            return line[len(key) + 1 :].lstrip(b" ").split(b"\r\n", 1)[0]
        at = block.find(b"\r\n", at + 2)
    return None


def connect(data: bytes) -> None:
    """Options or ValueError, nothing else; what was accepted can be said to the peer again."""
    try:
        options = decode_connect(data)
    except ValueError:
        return
    assert isinstance(options, ConnectOptions)
    assert decode_connect(data, options) == options
    for text in (options.user, options.password, options.name, options.lang):
        text.encode()
    check_info(data)


def subjects(data: bytes) -> None:
    """Token rules, the trie and quoting agree with each other for any text."""
    shown = quote(data)
    assert shown.isprintable()
    names = [part for part in data.split(b"\n") if part]
    filters = [name for name in names if pytokens.is_valid_filter(name)]
    sublist = Sublist()
    interests = [Interest(name) for name in filters]
    for interest in interests:
        sublist.add(interest)
    for name in names:
        if pytokens.is_valid_subject(name):
            wanted = sorted(each for each in filters if pytokens.matches(name, each))
            assert sorted(each.subject for each in sublist.find(name).plain) == wanted, name
        if name in filters:
            assert sublist.has_overlap(name) == any(pytokens.overlap(name, each) for each in filters), name
            assert pytokens.is_subset(name, name)
    for interest in interests:
        assert sublist.discard(interest)
    assert sublist.interests() == []


CHECKS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "parser": (parser, [
        b"PUB a 5\r\nhello\r\n", b"PUB a.b reply 0\r\n\r\n", b"HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
        b"SUB a.* queue 1\r\n", b"UNSUB 1 5\r\n",
        b'CONNECT {"verbose":false}\r\n', b"PING\r\nPONG\r\n+OK\r\nINFO {}\r\n", b"-ERR 'x'\r\n",
        b"PUB a 256\r\n" + b"x" * 256 + b"\r\n",
        b"SUB \t a\t1 \n", b"pub a 1\nx\r\n",
    ]),
    "headers": (headers, [
        b"NATS/1.0\r\nK: v\r\n\r\n", b"NATS/1.0 503 no\r\nK:1\r\nKK: 2\r\nK: 3\r\n\r\n",
        b"NATS/1.0\r\nA: \r\n\rK: x\r\nK:  \r\n\r\n", b"\r\n", b"K:",
    ]),
    "connect": (connect, [
        b'{"verbose":false,"user":"a","pass":"b","protocol":1}', b'{"name":"\\ud83d\\ude00\\ud800","lang":null}',
        b'{"import":{"allow":["a"],"deny":null}}',
        b"null", b'{"a":{"b":[1,2.5e3,true,"x"]},"HEADERS":true}', b'{"protocol":9223372036854775807,"echo":true}',
    ]),
    "subjects": (subjects, [
        b"a.b\na.*\na.>\n>\n*\nb", b"a..b\n.a\na.\n.\n*.*\na.b.c", b"foo*\nfo>o\n>>\n**\na.>.b",
        b"\xff\xfe.x\n*.x\n\xff\xfe.>",
    ]),
}  # fmt: skip
"""name -> (check, well-formed examples to begin from)."""


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A few examples joined, with bytes flipped, put in, taken out or repeated."""
    data = bytearray(b"".join(rng.choices(seeds, k=rng.randint(1, 4))))
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            common = b' \t\r\n0919aPK:.*>"\\{}[],'
            data[at:at] = bytes([rng.choice(common) if rng.random() < 0.7 else rng.randrange(256)])
        elif kind == 1:
            del data[at : at + rng.randint(1, 4)]
        elif kind == 2 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        else:
            data[at:at] = data[at : at + rng.randint(1, 100)]
    return bytes(data)
