"""What must hold for any bytes at all. Each check raises AssertionError, or whatever the code under test should not.

Hypothesis runs them in CI (tests/property/test_any_bytes.py), `make fuzz` for as long as one likes.
"""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable

from millpond.store.backup.archive import ArchiveReader
from millpond.store.backup.load import Loader
from millpond.store.backup.s2_stream import S2Reader, S2Writer
from millpond.store.consumer_state import ConsumerState
from millpond.store.memory_store import MemoryStore
from millpond.store.s2_block import decode_block, encode_block
from millpond.subjects.sublist import Interest, Sublist
from millpond.testing.ws_rig import Rig
from millpond.wire.headers import find_value
from millpond.wire.parser import FrameReader
from tests.ws_client import CLOSE, CONTINUATION, PING, TEXT, frame, request

from millpond.base import limits
from millpond.base.errors import BackupError
from millpond.config.websocket import WebsocketOptions
from millpond.jetstream.backup_documents import StateDocument
from millpond.jetstream.message_ttl import parse_ttl
from millpond.jetstream.pause import Pause
from millpond.jetstream.restore_reading import Reading
from millpond.jetstream.restored import restore_state, restored_config
from millpond.jetstream.stream_config import StreamConfig
from millpond.subjects import pytokens
from millpond.transport.ws_upgrade import Reader, Refused
from millpond.wire.handshake import ConnectOptions, check_info, decode_connect
from millpond.wire.quote import quote

LINE_MAX, PAYLOAD_MAX = 64, 256
HELD_MAX = limits.WS_COMPRESSED_PAYLOADS_MAX * PAYLOAD_MAX + limits.WS_ANSWERS_HELD_BYTES + 4096


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


def websocket(data: bytes) -> None:
    """Frames may be cut anywhere, and read into little room; what is kept is bounded."""
    for compress in (False, True):
        found = []
        for pieces, room in (([data], 4096), ([data[i : i + 1] for i in range(len(data))], 4096), ([data], 3)):
            rig = Rig(compress=compress, payload_max=PAYLOAD_MAX)
            rig.feed(pieces, room)
            assert rig.held_bytes <= HELD_MAX
            # How much is inflated before the first wrong bit depends on the room there is.
            is_corrupt = rig.failure is not None and rig.failure.startswith("flate")
            found.append((b"" if is_corrupt else rig.plain, rig.failure, rig.over))
        assert found[1:] == found[:1] * 2, found


def upgrade(data: bytes) -> None:
    """An answer or a refusal with one, wherever it is cut."""
    options = WebsocketOptions(compression=True, same_origin=True, user_cookie="u", pass_cookie="p")
    for size in (len(data) or 1, 7):
        reader = Reader(options)
        try:
            for at in range(0, len(data), size):
                accepted = reader.feed(data[at : at + size])
                if accepted is not None:
                    assert accepted.answer.startswith(b"HTTP/1.1 101 ") and accepted.answer.endswith(b"\r\n\r\n")
                    assert accepted.answer.count(b"\r\n\r\n") == 1
                    break
        except Refused as refused:
            assert refused.answer.startswith(b"HTTP/1.1 4") and b"\n" not in str(refused).encode()


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


def s2_stream(data: bytes) -> None:
    """Frames may be cut anywhere; what they decode to is bounded by what a block may declare."""
    found = []
    for pieces in ([data], [data[i : i + 7] for i in range(0, len(data), 7)]):
        reader = S2Reader()
        found.append((b"".join(reader.decode_all(piece, 1 << 22) for piece in pieces), reader.failure))
        assert reader.held_bytes() <= 2 * limits.S2_BLOCK_BYTES_MAX + 2 * len(data) + 4096
    assert found[0] == found[1]
    decode_block(data)
    assert decode_block(encode_block(data[:65536])) == data[:65536]


def tar_file(name: bytes, content: bytes) -> bytes:
    """One file of a tar archive."""
    head = bytearray(512)
    head[: len(name)], head[124:135], head[156:157] = name, b"%011o" % len(content), b"0"
    head[257:263], head[148:156] = b"ustar\0", b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content + bytes(-len(content) % 512)


def block_record(seq: int, subject: bytes, hdr: bytes, body: bytes) -> bytes:
    """A record of a message block, without its hash."""
    content = subject + (struct.pack("<I", len(hdr)) + hdr if hdr else b"") + body + bytes(8)
    return struct.pack("<IQqH", 22 + len(content) | bool(hdr) << 31, seq, 1000 + (seq & 0xFF), len(subject)) + content


