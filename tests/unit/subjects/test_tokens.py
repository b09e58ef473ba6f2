"""Subject rules against every short subject of a small alphabet."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.subjects.pytokens import (
    FilterSet,
    has_wildcard,
    is_subset,
    is_valid_filter,
    is_valid_subject,
    matches,
    overlap,
)

LITERALS = [b".".join(t) for size in (1, 2, 3) for t in product((b"a", b"b"), repeat=size)]
FILTERS = [
    b".".join((*t, *end))
    for size in (0, 1, 2)
    for t in product((b"a", b"b", b"*"), repeat=size)
    for end in ((), (b">",))
    if t or end
]


def covered(filter_: bytes) -> set[bytes]:
    return {subject for subject in LITERALS if matches(subject, filter_)}


@pytest.mark.parametrize("bad", [b"", b".", b"a.", b".a", b"a..b", b"a b", b"a\t", b"a\x0cb", b"a\r", b">.a"])
def test_invalid_filters(bad: bytes) -> None:
    assert not is_valid_filter(bad)
    assert not is_valid_subject(bad)


@pytest.mark.parametrize("literal", [b"foo*", b"fo>o", b"a.*b", b"a>", "é.ü".encode()])
def test_literals_that_look_wild(literal: bytes) -> None:
    assert is_valid_subject(literal)
    assert not has_wildcard(literal)


@pytest.mark.parametrize("filter_", [b"*", b">", b"a.*", b"a.>", b"*.a", b"a.*.b"])
def test_wildcards(filter_: bytes) -> None:
    assert is_valid_filter(filter_)
    assert has_wildcard(filter_)
    assert not is_valid_subject(filter_)


def test_matching_token_by_token() -> None:
    assert matches(b"a.b.c", b"a.*.c")
    assert matches(b"a.b.c", b"a.>")
    assert not matches(b"a", b"a.>")
    assert not matches(b"a.b", b"a")
    assert not matches(b"a", b"a.*")


@pytest.mark.parametrize("left", FILTERS)
def test_overlap_and_subset_agree_with_what_is_matched(left: bytes) -> None:
    for right in FILTERS:
        assert bool(overlap(left, right)) == bool(covered(left) & covered(right)), right
        if is_subset(left, right):
            assert covered(left) <= covered(right), right
        elif not (left.endswith(b">") and not right.endswith(b">")):
            assert not covered(left) <= covered(right), right


TOKEN = st.sampled_from(["a", "b", "*", ">"])
ANY_FILTER = st.lists(TOKEN, min_size=1, max_size=4).map(".".join).filter(is_valid_filter)


@given(st.lists(ANY_FILTER, max_size=8), st.lists(ANY_FILTER, max_size=3), ANY_FILTER)
def test_a_set_of_filters_overlaps_as_one_of_them_does(filters: list[str], gone: list[str], asked: str) -> None:
    held = FilterSet(filters)
    for each in gone:
        held.discard(each)
    assert held.overlaps(asked) == any(overlap(each, asked) for each in set(filters) - set(gone))
