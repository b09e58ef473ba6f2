"""Transforms, as nats-server 2.15.1 was seen to make them (conformance: scenarios_mappings)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.subjects.transform import Transform, TransformError, check_destination

MADE: list[tuple[str, str, str, str | None]] = [
    ("a.*.*", "b.$2.$1", "a.x.y", "b.y.x"),
    ("a.*.*", "b.$2.$1", "a.x", None),
    ("a.*.*", "b.$1", "a.x.y", "b.x"),
    ("a.*", "b.{{ Wildcard ( 1 ) }}", "a.x", "b.x"),
    ("a.>", "b.>", "a.x.y", "b.x.y"),
    ("a.*.>", "b.$1.in.>", "a.x.y.z", "b.x.in.y.z"),
    ("", "p.>", "x.y", "p.x.y"),
    (">", ">", "x.y", "x.y"),
    ("a", "", "x.y", "x.y"),
    ("a", "b", "a", "b"),
    ("a.*", "b.$0.$foo.$", "a.x", "b.a.$foo.$"),
    ("*", "b.{{partition(10)}}", "foo", "b.3"),
    ("*", "b.{{partition(10,1)}}", "foo", "b.3"),
    ("a.*.*", "b.{{partition(10,1,2)}}", "a.x.y", "b.2"),
    ("*", "b.{{partition(0,1)}}", "foo", "b.0"),
    ("*", "{{splitfromleft(1,3)}}", "12345", "123.45"),
    ("*", "{{splitfromleft(1,5)}}", "12345", "12345"),
    ("*", "{{splitfromright(1,3)}}", "12345", "12.345"),
    ("*", "{{slicefromleft(1,3)}}", "1234567", "123.456.7"),
    ("*", "{{slicefromright(1,3)}}", "1234567", "1.234.567"),
    ("*", "{{split(1,-)}}", "-abc--def-", "abc.def"),
    ("*", "{{left(1,2)}}.{{right(1,2)}}", "12345", "12.45"),
    ("*", "{{left(1,0)}}", "12345", "12345"),
    ("*", "{{random(1)}}", "x", "0"),
    ("a.*", "b", "a..", None),
    ("a.*", "b", "a.*", None),
]
REFUSED = [
    ("a.*", "b.*", "invalid subject"),
    ("a.>", "b", "invalid subject"),
    ("a..b", "c", "invalid subject"),
    ("a.*", "b.$2", "invalid mapping destination: wildcard index out of range in $2: [2]"),
    ("a", "b.$1", "invalid mapping destination: wildcard index out of range in $1"),
    ("a.*", "b.{{nope(1)}}", "invalid mapping destination: unknown function in {{nope(1)}}"),
    ("a.*", "b.{{wildcard()}}",
     "invalid mapping destination: not enough arguments passed to the function in {{wildcard()}}"),
    ("a.*", "b.{{wildcard(1,1)}}",
     "invalid mapping destination: too many arguments passed to the function in {{wildcard(1,1)}}"),
    ("a.b", "b.{{partition(10,)}}",
     "invalid mapping destination: function argument is invalid or in the wrong format in {{partition(10,)}}"),
    ("a.*", "b.{{left(1,x)}}",
     "invalid mapping destination: function argument is invalid or in the wrong format in {{left(1,x)}}"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "destination", "subject", "wanted"), MADE)
def test_made(source: str, destination: str, subject: str, wanted: str | None) -> None:
    found = Transform(source, destination).match(subject.encode())
    assert found == (None if wanted is None else wanted.encode())


@pytest.mark.parametrize(("source", "destination", "text"), REFUSED)
def test_refused(source: str, destination: str, text: str) -> None:
    with pytest.raises(TransformError) as caught:
        Transform(source, destination)
    assert str(caught.value) == text


def test_imports_must_be_reversible() -> None:
    assert Transform("a.*.*", "b.$2.{{wildcard(1)}}", strict=True).match(b"a.x.y") == b"b.y.x"
    for destination in ("b.$1", "b.$1.{{left(2,1)}}"):
        with pytest.raises(TransformError):
            Transform("a.*.*", destination, strict=True)


def test_random_values_stay_below() -> None:
    transform = Transform("*", "{{random(6)}}")
    assert {transform.match(b"x") for _ in range(300)} == {b"%d" % number for number in range(6)}


def test_destinations_are_looked_at_first() -> None:
    for destination in ("a..b", "a.>.b", "a b", "{{nope}}"):
        with pytest.raises(TransformError):
            check_destination("x.*", destination)


pieces = st.sampled_from(
    ["a", "*", ">", "$1", "$2", "{{split(1,-)}}", "{{partition(3,1)}}", "{{left(1,2)}}", "{{x}}", "{{Right(2,3)}}"]
)
subjects = st.lists(pieces, min_size=1, max_size=4).map(".".join)


@given(subjects, subjects, st.binary(max_size=30))
def test_any_subject_has_an_answer(source: str, destination: str, subject: bytes) -> None:
    try:
        transform = Transform(source, destination)
    except TransformError:
        return
    found = transform.match(subject)
    assert found is None or isinstance(found, bytes)


@pytest.mark.parametrize(("subject", "expected"), [
    (b"api.MAKE.S.>", b"out.MAKE.S.>"), (b"api.MAKE.*.x", b"out.MAKE.*.x"), (b"api.a", b"out.a"), (b"other.a", None),
])  # fmt: skip
def test_wildcards_in_a_subject_that_was_published_on(subject, expected):
    transform = Transform("api.>", "out.>")
    assert transform.rewrite(subject) == expected
    assert transform.match(subject) == (expected if subject == b"api.a" else None)
