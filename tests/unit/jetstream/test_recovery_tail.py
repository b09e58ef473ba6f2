"""The end of a log after a crash: a batch is whole or gone, a rollup is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from millpond.store.committer import Committer
from millpond.store.file_store import FileStore
from millpond.store.read_cache import ReadCache
from millpond.store.scan import scan_segment
from millpond.testing.model_store import ModelStore, finish
from stream_rig import Rig, block

from millpond.base import limits


def batched(number: int, last: bool = False, rolls_up: bool = False, name: str = "b") -> bytes:
    end = {"Nats-Batch-Commit": "1"} if last else {}
    rollup = {"Nats-Rollup": "sub"} if rolls_up else {}
    return block({"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number), **end, **rollup})


def reopened(*messages: tuple[bytes, bytes], **config: object) -> list[int]:
    """The sequences that are left of (subject, header block)."""
    store = ModelStore()
    for subject, hdr in messages:
        store.append_message(subject, b"x", hdr)
    return [row[0] for row in Rig(store, **config).store.rows]


def test_a_beginning_of_a_batch_is_taken_back() -> None:
    plain, whole = (b"s.a", b""), [(b"s.a", batched(1)), (b"s.b", batched(2)), (b"s.c", batched(3, last=True))]
    assert reopened(plain, *whole, allow_atomic=True) == [1, 2, 3, 4]
    assert reopened(plain, *whole[:2], allow_atomic=True) == [1]
    assert reopened(*whole, *whole[:2], allow_atomic=True) == [1, 2, 3]
    assert reopened(*whole, plain, allow_atomic=True) == [1, 2, 3, 4]
    assert reopened((b"s.a", batched(1, last=True)), allow_atomic=True) == [1]
    assert reopened(plain, *whole[:2]) == [1, 2, 3]            # no batches here: what is stored is what was stored


def test_a_rollup_at_the_end_is_done_again() -> None:
    first = [(b"s.a", b""), (b"s.b", b""), (b"s.a", b"")]
    subject, everything = block({"Nats-Rollup": "sub"}), block({"Nats-Rollup": "ALL"})
    assert reopened(*first, (b"s.a", subject), allow_rollup_hdrs=True) == [2, 4]
    assert reopened(*first, (b"s.a", everything), allow_rollup_hdrs=True) == [4]
    assert reopened(*first, (b"s.a", subject)) == [1, 2, 3, 4]
    in_batch = [(b"s.a", batched(1, rolls_up=True)), (b"s.b", batched(2, last=True))]
    assert reopened(*first, *in_batch, allow_rollup_hdrs=True, allow_atomic=True) == [2, 4, 5]
    assert reopened(*first, *in_batch[:1], allow_rollup_hdrs=True, allow_atomic=True) == [1, 2, 3]


def test_a_message_makes_its_room_before_it_rolls_up() -> None:
    """The order of every append: so the oldest goes, though the rollup alone would have made room enough."""
    first, rollup = [(b"s.a", b""), (b"s.b", b""), (b"s.c", b"")], (b"s.b", block({"Nats-Rollup": "sub"}))
    assert reopened(*first, rollup, allow_rollup_hdrs=True, max_msgs=3) == [3, 4]
    rig = Rig(allow_rollup_hdrs=True, max_msgs=3)
    for subject in (b"s.a", b"s.b", b"s.c"):
        rig.send(subject)
    rig.send(b"s.b", Nats_Rollup="sub")
    assert [row[0] for row in rig.store.rows] == [3, 4]
    taken_back = [(b"s.a", batched(1)), (b"s.b", batched(2))]
    assert reopened(*first, *taken_back, allow_atomic=True, max_msgs=3) == [1, 2, 3]


def test_a_rollup_that_was_stopped_in_the_middle_is_finished(tmp_path: Path) -> None:
    committer, cache = Committer("always"), ReadCache(1 << 20)
    store = FileStore(str(tmp_path), committer, cache)
    rig = Rig(store, allow_rollup_hdrs=True)
    many = 3 * limits.PURGE_STEP_MESSAGES
    for number in range(many):
        rig.send(b"s.%d" % number, reply=b"")
    rig.send(b"s.a", b"new", Nats_Rollup="all")
    finish(rig.turn)
    committer.drain()
    assert 1 < store.state_dict()["messages"] <= many and rig.replies == []
    rig.stream.stop(False)
    store = FileStore(str(tmp_path), committer, cache)
    rig = Rig(store, allow_rollup_hdrs=True)
    assert (store.state_dict()["messages"], store.has(many + 1)) == (1, True)
    rig.stream.stop(False)
    cache.close()
    committer.close()


@pytest.mark.parametrize("rolls_up", [False, True])
def test_a_log_torn_anywhere_in_a_batch_shows_all_or_nothing_of_it(tmp_path: Path, rolls_up: bool) -> None:
    committer, cache = Committer("always"), ReadCache(1 << 20)
    (tmp_path / "whole").mkdir()
    store = FileStore(str(tmp_path / "whole"), committer, cache)
    store.append_message(b"s.a", b"before")
    for number in range(1, 5):
        subject = b"s.a" if number == 1 else b"s.b"
        store.append_message(subject, b"x", batched(number, number == 4, rolls_up and number == 1))
    committer.drain()
    (log,) = (tmp_path / "whole").glob("log.*")
    image, records = log.read_bytes(), scan_segment(log).records
    store.close()
    seen = set()
    first, last = (record.offset + record.length for record in (records[0], records[-1]))
    for end in [*range(first, last, 7), last]:
        torn = tmp_path / f"torn{end}"
        torn.mkdir()
        (torn / log.name).write_bytes(image[:end].ljust(len(image), b"\0"))
        store = FileStore(str(torn), committer, cache)
        rig = Rig(store, allow_atomic=True, allow_rollup_hdrs=True)
        seen.add(tuple(seq for seq in range(1, 6) if store.has(seq)))
        rig.stream.stop(False)
    assert seen == {(1,), (2, 3, 4, 5) if rolls_up else (1, 2, 3, 4, 5)}
    cache.close()
    committer.close()


class Written:
    """A log whose last write holds two batches of the same id, and a message before, between and behind them.

    Each of the batches puts messages in the place of old ones. `open` shows what a stream makes of a damaged image.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._committer, self._cache = Committer("always"), ReadCache(1 << 20)
        (folder / "whole").mkdir()
        store = FileStore(str(folder / "whole"), self._committer, self._cache)
        store.configure(per_subject_max=1)
        for number in range(6):
            store.append_message(b"s.%d" % number, b"old")
        self._committer.drain()
        store.append_message(b"s.x", b"before")                    # 7
        self._batch(store, (b"s.0", b"s.1", b"s.2"))               # 8 to 10
        store.append_message(b"s.y", b"between")                   # 11
        self._batch(store, (b"s.3", b"s.4", b"s.5"))               # 12 to 14
        store.append_message(b"s.z", b"behind")                    # 15
        self._committer.drain()
        (log,) = (folder / "whole").glob("log.*")
        self.image, self.records = log.read_bytes(), scan_segment(log).records
        store.close()

    def _batch(self, store: FileStore, subjects: tuple[bytes, ...]) -> None:
        store.batch(True)
        for number, subject in enumerate(subjects, 1):
            store.append_message(subject, b"new", batched(number, number == len(subjects)))
        store.batch(False)

    def open(self, image: bytes, again: bool = False) -> set[int]:
        self._number += 1
        folder = self._folder / f"{self._number}"
        folder.mkdir()
        (folder / "log.0000").write_bytes(image)
        for _ in range(1 + again):
            store = FileStore(str(folder), self._committer, self._cache)
            rig = Rig(store, allow_atomic=True, max_msgs_per_subject=1)
            found = {seq for seq in range(1, 16) if store.has(seq)}
            rig.stream.stop(False)
        return found

    def close(self) -> None:
        self._cache.close()
        self._committer.close()


