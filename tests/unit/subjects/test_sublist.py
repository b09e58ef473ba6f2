"""The trie and its cache against a list and the token rules."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.subjects.sublist import Interest, Sublist

from millpond.base import limits

TOKEN = st.sampled_from(["a", "b", "c", "*"])
FILTER = st.builds(
    lambda tokens, full: ".".join([*tokens, ">"] if full else tokens).encode(),
    st.lists(TOKEN, min_size=1, max_size=3),
    st.booleans(),
)
SUBJECT = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(lambda t: ".".join(t).encode())


def covers(filter_: bytes, subject: bytes) -> bool:
    left, right = filter_.split(b"."), subject.split(b".")
    if left[-1] == b">":
        left.pop()
        if len(right) <= len(left):
            return False
        right = right[: len(left)]
    return len(left) == len(right) and all(f in (b"*", t) for f, t in zip(left, right, strict=True))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.booleans(), FILTER, st.sampled_from([b"", b"q", b"r"])), max_size=25), SUBJECT)
def test_agrees_with_a_list(steps: list[tuple[bool, bytes, bytes]], subject: bytes) -> None:
    sublist, model = Sublist(), []
    for removes, filter_, queue in steps:
        if removes and model:
            assert sublist.discard(model.pop(0))
        else:
            model.append(Interest(filter_, queue))
            sublist.add(model[-1])
        match = sublist.find(subject)
        wanted = [i for i in model if covers(i.subject, subject)]
        assert {id(i) for i in match.plain} == {id(i) for i in wanted if not i.queue}
        assert {frozenset(map(id, g)) for g in match.groups} == {
            frozenset(id(i) for i in wanted if i.queue == queue)
            for queue in {x.queue for x in wanted} - {b""}
        }
    for interest in model:
        assert sublist.discard(interest)
        assert not sublist.discard(interest)
    assert not sublist.find(subject).plain


@pytest.mark.parametrize("subject", [b"a..b", b".a", b"a.", b".", b""])
def test_a_subject_with_an_empty_token_reaches_nobody(subject: bytes) -> None:
    sublist = Sublist()
    sublist.add(Interest(b">"))
    assert sublist.find(subject).plain == []


def test_a_published_wildcard_is_a_literal() -> None:
    sublist = Sublist()
    for filter_ in (b"a.b", b"a.*", b">"):
        sublist.add(Interest(filter_))
    assert {i.subject for i in sublist.find(b"a.*").plain} == {b"a.*", b">"}


def test_a_subject_seen_once_makes_no_match_and_seen_twice_does() -> None:
    sublist = Sublist()
    for subject in (b"a.*", b">", b"a.b"):
        sublist.add(Interest(subject))
    assert {i.subject for i in sublist.plain(b"a.b") or ()} == {b"a.*", b">", b"a.b"}
    assert sublist.plain(b"a.b") is None, "the second time it is worth a place in the cache"
    sublist.add(Interest(b"b"))
    assert sublist.plain(b"a.b") is not None, "a new generation begins again"


def test_queue_groups_and_crowds_need_a_match() -> None:
    sublist = Sublist()
    sublist.add(Interest(b"a", b"group"))
    assert sublist.plain(b"a") is None
    for _ in range(16):
        sublist.add(Interest(b"b"))
    assert len(sublist.plain(b"b") or ()) == 16
    sublist.add(Interest(b"b"))
    assert sublist.plain(b"b") is None
    assert len(sublist.find(b"b").plain) == 17


@given(st.text("ab.*", min_size=0, max_size=40))
def test_the_quick_way_finds_what_a_match_holds(text: str) -> None:
    subject = text.encode()
    sublist = Sublist()
    for filter in (b"*.>", b">", b"a.*.b", b"*", b"a", b"a.b.a.b.a.b.a.b"):
        sublist.add(Interest(filter))
    quick = sublist.plain(subject)
    assert quick is not None
    assert [i.subject for i in quick] == [i.subject for i in sublist.find(subject).plain]


# --- worst cases ---


@pytest.mark.parametrize("filter", [b"a." * 300_000 + b"a", b"*." * 300_000 + b">"])
def test_half_a_million_tokens_need_no_deep_stack(filter: bytes) -> None:
    sublist, interest, other = Sublist(), Interest(filter), Interest(filter[:-1] + b"b")
    for each in (interest, other):
        sublist.add(each)
    subject = filter.replace(b"*", b"x").replace(b">", b"x.y")
    assert [i.subject for i in sublist.find(subject).plain] == [filter]
    assert sublist.has_overlap(filter)
    assert sublist.plain(subject + b".z") is not None
    assert len(sublist.interests()) == 2
    assert sublist.discard(interest)
    assert not sublist.find(subject).plain
    assert [i.subject for i in sublist.interests()] == [other.subject]
    del sublist  # with all its nodes


def test_alternatives_at_every_token() -> None:
    filters = [b".".join(tokens) + b".z" for tokens in itertools.product((b"a", b"*"), repeat=10)]
    sublist = Sublist()
    for filter in filters:
        sublist.add(Interest(filter))
    assert len(sublist.find(b"a." * 10 + b"z").plain) == len(filters)
    assert not sublist.find(b"a." * 10 + b"y").plain
    assert [i.subject for i in sublist.find(b"b." * 10 + b"z").plain] == [b"*." * 10 + b"z"]


def test_an_interest_is_in_one_sublist_once() -> None:
    sublist, interest = Sublist(), Interest(b"a")
    assert not sublist.discard(interest)
    sublist.add(interest)
    assert not Sublist().discard(interest)
    with pytest.raises(AssertionError):
        sublist.add(interest)
    assert sublist.discard(interest)
    sublist.add(interest)


def test_the_cache_holds_a_bounded_number_of_interests() -> None:
    sublist = Sublist()
    for _ in range(1000):
        sublist.add(Interest(b">"))
    for number in range(900):
        sublist.find(b"s%d" % number)
        assert sublist.refs <= limits.MATCH_CACHE_REFS_MAX
    assert sublist.refs > 0
    assert sublist.refs == sublist.fanout()[1]


def test_the_cache_lets_go_of_what_was_removed() -> None:
    sublist, interest, stays = Sublist(), Interest(b"a"), Interest(b"b")
    for each in (interest, stays):
        sublist.add(each)
    sublist.find(b"a")
    before = sys.getrefcount(interest)
    assert sublist.discard(interest)
    sublist.find(b"b")
    assert sys.getrefcount(interest) == before - 2, "the trie's and the cache's"
    assert sublist.statistics()["cached"] == 1


def test_an_emptied_crowd_gives_its_table_back() -> None:
    sublist = Sublist()
    crowd = [Interest(b"t%d" % number) for number in range(2000)]
    for each in crowd:
        sublist.add(each)
    for each in crowd[:-1]:
        assert sublist.discard(each)
    assert sublist.find(crowd[-1].subject).plain == [crowd[-1]]
    assert not sublist.find(b"t0").plain
