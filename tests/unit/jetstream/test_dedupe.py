"""Message ids are remembered for the window, no longer."""

from __future__ import annotations

from millpond.jetstream.dedupe import Dedupe


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
