"""A kill cuts the last write short: whatever first part of it is there, some first part of the operations made it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from file_rig import START_NS, Rig, bodies, rig
from millpond.store.file_store import FileStore
from millpond.store.scan import scan_segment

pytestmark = pytest.mark.usefixtures("quiet")

Live = dict[int, bytes]
PAGE = 4096


class Cutting:
    """Runs operations whose records are all in one write, and opens the log at every place where that can be cut."""

    def __init__(self, folder: Path, limits: dict[str, int], segment_bytes: int, summaries: bool = False) -> None:
        self._folder, self._limits, self._segment_bytes = folder, limits, segment_bytes
        self._number, self._summaries = 0, summaries

    def store(self, r: Rig, directory: Path | None = None) -> FileStore:
        store = r.open(directory, self._segment_bytes)
        store.configure(**self._limits)
        return store

    def states(self, before: list[Callable[[FileStore], object]], write: list[Callable[[FileStore], object]]) -> tuple:
        """The states that the operations of `write` make one by one, and those that are found at the cuts, in order."""
        run = self._folder / "run"
        run.mkdir()
        with rig(run, summaries=self._summaries) as r:
            store = self.store(r)
            for operation in before:
                operation(store)
            r.commit()
            r.summarise()
            images = {path.name: path.read_bytes() for path in r.segments()}
            made = [self.state(store)]
            for operation in write:
                operation(store)
                made.append(self.state(store))
            r.committer.run_now()
            scans = [(path, scan_segment(path)) for path in r.segments()]
            scans = sorted((row for row in scans if row[1].head), key=lambda row: row[1].head["generation"])
            written = {path.name: path.read_bytes() for path, _ in scans}
            r.settle()
        found = []
        with rig(self._folder) as r:
            for path, scan in scans:               # segments are written one after the other
                old = images.get(path.name, b"")
                ends = {record.offset + record.length for record in scan.records}
                for end in sorted(ends | set(range(0, scan.end, PAGE))):
                    found.append(self._cut(r, images, path.name, written[path.name][:end] + old[end:], len(old)))
                images[path.name] = written[path.name]
        return made, found

    def _cut(self, r: Rig, images: dict[str, bytes], name: str, image: bytes, least: int) -> tuple[int, int, Live]:
        self._number += 1
        folder = self._folder / f"cut{self._number}"
        folder.mkdir()
        for other, content in images.items():
            (folder / other).write_bytes(content)
        (folder / name).write_bytes(image.ljust(max(least, self._segment_bytes), b"\0"))
        store = self.store(r, folder)
        state = self.state(store)
        r.close()
        shutil.rmtree(folder)
        return state

    def state(self, store: FileStore) -> tuple[int, int, Live]:
        state = store.state_dict()
        return state["first_seq"], state["last_seq"], bodies(store)


def publish(subject: bytes, body: bytes) -> Callable[[FileStore], object]:
    return lambda store: store.append_message(subject, body, ts_ns=START_NS)


def remove(seq: int, secure: bool = False) -> Callable[[FileStore], object]:
    return lambda store: store.remove_message(seq, secure)


def purge(*subjects: bytes, keep: int = 0) -> Callable[[FileStore], object]:
    return lambda store: store.purge_messages(subjects, keep=keep)


def some(rng: random.Random, count: int) -> list[Callable[[FileStore], object]]:
    """Operations as clients mix them."""
    made: list[Callable[[FileStore], object]] = []
    for number in range(count):
        subject = b"k.%d" % rng.randrange(4)
        chance = rng.random()
        if chance < 0.15:
            made.append(purge(subject, keep=rng.choice((0, 0, 1))))
        elif chance < 0.3:
            made.append(remove(rng.randrange(1, 30), rng.random() < 0.5))
        elif chance < 0.33:
            made.append(purge(keep=rng.choice((0, 3))))
        else:
            made.append(publish(subject, b"%d " % number * rng.choice((1, 30, 300))))
    return made


LIMITS = [{}, {"per_subject_max": 1}, {"messages_max": 5}, {"per_subject_max": 2, "messages_max": 5},
          {"per_subject_max": 2, "bytes_max": 1500}]  # fmt: skip


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("log", [(4096, 15, False), (1 << 16, 15, False), (4096, 60, True)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_any_cut_of_a_write_is_a_first_part_of_its_operations(tmp_path, limits, log, seed):
    rng = random.Random(seed)
    segment_bytes, before, summaries = log
    made, found = Cutting(tmp_path, limits, segment_bytes, summaries).states(some(rng, before), some(rng, 25))
    at = 0
    for state in found:
        assert state in made[at:], f"not one of {made[at:]}"
        at = made.index(state, at)
    assert found[-1] == made[-1]


def test_what_is_published_after_a_purge_is_not_there_without_it(tmp_path):
    """The shortest case: a publish was on disk, the purge before it in the same write was not."""
    made, found = Cutting(tmp_path, {}, 4096).states(
        [publish(b"k", b"1"), publish(b"other", b"2")], [purge(b"k"), publish(b"k", b"3")]
    )
    assert made == [(1, 2, {1: b"1", 2: b"2"}), (2, 2, {2: b"2"}), (2, 3, {2: b"2", 3: b"3"})]
    assert [state for number, state in enumerate(found) if state not in found[:number]] == made


def test_what_a_large_message_evicted_stays_away_when_a_small_one_takes_its_place(tmp_path):
    """The limits alone would let it come back: without the large message there is room for it."""
    limits = {"per_subject_max": 1, "bytes_max": 950}
    made, found = Cutting(tmp_path, limits, 4096).states(
        [publish(b"first", b"1")], [publish(b"k", b"2" * 900), publish(b"k", b"3")]
    )
    assert [list(live) for _, _, live in made] == [[1], [2], [3]]
    assert [state for number, state in enumerate(found) if state not in found[:number]] == made


def test_a_purge_of_first_and_other_messages_is_one_record(tmp_path):
    before = [publish(b"k" if number % 2 == 0 else b"other", b"%d" % number) for number in range(6)]
    made, found = Cutting(tmp_path, {}, 4096).states(before, [purge(b"k")])
    assert set(map(str, found)) == set(map(str, made))


@pytest.mark.parametrize("count", [2, 5])
def test_a_beginning_of_a_batch_has_removed_nothing(tmp_path, count):
    """What a batch replaces is there as long as its last message is not; what was removed before it is gone."""

    def batch(store: FileStore) -> None:
        store.batch(True)
        for number in range(count):
            store.append_message(b"k.%d" % number, b"new", ts_ns=START_NS)
            store.purge_messages([b"old.%d" % number])
        store.batch(False)

    before = [publish(b"k.%d" % number, b"old") for number in range(count)]
    before += [publish(b"old.%d" % number, b"old") for number in range(count)]
    made, found = Cutting(tmp_path, {}, 4096).states(before, [purge(b"old.0"), batch, publish(b"more", b"x")])
    last = 2 * count
    assert made[1] in found
    assert made[2] in found
    assert made[3] in found
    for _, last_seq, live in found:
        if last < last_seq < last + count:
            assert {seq: body for seq, body in live.items() if seq <= last} == made[1][2]
