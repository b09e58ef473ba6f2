"""Pages of subjects: sorted, counted, in steps."""

from __future__ import annotations

import pytest
from queue_rig import Queue

from millpond.base import limits
from millpond.jetstream.api.subject_page import SubjectPage

KEYS = 3 * limits.SUBJECTS_PER_STEP


def filled() -> Queue:
    queue = Queue("limits")
    for number in range(KEYS):
        queue.router.publish(b"q.%d" % number, b"x")
    queue.router.publish(b"q.7", b"x")
    queue.turns()
    return queue


def json_of(page: SubjectPage) -> str:
    return "" if page.json is None else bytes(page.json).decode()


def finished(page: SubjectPage) -> int:
    steps = 1
    while page.step():
        steps += 1
    return steps


@pytest.mark.parametrize("offset", [-1, 0, 5000, KEYS - 1, KEYS, KEYS + 9])
def test_a_page_is_sorted_and_begins_at_the_offset(offset):
    page = SubjectPage(filled().stream, b"q.*", offset)
    assert finished(page) > 4
    texts = sorted(f"q.{number}" for number in range(KEYS))[max(0, offset) :]
    shown = ",".join(f'"{text}":{2 if text == "q.7" else 1}' for text in texts)
    assert (page.total, json_of(page)) == (KEYS, f"{{{shown}}}" if texts else "")


def test_what_goes_meanwhile_is_not_shown():
    queue = filled()
    page = SubjectPage(queue.stream, b"q.>", 0)
    assert page.step()
    queue.stream.purge(b"q.1", 0, 0)
    finished(page)
    assert '"q.1":' not in json_of(page) and '"q.10":1' in json_of(page)


def test_numbering_subjects_anew_begins_again():
    queue = filled()
    page = SubjectPage(queue.stream, b"q.>", 0)
    assert page.step()
    queue.stream.purge(b"", KEYS - 10, 0)
    for _ in range(50_000):
        queue.router.publish(b"q.again", b"x")
    queue.turns()
    finished(page)
    for number in range(KEYS - 10, KEYS):
        assert f'"q.{number}":1' in json_of(page)


def test_a_page_is_written_in_a_step_of_its_own():
    page = SubjectPage(filled().stream, b"q.*", 0)
    while page.json is None:
        assert page.step()
    assert page.step() is False and json_of(page).startswith('{"q.0":1,')
