"""Creating and deleting streams through the API: what is answered when, and on a disk that fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from creation_rig import Rig
from millpond.jetstream.stream import Stream
from millpond.testing.simulated_disk import SimulatedDisk

from millpond.jetstream import engine


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.stop()


def test_a_creation_that_is_asked_for_again_waits_for_the_first_one(rig: Rig) -> None:
    first, again = rig.create(), rig.create()
    assert rig.answers == {}
    rig.settle()
    assert rig.answers[first]["did_create"] and rig.answers[again]["did_create"]
    third = rig.create()
    assert rig.answers[third]["did_create"], "nothing is to be waited for"


def test_a_creation_of_what_an_update_has_made_of_it_waits_for_that(rig: Rig) -> None:
    rig.create()
    rig.settle()
    update = rig.ask("STREAM.UPDATE.A", {"name": "A", "subjects": ["A"], "description": "changed"})
    again = rig.create(description="changed")
    assert update not in rig.answers and again not in rig.answers
    rig.settle()
    assert "error" not in rig.answers[update] and rig.answers[again]["did_create"]


def refuse(code: int) -> Any:
    def refused(*_: object, **__: object) -> Any:
        raise OSError(code, os.strerror(code))

    return refused


def no_catalog(code: int) -> Any:
    """The descriptors of a catalog cannot be had; all others can."""
    real = os.open

    def opened(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith(("/stream.0", "/stream.1")):
            raise OSError(code, os.strerror(code))
        return real(path, *rest, **more)

    return opened


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO])
def test_a_creation_without_a_catalog_leaves_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "open", no_catalog(code))
    refused = rig.create()
    rig.settle()
    monkeypatch.undo()
    assert rig.answers[refused]["error"]["err_code"] == 10077
    assert rig.engine.streams == {} and not rig.engine.reserved_in("file")
    created = rig.create()
    rig.settle()
    assert rig.answers[created]["did_create"]
    rig.restart()
    assert list(rig.engine.streams) == ["A"] and rig.storage.unrecovered == []


def test_an_update_without_a_descriptor_changes_nothing_and_the_stream_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.create()
    rig.settle()
    changed = {"name": "A", "subjects": ["A"], "description": "changed"}
    monkeypatch.setattr(os, "open", no_catalog(errno.EMFILE))
    refused = rig.ask("STREAM.UPDATE.A", changed)
    rig.settle()
    monkeypatch.undo()
    stream = rig.engine.streams["A"]
    assert rig.answers[refused]["error"]["err_code"] == 10069
    assert stream.config.description == "" and not stream.failure
    updated = rig.ask("STREAM.UPDATE.A", changed)
    rig.settle()
    assert rig.answers[updated]["config"]["description"] == "changed"
    rig.restart()
    assert rig.engine.streams["A"].config.description == "changed"


def test_an_update_of_a_stream_that_cannot_be_created_any_more_is_refused(tmp_path: Path) -> None:
    """Its configuration could not be written; the rest of its creation still waits for the disk."""
    disk = SimulatedDisk(str(tmp_path))
    rig = Rig(tmp_path, disk)
    created = rig.create()
    of_the_configuration = iter((0, 0))            # itself, and the name of its file
    disk.next_job = lambda: next(of_the_configuration, -1)
    disk.fault = lambda kind: errno.EIO if kind == "write" else 0
    rig.storage.committer.collect()
    disk.next_job = disk.fault = None
    assert created not in rig.answers
    update = rig.ask("STREAM.UPDATE.A", {"name": "A", "subjects": ["A"], "description": "changed"})
    assert rig.answers[update]["error"]["err_code"] == 10069
    assert rig.engine.streams["A"].config.description == ""
    rig.storage.committer.drain()
    rig.turns()
    assert rig.answers[created]["error"]["err_code"] == 10077 and rig.engine.streams == {}
    rig.stop()


def test_a_creation_whose_sync_fails_leaves_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def unsyncable(path: Any, *rest: Any, **more: Any) -> int:
        return real("/dev/null" if str(path).endswith("/stream.0") else path, *rest, **more)

    monkeypatch.setattr(os, "open", unsyncable)
    first, again = rig.create(), rig.create()
    rig.settle()
    monkeypatch.undo()
    for number in (first, again):
        assert rig.answers[number]["error"]["err_code"] == 10077
    assert rig.engine.streams == {}
    rig.settle()
    rig.restart()
    assert rig.engine.streams == {} and rig.storage.unrecovered == []


@pytest.mark.parametrize("fails", ["rename", "touch"])
def test_a_deletion_that_the_disk_refuses_changes_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    rig.create()
    rig.settle()
    if fails == "rename":
        monkeypatch.setattr(os, "rename", refuse(errno.EIO))
    else:
        (rig.directory / "jetstream" / "$G" / "streams" / "0000" / "stream.1").unlink()
        real = os.open
        no_mark = refuse(errno.EIO)
        monkeypatch.setattr(os, "open", lambda path, *rest, **more: (
            no_mark() if str(path).endswith("/released") else real(path, *rest, **more)
        ))  # fmt: skip
    refused = rig.ask("STREAM.DELETE.A")
    rig.settle()
    monkeypatch.undo()
    assert rig.answers[refused]["error"]["err_code"] == 10050
    stream = rig.engine.streams["A"]
    rig.broker.router.publish(b"A", b"x", b"", b"")
    rig.turns()
    rig.settle()
    assert stream.state()["messages"] == 1
    rig.restart()
    assert list(rig.engine.streams) == ["A"]


def test_a_deletion_whose_sync_fails_is_answered_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.create()
    rig.settle()
    real = os.open

    def unsyncable(path: Any, *rest: Any, **more: Any) -> int:
        return real("/dev/null", os.O_RDONLY) if str(path).endswith("/0000") else real(path, *rest, **more)

    monkeypatch.setattr(os, "open", unsyncable)
    refused, again = rig.ask("STREAM.DELETE.A"), rig.create()
    rig.settle()
    monkeypatch.undo()
    assert rig.answers[refused]["error"]["err_code"] == 10050
    assert rig.answers[again]["error"]["err_code"] == 10077, "it could not be told from the one that may come back"
    assert rig.engine.streams == {}


def test_files_that_cannot_be_removed_are_no_stream(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.create()
    rig.settle()
    monkeypatch.setattr(Path, "unlink", refuse(errno.EIO))
    deleted = rig.ask("STREAM.DELETE.A")
    rig.settle()
    created = rig.create()
    rig.settle()
    monkeypatch.undo()
    assert rig.answers[deleted]["success"] and rig.answers[created]["did_create"]
    rig.restart()
    assert list(rig.engine.streams) == ["A"] and rig.storage.unrecovered == []


def test_a_stream_that_cannot_be_started_for_want_of_descriptors_is_left_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("A", "B"):
        rig.create(name)
        rig.settle()
        rig.broker.router.publish(name.encode(), b"x", b"", b"")
        rig.turns()
        rig.settle()

    class Refused(Stream):
        def start(self) -> None:
            if self.name == "A":
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            super().start()

    monkeypatch.setattr(engine, "Stream", Refused)
    rig.restart()
    monkeypatch.undo()
    assert list(rig.engine.streams) == ["B"] and rig.storage.unrecovered == ["A"]
    rig.restart()
    assert sorted(rig.engine.streams) == ["A", "B"] and rig.storage.unrecovered == []
    assert rig.engine.streams["A"].state()["messages"] == 1
