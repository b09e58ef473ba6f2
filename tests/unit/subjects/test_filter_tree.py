"""Many filters at once answer as they do one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from millpond.store.api import Filters

from millpond.subjects import pytokens

TOKENS = st.sampled_from(["a", "b", "*", "aa"])
FILTERS = st.builds(
    lambda tokens, tail: ".".join(tokens + ([">"] if tail else [])),
    st.lists(TOKENS, min_size=1, max_size=4), st.booleans(),
)  # fmt: skip
SUBJECTS = st.lists(st.sampled_from(["a", "b", "aa"]), min_size=1, max_size=5).map(".".join)


@given(st.lists(FILTERS, max_size=12), FILTERS)
def test_covers_is_a_subset_of_one_other(filters, asked):
    expected = any(pytokens.is_subset(asked, filter) for filter in filters if filter != asked)
    assert pytokens.FilterSet(filters).covers(asked) == expected


@given(st.lists(FILTERS, max_size=12), FILTERS)
def test_overlaps_is_an_overlap_with_one(filters, asked):
    assert pytokens.FilterSet(filters).overlaps(asked) == any(pytokens.overlap(asked, filter) for filter in filters)


@given(st.lists(FILTERS, min_size=1, max_size=12), st.lists(FILTERS, max_size=4), SUBJECTS)
def test_matches_is_a_match_of_one(filters, gone, subject):
    tree = pytokens.FilterSet(filters + gone)
    for filter in gone:
        tree.discard(filter)
    left = [filter for filter in filters if filter not in gone]
    assert tree.matches(subject) == any(pytokens.matches(subject, filter) for filter in left)
    chosen = Filters([filter.encode() for filter in filters])
    assert chosen.accepts(subject.encode()) == any(pytokens.matches(subject, filter) for filter in filters)


def test_a_subject_of_empty_tokens_is_matched_as_by_few_filters():
    few, many = Filters([b"a.>"]), Filters([b"a.>", *(b"b.%d" % number for number in range(20))])
    for subject in (b"a..b", b"a.b.", b".a.b", b"a."):
        assert many.accepts(subject) == few.accepts(subject)