def entry(name: bytes, ts: int, seq: int, hdr: bytes, body: bytes) -> bytes:
    """One entry of an archive."""
    out = bytearray()
    for field in (len(name), ts, seq, len(hdr), len(body)):
        left = field
        while left >= 0x80:
            out.append(left & 0x7F | 0x80)
            left >>= 7
        out.append(left)
    return bytes(out) + name + hdr + body


ARCHIVE_HEAD = b"NATSARC1" + entry(b"state.json", 100, 0, b"", b"{}")


def backup(data: bytes) -> None:
    """A backup, after its checksums: it is restored as it is, or refused with a text, and the store stays sound."""
    for head in (b"", ARCHIVE_HEAD, tar_file(b"meta.inf", b'{"name":"OLD","Created":"2026-01-01T00:00:00Z"}')):
        restore(head + data)


def restore(data: bytes) -> None:
    archive = ArchiveReader()
    archive.feed(bytes(S2Writer().encode_all(data)))
    archive.end()
    store = MemoryStore()
    reading = Reading(archive, Loader(store, 1024, -1, parse_ttl, True, 0), "OLD", StateDocument())
    try:
        for pause in reading.run():
            assert pause is not Pause.HUNGRY, "nothing more comes"
    except BackupError as error:
        assert str(error)
    assert store.check() == []
    for document in reading.consumers.values():
        with contextlib.suppress(BackupError):
            restored_config("name", document, StreamConfig(), [])
        with contextlib.suppress(BackupError):
            state = ConsumerState()
            restore_state("name", document, state)
            assert state.check() == []
    store.close()


CHECKS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "parser": (parser, [
        b"PUB a 5\r\nhello\r\n", b"PUB a.b reply 0\r\n\r\n", b"HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
        b"SUB a.* queue 1\r\n", b"UNSUB 1 5\r\n",
        b'CONNECT {"verbose":false}\r\n', b"PING\r\nPONG\r\n+OK\r\nINFO {}\r\n", b"-ERR 'x'\r\n",
        b"PUB a 256\r\n" + b"x" * 256 + b"\r\n",
        b"SUB \t a\t1 \n", b"pub a 1\nx\r\n",
    ]),
    "websocket": (websocket, [
        frame(b"PING\r\n"), frame(b"x" * 200, TEXT), frame(b"a", PING), frame(b"\x03\xe8why", CLOSE),
        frame(b"ab", bits=0), frame(b"cd", CONTINUATION), frame(b"\xcab\x01", bits=12), frame(b"", wide=8),
        frame(b"KLJ\x04\x00", bits=4), frame(b"\x00", CONTINUATION),
    ]),
    "upgrade": (upgrade, [
        request(), request(Origin="http://127.0.0.1", Cookie="u=a; p=b"), request("/leafnode"),
        request(Sec_WebSocket_Extensions="permessage-deflate; a, b"), request(method="POST"),
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
    "s2_stream": (s2_stream, [
        b"\xff\x06\x00\x00S2sTwO", bytes(S2Writer().encode_all(b"hello hello hello")), b"\xfe\x02\x00\x00ab",
        b"\x08\x0cabcd\x01\x04", b"\x12\x0cabcd\x01\x04\x15\x00\x02", b"\x00\x05\x00\x00abcde",
    ]),
    "backup": (backup, [
        ARCHIVE_HEAD, entry(b"a.b", 2, 5, b"", b"hello"), bytes(5),
        b"NATSARC1" + entry(b"state.json", 3, 0, b"", b'{"first_seq":3,"last_seq":20,"consumer_count":1}'),
        entry(b"consumers/x", 3, 0, b"", b'{"config":{"ack_policy":"explicit"},"state":{"delivered":{"stream_seq":9,'
              b'"consumer_seq":5},"pending":{"4":{"Sequence":1}},"redelivered":{"4":1,"5":2}}}'),
        entry(b"a", 2, 7, b"NATS/1.0\r\nNats-TTL: never\r\n\r\n", b"x"), entry(b"c", 4, 9, b"", b""),
        tar_file(b"meta.inf", b'{"name":"OLD","Created":"2026-01-01T00:00:00Z"}'),
        tar_file(b"msgs/1.blk", block_record(1, b"a", b"", b"x") + block_record(3, b"b", b"NATS/1.0\r\n\r\n", b"y")),
        tar_file(b"msgs/2.blk", block_record(3 | 1 << 62, b"", b"", b"") + block_record(7 | 1 << 63, b"", b"", b"")),
        tar_file(b"obs/c/meta.inf", b'{"name":"c","ack_policy":"explicit"}'),
        tar_file(b"obs/c/o.dat", b"\x16\x02\x01\x01\x05\x05\x01\x80\x01\x01\x01\x02\x01\x01\x02"), bytes(1024),
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
