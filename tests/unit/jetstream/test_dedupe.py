"""Message ids are remembered for the window, no longer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.jetstream.dedupe import Dedupe, siphash


def test_forgets_after_the_window() -> None:
    seen = Dedupe(100)
    seen.py_add(b"a", 1, 1000)
    seen.py_add(b"b", 2, 1050)
    assert (seen.py_find(b"a", 1099), seen.py_find(b"b", 1099)) == (1, 2)
    assert (seen.py_find(b"a", 1100), seen.py_find(b"b", 1100)) == (0, 2)
    assert len(seen) == 1


def test_an_id_stored_again_lives_from_its_second_time() -> None:
    seen = Dedupe(100)
    seen.py_add(b"a", 1, 1000)
    seen.py_add(b"a", 7, 1090)
    assert seen.py_find(b"a", 1150) == 7


def test_no_window_remembers_nothing() -> None:
    seen = Dedupe(0)
    seen.py_add(b"a", 1, 1000)
    assert seen.py_find(b"a", 1000) == 0
    assert len(seen) == 0


def test_siphash_is_the_published_one() -> None:
    key = bytes(range(16))
    assert siphash(key, b"").hex() == "a3817f04ba25a8e66df67214c7550293"
    assert siphash(key, b"\x00").hex() == "da87c1d86b99af44347659119b22fc45"


def test_memory_follows_the_ids() -> None:
    seen = Dedupe(1000)
    for number in range(100_000):
        seen.py_add(b"id-%d" % number, number + 1, number // 10)
    full = seen.allocated
    assert len(seen) < 10_100 and full <= 100 * 16_384
    seen.py_expire(20_000)
    assert len(seen) == 0 and seen.allocated <= 100 * 64


def test_a_burst_is_forgotten_in_steps_but_never_found() -> None:
    seen = Dedupe(100)
    for number in range(1000):
        seen.py_add(b"id-%d" % number, number + 1, 0)
    assert seen.py_find(b"id-999", 99) == 1000
    assert seen.py_find(b"id-999", 100) == 0
    assert 0 < len(seen) < 1000
    seen.py_expire(100)
    assert len(seen) == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 40)), max_size=300),
    st.integers(1, 200),
)
def test_like_a_dict(steps: list[tuple[bool, int, int]], window: int) -> None:
    seen, model, now = Dedupe(window), {}, 0
    for seq, (adds, number, later) in enumerate(steps, 1):
        now += later
        name = b"%d" % number
        if adds:
            seen.py_add(name, seq, now)
            model[name] = (seq, now)
        else:
            known = model.get(name, (0, 0))
            assert seen.py_find(name, now) == (known[0] if known[1] + window > now else 0)
    seen.py_expire(now)
    assert len(seen) == sum(ts + window > now for _, ts in model.values())
