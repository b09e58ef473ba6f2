"""Archives: entries in any split, and every way to be broken."""

from __future__ import annotations

from millpond.store.backup.archive import ArchiveReader, ArchiveWriter
from millpond.store.backup.s2_stream import S2Reader, S2Writer

from millpond.base import limits

MESSAGES = [
    (b"a.b", 5, 1_700_000_000_123_456_789, b"", b"hello"), (b"c", 9, -1, b"NATS/1.0\r\nA: b\r\n\r\n", b""),
    (b"x" * 300, 2**63, 2**62, b"", b"z" * 100_000),
]


def archive() -> bytes:
    writer = ArchiveWriter()
    writer.put_document(b"state.json", 7, b"{}")
    for message in MESSAGES:
        writer.put(*message)
    writer.end()
    return bytes(writer.take())


def entries(stream: bytes, size: int = 1 << 20) -> tuple[list[tuple[bytes, int, int, bytes]], str]:
    reader, found = ArchiveReader(), []
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    while not reader.failure:
        head = reader.next_name()
        document = reader.next_document() if head is not None else None
        if document is not None:
            found.append((document[0], document[1], head[1], document[2]))
        elif not reader.failure and pieces:
            reader.feed(pieces.pop(0))
        elif not reader.failure:
            reader.end()
    return found, reader.failure


EXPECTED = [
    (b"state.json", 7, 0, b"{}"), *((name, ts, seq, hdr + body) for name, seq, ts, hdr, body in MESSAGES),
    (b"", 0, 0, b""),
]


def test_what_is_written_is_read_in_any_split():
    for size in (1, 3, 1000, 1 << 20):
        assert entries(archive(), size) == (EXPECTED, "EOF")


def plain() -> bytes:
    return bytes(S2Reader().decode_all(archive()))


def encoded(text: bytes) -> bytes:
    return bytes(S2Writer().encode_all(text))


def test_the_layout():
    assert plain().startswith(b"NATSARC1" + b"\x0a\x0e\x00\x00\x02state.json{}" + b"\x03")
    assert plain().endswith(b"z" + bytes(5))


def test_cut_anywhere_it_says_so():
    text = plain()
    for size in (0, 1, 7):
        assert entries(encoded(text[:size])) == ([], "EOF" if size == 0 else "unexpected EOF")
    starts = [8]
    for *_, content in EXPECTED:
        starts.append(text.index(content, starts[-1]) + len(content) if content else len(text))
    for size in (8, 9, 20, 26, 27, 30, 60, len(text) - 6, len(text) - 3):
        failure = entries(encoded(text[:size]))[1]
        assert failure == ("EOF" if size in starts else "archive: invalid archive stream"), size


def test_a_cut_frame_is_no_end():
    assert entries(archive()[:-1])[1] == "archive: invalid archive stream"
    assert entries(archive()[:20])[1] == "s2: corrupt input"


def test_what_is_no_archive():
    reader = ArchiveReader()
    reader.feed(encoded(b"NATSARC2" + plain()[8:]))
    assert reader.begins() is False
    assert not reader.is_archive


def test_lengths_are_bounded():
    def entry(*fields: int) -> bytes:
        return encoded(b"NATSARC1" + b"".join(uvarint(field) for field in fields) + b"x" * 50)

    for fields in (
        (limits.ARCHIVE_NAME_BYTES_MAX + 1, 0, 1, 0, 0), (1, 0, 1, 1 << 63, 0), (1, 0, 1, 0, 1 << 63),
        (1, 0, 1, (1 << 63) - 1, 1), (1, 0, 1, limits.ARCHIVE_ENTRY_BYTES_MAX, 1),
    ):
        assert entries(entry(*fields)) == ([], "archive: invalid archive stream")
    assert entries(encoded(b"NATSARC1" + b"\xff" * 9 + b"\x02"))[1] == "archive: invalid archive stream"


def uvarint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
