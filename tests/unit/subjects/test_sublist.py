"""The trie and its cache against a list and the token rules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.subjects.sublist import Interest, Sublist

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