def check_batches(found: set[int]) -> None:
    for old, new in (({1, 2, 3}, {8, 9, 10}), ({4, 5, 6}, {12, 13, 14})):
        assert (found & old, found & new) in ((old, set()), (set(), new)), sorted(found)


def test_a_write_torn_at_any_records_has_its_batches_whole_or_not_at_all(tmp_path: Path) -> None:
    """Sectors of the last write are missing, the first of them, the last or some in between."""
    written = Written(tmp_path)
    messages = [record for record in written.records if record.kind == "message" and record.seq > 6]
    assert len(messages) == 9
    for lost in range(1, 1 << len(messages)):
        if lost.bit_count() > 2 and lost % 7:
            continue                               # every pair, and a part of the many
        image = bytearray(written.image)
        for number, record in enumerate(messages):
            if lost >> number & 1:
                image[record.offset + 20] ^= 0xFF
        found = written.open(bytes(image), lost % 5 == 0)
        check_batches(found)
        assert {7, 11, 15} - found == {messages[n].seq for n in (0, 4, 8) if lost >> n & 1}
    written.close()


def test_a_write_cut_anywhere_has_its_batches_whole_or_not_at_all(tmp_path: Path) -> None:
    written = Written(tmp_path)
    seen = set()
    first = next(record.offset for record in written.records if record.seq == 7)
    ends = [record.offset + record.length for record in written.records]
    for end in [*range(first, max(ends), 13), *ends]:
        found = written.open(written.image[:end].ljust(len(written.image), b"\0"))
        if end > first:
            seen.add(tuple(sorted(found)))
            check_batches(found)
    rest = {(1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 7), (4, 5, 6, 7, 8, 9, 10), (4, 5, 6, 7, 8, 9, 10, 11)}
    assert seen >= rest | {(7, 8, 9, 10, 11, 12, 13, 14), (7, 8, 9, 10, 11, 12, 13, 14, 15)}
    written.close()
