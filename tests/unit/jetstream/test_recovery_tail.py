"""The end of a log after a crash: a batch is whole or gone, a rollup is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from millpond.store.committer import Committer
from millpond.store.file_store import FileStore
from millpond.store.read_cache import ReadCache
from millpond.store.scan import scan_segment
from millpond.testing.model_store import ModelStore
from stream_rig import Rig, block


def batched(number: int, last: bool = False, rolls_up: bool = False) -> bytes:
    end = {"Nats-Batch-Commit": "1"} if last else {}
    rollup = {"Nats-Rollup": "sub"} if rolls_up else {}
    return block({"Nats-Batch-Id": "b", "Nats-Batch-Sequence": str(number), **end, **rollup})


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
