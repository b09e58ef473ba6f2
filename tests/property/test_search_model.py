"""Searches in steps beside the obvious ones, while the stream changes between the steps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.store.api import Filters
from millpond.store.lasts import Lasts
from millpond.store.memory_store import MemoryStore
from millpond.store.search import Search

FILTERS = [[b"k.*.rare"], [b"*.*"], [b"k.>", b"none.*"], [b"k.7"], [b">"], [b"*.none"]]
ROWS = 2500                                      # more than what is near

changes = st.lists(
    st.one_of(
        st.tuples(st.just("remove"), st.integers(1, ROWS)),
        st.tuples(st.just("purge"), st.integers(1, ROWS)),
        st.tuples(st.just("thin"), st.integers(2, 9)),
        st.tuples(st.just("add"), st.integers(0, 40)),
        st.tuples(st.just("many"), st.integers(1, 400)),
    ),
    max_size=12,
)


class Filled:
    def __init__(self, kinds: int, rare: list[int]) -> None:
        self.store, self.live = MemoryStore(), dict[int, bytes]()
        for number in range(ROWS):
            self.add(b"k.%d.rare" % number if number in rare else b"k.%d" % (number % kinds))

    def add(self, subject: bytes) -> None:
        self.live[self.store.append_message(subject)] = subject

    def remove(self, seqs: list[int]) -> None:
        for seq in seqs:
            assert self.store.remove_message(seq) == (self.live.pop(seq, None) is not None)

    def change(self, change: tuple[str, int]) -> None:
        match change:
            case ("remove", seq):
                self.remove([seq])
            case ("purge", below):
                self.remove([seq for seq in self.live if seq < below])
            case ("thin", part):
                self.remove([seq for seq in self.live if seq % part])
            case ("add", number):
                self.add(b"k.%d.rare" % number)
            case ("many", count):
                for number in range(count):
                    self.add(b"new.%d" % number)
                self.remove([seq for seq, subject in self.live.items() if subject.startswith(b"new.")])


streams = st.builds(Filled, st.sampled_from([1, 7, 900, ROWS]), st.lists(st.integers(0, ROWS - 1), max_size=3))
asked = st.tuples(st.integers(0, ROWS + 5), st.integers(0, ROWS + 5), st.booleans())


@given(streams, asked, st.sampled_from(FILTERS), st.sampled_from([50, 700, 10_000]), changes)
@settings(deadline=None, max_examples=60)
def test_one_message(
    filled: Filled, what: tuple[int, int, bool], names: list[bytes], looks: int, between: list[tuple[str, int]]
) -> None:
    filters, (low, high, down) = Filters(names), what
    search = Search(filled.store, filters)
    search.begin_between(low, high, down)
    end = min(high, ROWS)                        # what comes later is not searched

    def matching() -> set[int]:
        return {seq for seq, subject in filled.live.items() if low <= seq <= end and filters.accepts(subject)}

    always, changes_left = matching(), list(between)
    more, left = search.go_on(looks)
    while more:
        assert left == 0 and search.found == 0
        if changes_left:
            filled.change(changes_left.pop())
            always &= matching()
        more, left = search.go_on(looks)
    assert left <= looks
    if always:
        assert search.found and (search.found >= max(always) if down else search.found <= min(always))
    assert search.found == 0 or search.found in matching()


@given(
    streams, st.sampled_from([*FILTERS, [b"k.1", b"k.1", b"k.3", b"none"]]), st.integers(0, ROWS),
    st.sampled_from([50, 700, 10_000]), changes,
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_the_last_of_each_subject(
    filled: Filled, names: list[bytes], up_to: int, looks: int, between: list[tuple[str, int]]
) -> None:
    filters = Filters(names)
    lasts = Lasts(filled.store, filters, up_to, 0)

    def matching() -> dict[bytes, int]:
        return {subject: seq for seq, subject in filled.live.items() if seq <= up_to and filters.accepts(subject)}

    subject_of, always, sometimes = dict(filled.live), matching(), set(matching().values())
    changes_left = list(between)
    while lasts.go_on(looks):
        if changes_left:
            filled.change(changes_left.pop())
            now = matching()
            always = {subject: seq for subject, seq in always.items() if now.get(subject) == seq}
            sometimes |= set(now.values())
    assert lasts.seqs == sorted(lasts.seqs) and set(always.values()) <= set(lasts.seqs) <= sometimes
    assert len({subject_of[seq] for seq in lasts.seqs}) == len(lasts.seqs)
