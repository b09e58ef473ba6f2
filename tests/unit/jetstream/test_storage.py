"""Storage: what a creation and a deletion make durable, in which order, and what a crash may leave of them."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from millpond.store.catalog import encode
from millpond.store.disk import REAL, Disk
from millpond.testing.disk_image import SURVIVALS, DiskImage
from millpond.testing.simulated_disk import WRITE, SimulatedDisk

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.config.options import JetStreamOptions
from millpond.jetstream.recovered import Found, found_in
from millpond.jetstream.shelf import FileShelf
from millpond.jetstream.storage import Storage
from millpond.jetstream.stream_config import StreamConfig


class Rig:
    """A storage whose commits are made by hand, and what it told, in order."""

    def __init__(self, folder: Path, disk: Disk = REAL) -> None:
        self.folder = folder
        self.storage = Storage(JetStreamOptions(), folder, disk=disk)
        self.told: list[str] = []
        self.steps: list[Callable[[], bool]] = []

    def tell(self, what: str) -> Callable[[str], None]:
        return lambda failure: self.told.append(f"{what} {failure}".strip())

    def create(self, name: str, created_ns: int = 1) -> FileShelf:
        shelf = self.storage.create(StreamConfig(name=name))
        assert isinstance(shelf, FileShelf)
        shelf.save(payload(name, created_ns), self.tell(f"{name} is there"))
        return shelf

    def delete(self, shelf: FileShelf) -> None:
        shelf.condemn()

        def certain(failure: str) -> None:
            self.told.append(f"{shelf.name} goes {failure}".strip())
            shelf.store.destroy()

        shelf.give_back(certain, self.tell(f"{shelf.name} is gone"), self.steps.append)

    def commit(self) -> None:
        """Until nothing is left to do."""
        self.storage.committer.drain()
        while self.steps:
            step = self.steps.pop()
            while step():
                pass
            self.storage.committer.drain()

    def crash(self, to: Path) -> Rig:
        """The files as they are now, opened elsewhere."""
        shutil.copytree(self.folder, to)
        return Rig(to)

    def recovered(self) -> dict[str, str]:
        """Which stream is in which slot."""
        found = {}
        for saved, shelf in self.storage.recover():
            assert isinstance(shelf, FileShelf)
            found[shelf.slot.name] = json.loads(saved)["config"]["name"]
        return found

    @property
    def slots(self) -> Path:
        return self.folder / "jetstream" / "$G" / "streams"


def payload(name: str, created_ns: int) -> bytes:
    return json.dumps({"config": {"name": name}, "created": created_ns}).encode()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "run")
    yield made
    made.storage.close()


def test_a_creation_takes_three_syncs_and_many_share_one_of_them(rig: Rig) -> None:
    rig.create("A")
    rig.commit()
    assert rig.storage.committer.syncs == 3, "the slot's name, its names, the catalog"
    for number in range(10):
        rig.create(f"B{number}")
    rig.commit()
    assert rig.storage.committer.syncs == 3 + 1 + 2 * 10
    assert sorted(rig.told[1:]) == [f"B{number} is there" for number in range(10)]


def test_a_deletion_takes_a_sync_before_and_one_after_its_answer(rig: Rig) -> None:
    shelf = rig.create("A")
    rig.commit()
    before = rig.storage.committer.syncs
    rig.delete(shelf)
    rig.commit()
    assert rig.told[1:] == ["A goes", "A is gone"]
    assert rig.storage.committer.syncs == before + 2
    assert list(shelf.slot.iterdir()) == []
    assert rig.create("B").slot == shelf.slot, "its slot is the next one's"


def test_a_last_write_that_cannot_be_synced_stops_one_stream(rig: Rig, tmp_path: Path) -> None:
    """The others are opened meanwhile, and come."""
    for name in ("A", "B", "C"):
        rig.create(name).store.append_message(b"x", b"x")
        rig.commit()
    shutil.copytree(rig.folder, tmp_path / "killed")
    for path in (tmp_path / "killed").rglob("witness"):
        path.unlink()
    disk = SimulatedDisk(str(tmp_path / "killed"))
    storage = Storage(JetStreamOptions(), tmp_path / "killed", disk=disk)
    kinds = [0, 0, errno.EIO, 0, 0, 0]                       # of each log, and of its directory
    disk.fault = lambda kind: kinds.pop(0) if kind == "sync" and kinds else 0
    found = list(found_in(storage))
    assert [each.config.name if isinstance(each, Found) else None for each in found] == ["A", None, "C"]
    assert storage.unrecovered == ["B"] and storage.found == 3
    for each in found:
        if isinstance(each, Found):
            assert each.shelf.store.committed_seq == 1
            each.shelf.store.close()
    storage.close()


@pytest.mark.parametrize("place", ["slot", "streams"])
def test_a_hidden_place_takes_nothing_when_its_mark_or_its_name_cannot_be_synced(tmp_path: Path, place: str) -> None:
    """A later sync would succeed, and say nothing of either."""
    folder = tmp_path / "store"
    folder.mkdir()
    disk = SimulatedDisk(str(folder))
    storage = Storage(JetStreamOptions(), folder, disk=disk)
    shelf = storage.create(StreamConfig(name="A", storage="file"), hidden=True)
    assert isinstance(shelf, FileShelf) and shelf.journal is not None
    shelf.store.append_message(b"x", b"x")
    shelf.journal.open_consumer("c", b"{}")
    begin, syncs = len(disk.trace), itertools.count()
    fails = 0 if place == "slot" else 1
    disk.fault = lambda kind: errno.EIO if kind == "sync" and next(syncs) == fails else 0
    storage.committer.drain()
    assert "cannot sync" in shelf.store.failure
    assert not any(step[0] == WRITE for step in disk.trace[begin:]) and shelf.store.committed_seq == 0
    shelf.put_away()
    storage.close()


def test_nothing_waits_for_the_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: pytest.fail("a sync on the loop"))
    shelf = rig.create("A")
    rig.storage.committer.run_now()
    rig.delete(shelf)
    rig.storage.committer.run_now()
    assert rig.told == []
    rig.commit()
    assert sorted(rig.told) == ["A goes", "A is gone", "A is there"]
    assert rig.told.index("A goes") < rig.told.index("A is gone")


def test_a_log_is_written_after_its_catalog(rig: Rig) -> None:
    shelf = rig.create("A")
    shelf.store.append_message(b"a", b"early")
    assert shelf.journal is not None
    shelf.journal.open_consumer("C", b"{}")
    rig.storage.committer.run_now()
    assert not any(any(path.read_bytes()) for path in shelf.slot.iterdir() if path.name != "stream.0")
    rig.commit()
    assert rig.told == ["A is there"]
    assert shelf.store.committed_seq == 1
    assert shelf.journal.committed_position == shelf.journal.position
    shelf.store.close()


def test_a_stream_is_there_only_when_the_former_one_of_its_name_is_gone_for_ever(rig: Rig) -> None:
    former = rig.create("A")
    rig.commit()
    rig.delete(former)
    other, again = rig.create("B"), rig.create("A", 2)
    assert len({former.slot, other.slot, again.slot}) == 3
    rig.commit()
    assert rig.told.index("A goes") < rig.told.index("A is there", 1)
    assert rig.told.count("A is there") == 2


def test_what_is_left_of_a_creation_is_removed_at_the_next_start(rig: Rig, tmp_path: Path) -> None:
    rig.create("A")
    other = rig.create("B")
    other.store.append_message(b"b", b"early")
    rig.commit()
    other.store.close()
    for name in ("stream.0", "stream.1"):
        (rig.slots / "0000" / name).write_bytes(b"")
        (rig.slots / "0001" / name).write_bytes(b"")
    after = rig.crash(tmp_path / "crash")
    assert after.recovered() == {}
    assert after.storage.unrecovered == ["0001"], "it has messages: that is damage, and left as it is"
    assert after.create("C").slot.name == "0000"
    after.storage.close()


@pytest.mark.parametrize("newer", [0, 1])
def test_of_two_streams_of_one_name_the_older_one_was_deleted(rig: Rig, tmp_path: Path, newer: int) -> None:
    for number in range(2):
        rig.create("A", 7 if number == newer else 3)
        rig.commit()
    after = rig.crash(tmp_path / "crash")
    assert after.recovered() == {f"000{newer}": "A"}
    assert after.create("B").slot.name == f"000{1 - newer}"
    after.storage.close()


def damage(slot: Path, saved: bytes | None = None) -> None:
    """The slot's configuration becomes this one, or one that cannot be read."""
    for number in range(2):
        (slot / f"stream.{number}").write_bytes(b"damaged" if saved is None else encode(1, saved))


