"""What sources are called, and how a header says where a message is from."""

from __future__ import annotations

import pytest
from millpond.jetstream.acks import short_hash

from millpond.jetstream.source_names import Origin, index_name, origin_name, read_source_header, source_hash
from millpond.jetstream.stream_config import ExternalStream, StreamConsumerSource, StreamSource, SubjectTransform


def transforms(*pairs: tuple[str, str]) -> list[SubjectTransform]:
    return [SubjectTransform(src, dest) for src, dest in pairs]


@pytest.mark.parametrize(("source", "name"), [
    (StreamSource("A"), "A > >"),
    (StreamSource("A", filter_subject="a.*"), "A a.* >"),
    (StreamSource("A", subject_transforms=transforms(("a.*", "b.$1"))), "A a.* b.$1"),
    (StreamSource("A", subject_transforms=transforms(("", ""), ("c", "d"))), "A >\fc >\fd"),
    (StreamSource("A", subject_transforms=transforms(("a.*", "{{wildcard( 1 )}}"))), "A a.* {{wildcard(1)}}"),
    (StreamSource("A", external=ExternalStream("$JS.hub.API")), f"A:{short_hash('$JS.hub.API')} > >"),
    (StreamSource("A", consumer=StreamConsumerSource("C", "in")), f"A:C={short_hash('C')} > >"),
])
def test_index_names(source: StreamSource, name: str) -> None:
    assert index_name(source) == name
    assert index_name(source).split(" ")[0] == origin_name(source)


@pytest.mark.parametrize(("header", "origin"), [
    (b"A 7 > > a.b", Origin("A", "A > >", 7)),
    (b"A:x 7 a.* b.$1 a.b ident", Origin("A:x", "A:x a.* b.$1", 7, "ident")),
    (b"A 7 > >", Origin("A", "A > >", 7)),
    (b"A 7", Origin("A", "", 7)),
    (b"$JS.ACK.A.C.1.7.3.1700000000000000000.5", Origin("A", "", 7)),
    (b"$JS.ACK._.hash.A.C.1.7.3.1700000000000000000.5", Origin("A", "", 7)),
    (b"$JS.ACK._.hash.A.C.1.7.3.1700000000000000000.5.token", Origin("A", "", 7)),
    (b"A", None), (b"", None), (b"A 7 >", None), (b"A x > > a", None), (b"A -7 > > a", None), (b"A  7", None),
    (b"$JS.ACK.A.C.1.7.3", None), (b"$JS.ACK.A.C.1.x.3.4.5", None), (b"\xff\xfe 7", Origin("\udcff\udcfe", "", 7)),
])
def test_headers(header: bytes, origin: Origin | None) -> None:
    assert read_source_header(header) == origin


def test_two_sources_of_one_stream_have_consumers_of_their_own() -> None:
    first, second = StreamSource("A", filter_subject="a"), StreamSource("A", filter_subject="b")
    other = StreamSource("B")
    alone = source_hash("S", "$G", "", first, [first, other])
    assert alone == source_hash("S", "$G", "", other, [first, other]), "the origin tells them apart"
    together = [source_hash("S", "$G", "", each, [first, second]) for each in (first, second)]
    assert len({alone, *together}) == 3
