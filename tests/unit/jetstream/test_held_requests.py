"""Requests that make or remove files, while the disk stands still: they wait, in their order; others do not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from creation_rig import Rig
from millpond.store.names import Names
from millpond.testing.faulty_disk import FaultyDisk

from millpond.base import limits


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def rig(tmp_path: Path, disk: FaultyDisk) -> Iterator[Rig]:
    made = Rig(tmp_path, disk)
    made.create("KEPT")
    made.settle()
    disk.stand_still()
    committer = made.storage.committer
    Names(str(tmp_path), committer).keep(lambda _: None)
    committer.run_later()
    end = time.monotonic() + 10
    while not committer.py_stands_still() and time.monotonic() < end:
        pass
    yield made
    disk.go_on()
    made.settle()
    made.stop()


def test_they_are_answered_in_their_order_when_it_goes_on(rig: Rig, disk: FaultyDisk) -> None:
    asked = [rig.create("A"), rig.ask("STREAM.DELETE.A"), rig.create("A"), rig.ask("STREAM.DELETE.KEPT")]
    assert not any(number in rig.answers for number in asked)
    disk.go_on()
    rig.settle()
    assert ["error" in rig.answers[number] for number in asked] == [False] * 4
    assert list(rig.engine.streams) == ["A"]


def test_what_is_asked_of_a_stream_that_waits_waits_behind_it(rig: Rig, disk: FaultyDisk) -> None:
    created, info = rig.create("A"), rig.ask("STREAM.INFO.A")
    consumer = rig.ask("CONSUMER.CREATE.A", {"stream_name": "A", "config": {"ack_policy": "explicit"}})
    updated = rig.ask("STREAM.UPDATE.A", {"name": "A", "subjects": ["A"], "description": "changed"})
    assert not rig.answers.keys() & {created, info, consumer, updated}
    disk.go_on()
    rig.settle()
    assert ["error" in rig.answers[number] for number in (created, info, consumer, updated)] == [False] * 4
    assert "error" in rig.answers[rig.ask("STREAM.INFO.B")], "at once again"


def test_what_needs_no_file_is_answered_meanwhile(rig: Rig) -> None:
    in_memory, info = rig.create("M", storage="memory"), rig.ask("STREAM.INFO.KEPT")
    assert rig.answers[in_memory]["did_create"] and "error" not in rig.answers[info]


def test_too_many_are_refused(rig: Rig, disk: FaultyDisk) -> None:
    body = {"name": "A", "subjects": ["A"], "description": "x" * 4000}
    numbers = [rig.ask("STREAM.CREATE.A", body) for _ in range(limits.API_REQUESTS_WAITING_BYTES_MAX // 4000)]
    refused = [number for number in numbers if number in rig.answers]
    assert refused and rig.answers[refused[0]]["error"]["err_code"] == 10023
    disk.go_on()
    rig.settle()
    assert all(number in rig.answers for number in numbers)