def left_by(rig: Rig, to: Path, *slots: str) -> Rig:
    """What a crash has left, with damage in these slots."""
    for slot in slots:
        damage(rig.slots / slot)
        (rig.slots / slot / "log.0000").write_bytes(b"precious")
    return rig.crash(to)


def test_what_is_removed_is_what_could_not_be_read_and_nothing_that_came_later(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream gets the slot that was freed while the others are still being emptied."""
    monkeypatch.setattr("millpond.base.limits.FILES_REMOVED_PER_STEP", 1)
    for name in "ABC":
        rig.create(name)
    rig.commit()
    after = left_by(rig, tmp_path / "crash", "0000", "0002")
    assert after.recovered() == {"0001": "B"}
    assert after.storage.unrecovered == ["0000", "0002"]
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: pytest.fail("a sync on the loop"))
    after.storage.remove_unrecovered(after.tell("removed"), after.steps.append)
    after.storage.committer.drain()
    first, second = after.steps
    after.steps.clear()
    while first():
        pass
    after.storage.committer.drain()
    late = after.create("LATE")
    assert late.slot.name in {"0000", "0002"} and after.told == []
    after.storage.committer.drain()
    assert after.told == ["LATE is there"]
    while second():
        pass
    after.storage.committer.drain()
    assert after.told == ["LATE is there", "removed"] and after.storage.unrecovered == []
    monkeypatch.undo()
    again = after.crash(tmp_path / "again")
    assert again.recovered() == {late.slot.name: "LATE", "0001": "B"}
    again.storage.close()
    after.storage.close()


def test_what_cannot_be_removed_is_named_and_can_be_removed_later(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.create("A")
    rig.commit()
    after = left_by(rig, tmp_path / "crash", "0000")
    assert after.recovered() == {}
    monkeypatch.setattr("millpond.jetstream.shelf.mark_released", refuse)
    after.storage.remove_unrecovered(after.tell("removed"), after.steps.append)
    assert after.told == [f"removed [Errno {errno.EIO}] {os.strerror(errno.EIO)}"]
    assert after.storage.unrecovered == ["0000"] and (after.slots / "0000" / "log.0000").exists()
    monkeypatch.undo()
    after.storage.remove_unrecovered(after.tell("removed"), after.steps.append)
    after.commit()
    assert after.told[1:] == ["removed"] and after.storage.unrecovered == []
    assert list((after.slots / "0000").iterdir()) == []
    after.storage.close()


def refuse(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


NAMELESS = [
    b"{}", b"[]", b"no JSON", b'{"config":"A","created":1}', b'{"config":{},"created":1}',
    b'{"config":{"name":null},"created":1}', b'{"config":{"name":""},"created":1}', b'{"config":{"name":"A"}}',
    b'{"config":{"name":"A"},"created":"1"}', b'{"config":{"name":"A"},"created":9223372036854775808}',
]  # fmt: skip


@pytest.mark.parametrize("saved", NAMELESS)
def test_a_configuration_without_a_name_is_left_alone(rig: Rig, tmp_path: Path, saved: bytes) -> None:
    """Also beside a stream that has the slot's number for a name."""
    for name in ("A", "0000"):
        rig.create(name)
    rig.commit()
    damage(rig.slots / "0000", saved)
    after = rig.crash(tmp_path / "crash")
    assert after.recovered() == {"0001": "0000"}
    assert after.storage.unrecovered == ["0000"]
    assert (after.slots / "0000" / "stream.0").exists()
    after.storage.close()


def test_who_asks_for_a_creation_that_runs_is_told_with_it(rig: Rig) -> None:
    shelf = rig.create("A")
    rig.storage.committer.run_now()
    shelf.when_kept(rig.tell("A is there, again"))
    shelf.save(payload("A", 2), rig.tell("A is changed"))
    assert rig.told == []
    rig.commit()
    assert sorted(rig.told) == ["A is changed", "A is there", "A is there, again"]
    shelf.when_kept(rig.tell("at once"))
    assert rig.told[3:] == ["at once"]


class Unanswered:
    """Names that are never kept."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[str], None]] = []

    def keep(self, done: Callable[[str], None]) -> None:
        self.waiting.append(done)


def test_a_creation_is_answered_before_the_deletion_of_its_stream(rig: Rig) -> None:
    """Whatever of it is not on disk by then."""
    rig.storage.names = names = Unanswered()
    shelf = rig.create("A")
    shelf.save(payload("A", 2), rig.tell("A is changed"))
    rig.commit()
    assert rig.told == [] and len(names.waiting) == 1
    rig.delete(shelf)
    rig.commit()
    assert rig.told == ["A is there", "A is changed", "A goes", "A is gone"]
    names.waiting[0]("")
    assert len(rig.told) == 4


def test_a_stream_whose_former_one_may_come_back_is_not_created(rig: Rig) -> None:
    former = rig.create("A")
    rig.commit()
    former.names = names = Unanswered()
    rig.delete(former)
    rig.create("A", 2)
    rig.commit()
    assert rig.told == ["A is there"]
    names.waiting[0]("no disk")
    assert rig.told[1:] == ["A goes no disk", "A is there no disk", "A is gone no disk"]
    rig.create("A", 3)
    rig.commit()
    assert rig.told[4:] == []
    names.waiting[1]("no disk")
    assert rig.told[4:] == ["A is there no disk"]
    rig.create("A", 4)
    rig.commit()
    names.waiting[2]("")
    assert rig.told[5:] == ["A is there"]
    rig.create("A", 5)
    rig.commit()
    assert rig.told[6:] == ["A is there"] and len(names.waiting) == 3, "it is certain"


@pytest.mark.parametrize("refused", ["sync", "mark"])
def test_a_power_cut_brings_nothing_back_once_there_is_another_stream_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Also where a sync of the mark has failed: a later one, of the same name, would say nothing."""
    folder = tmp_path / "store"
    folder.mkdir()
    disk = SimulatedDisk(str(folder))
    rig = Rig(folder, disk)
    former = rig.create("A", 7)
    rig.commit()
    if refused == "sync":
        syncs = itertools.count()
        disk.fault = lambda kind: errno.EIO if kind == "sync" and next(syncs) == 0 else 0
        rig.delete(former)
    else:
        monkeypatch.setattr("millpond.jetstream.shelf.mark_released", refuse)
        former.abandon(lambda _: former.store.destroy(), rig.steps.append)
        monkeypatch.undo()
    rig.commit()
    again = rig.create("A", 3)
    rig.commit()
    assert rig.told[-1] == "A is there"
    for seed in range(50):
        image = DiskImage({"": None}, {}, Random(seed))
        for step in disk.trace:
            image.feed(step)
        to = tmp_path / f"cut{seed}"
        for path, data in image.image(Random(seed), SURVIVALS[seed % len(SURVIVALS)]).items():
            if data is None:
                (to / path[1:]).mkdir(parents=True, exist_ok=True)
            else:
                (to / path[1:]).write_bytes(data)
        after = Rig(to)
        assert after.recovered() == {again.slot.name: "A"}
        after.storage.close()
    again.put_away()
    rig.storage.close()


def restored_beside_a_newer_one(rig: Rig) -> tuple[FileShelf, FileShelf, Unanswered]:
    """A hidden stream, whose time of creation is its backup's; one that runs; and the names of that one's slot."""
    restored = rig.storage.create(StreamConfig(name="A"), hidden=True)
    assert isinstance(restored, FileShelf)
    restored.save(payload("A", 1), rig.tell("A is saved"))
    other = rig.create("A", 7)
    rig.commit()
    rig.told.clear()
    names = Unanswered()
    other.names = names
    return restored, other, names


def test_a_restored_stream_is_not_shown_while_a_newer_one_of_its_name_could_come_back(rig: Rig) -> None:
    """Of two streams of one name the older one goes at the next start: that would be the restored one."""
    restored, other, names = restored_beside_a_newer_one(rig)
    rig.delete(other)
    restored.reveal(rig.tell("A is shown"))
    rig.commit()
    assert (restored.slot / "released").exists() and rig.told == []
    names.waiting[0]("")
    assert not (restored.slot / "released").exists() and "A is shown" not in rig.told
    rig.commit()
    assert "A is shown" in rig.told


def test_a_newer_stream_that_went_meanwhile_is_waited_for(rig: Rig) -> None:
    restored, other, names = restored_beside_a_newer_one(rig)
    restored.reveal(rig.tell("A is shown"))
    rig.delete(other)
    rig.commit()
    assert rig.told == []
    names.waiting[0]("")
    assert "A is shown" in rig.told


def test_a_place_that_was_given_up_meanwhile_is_not_revealed(rig: Rig) -> None:
    former = rig.create("A")
    rig.commit()
    restored = rig.storage.create(StreamConfig(name="A"), hidden=True)
    assert isinstance(restored, FileShelf)
    former.names = names = Unanswered()
    rig.delete(former)
    restored.reveal(rig.tell("A is shown"))
    restored.abandon(lambda _: restored.store.destroy(), rig.steps.append)
    names.waiting[0]("")
    assert (restored.slot / "released").exists()
    rig.commit()
    assert list(restored.slot.iterdir()) == []


def test_a_deletion_is_answered_when_its_large_files_have_given_back_their_room(rig: Rig) -> None:
    shelf, closer = rig.create("A"), rig.storage.committer.closer
    rig.commit()
    for number in range(2 * limits.FILES_CLOSING_MAX + limits.FILES_REMOVED_PER_STEP):
        (shelf.slot / f"log.{number:04}").touch()
        os.truncate(shelf.slot / f"log.{number:04}", limits.FILE_BYTES_CLOSED_AT_ONCE)
    rig.delete(shelf)
    while not closer.given:
        rig.storage.committer.run_now()
        rig.storage.committer.collect()
    most, (step,) = 0, rig.steps
    while step():
        most = max(most, closer.given - closer.closed)
    assert limits.FILES_CLOSING_MAX <= most < limits.FILES_CLOSING_MAX + limits.FILES_REMOVED_PER_STEP
    assert closer.is_full() and rig.told[1:] == ["A goes"], "no turn is spent on waiting"
    rig.commit()
    assert rig.told[2:] == ["A is gone"] and list(shelf.slot.iterdir()) == [] and closer.closed == closer.given


def test_a_deletion_that_a_stop_cuts_short_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millpond.base.limits.FILES_REMOVED_PER_STEP", 1)
    rig = Rig(tmp_path / "run")
    shelf = rig.create("A")
    shelf.store.append_message(b"a", b"early")
    rig.commit()
    rig.delete(shelf)
    rig.storage.committer.drain()
    rig.storage.when_released(lambda: rig.told.append("all is done"))
    assert rig.told[1:] == ["A goes"] and len(rig.steps) == 1
    rig.storage.close()
    assert rig.told[2:] == ["A is gone", "all is done"]
    assert not shelf.slot.exists() and not rig.steps[0]() and len(rig.told) == 4


def test_what_cannot_be_condemned_keeps_its_files(rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A slot without its mark that has lost some of its files would be a damaged stream."""
    shelf = rig.create("A")
    shelf.store.append_message(b"a", b"early")
    rig.commit()
    before = sorted(path.name for path in shelf.slot.iterdir())
    monkeypatch.setattr("millpond.jetstream.shelf.mark_released", refuse)
    shelf.abandon(lambda _: shelf.store.destroy(), rig.steps.append)
    monkeypatch.undo()
    rig.commit()
    assert sorted(path.name for path in shelf.slot.iterdir()) == before and rig.steps == []
    assert rig.create("B").slot != shelf.slot


def test_a_change_is_refused_without_a_descriptor_for_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = rig.create("A")
    rig.commit()

    def none_left(path: str, *_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(os, "open", none_left)
    with pytest.raises(ApiError, match="Too many open files"):
        shelf.check_room()
    monkeypatch.undo()
    shelf.check_room()
    shelf.save(payload("A", 2), rig.tell("A is changed"))
    rig.commit()
    assert rig.told == ["A is there", "A is changed"]
