"""A power cut tears any sectors out of the last write: whatever is left of it, what was committed before is there."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_rig import Rig, bodies, rig
from millpond.store.file_store import FileStore

pytestmark = pytest.mark.usefixtures("quiet")

SECTOR = 512
HEAD = 128                           # a segment's, both copies
SEGMENT_BYTES = 1 << 14
Images = dict[str, bytes]


def images(r: Rig) -> Images:
    return {path.name: path.read_bytes() for path in r.segments()}


def changed(before: Images, after: Images) -> list[tuple[str, int]]:
    """Sectors, as (file, offset), in the order of the log's end; of the files that both hold."""
    return [
        (name, at)
        for name in sorted(before.keys() & after.keys())
        for at in range(0, len(after[name]), SECTOR)
        if before[name][at : at + SECTOR] != after[name][at : at + SECTOR]
    ]


def torn(before: Images, after: Images, rng: random.Random) -> Iterator[Images]:
    """What a cut may leave: the write's last sector alone, all but its first, any."""
    sectors = changed(before, after)
    chosen = [sectors[-1:], sectors[:1] + sectors[-1:], sectors[1:]]
    chosen += [[sector for sector in sectors if rng.random() < 0.5] for _ in range(4)]
    for kept in chosen:
        left = {name: bytearray(content) for name, content in before.items()}
        for name, at in kept:
            left[name][at : at + SECTOR] = after[name][at : at + SECTOR]
        yield {name: bytes(content) for name, content in left.items()}


def write_out(folder: Path, left: Images) -> Path:
    folder.mkdir()
    for name, content in left.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("summaries", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_what_compaction_moved_is_not_lost_with_a_torn_copy(tmp_path: Path, seed: int, summaries: bool) -> None:
    """The record that lets the oldest segments go may survive the copies of what lived there. Several such writes
    follow each other in one segment: what earlier ones let go says nothing of the last."""
    rng, several, summarised = random.Random(seed), 0, 0
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run", summaries=summaries) as r, rig(tmp_path) as found:
        store = r.open(segment_bytes=SEGMENT_BYTES)
        for number in range(3000):
            store.append_message(b"k.%d" % (number % 9), b"%d " % number * rng.randrange(1, 250))
        for number in range(3000):
            if number % 20:
                store.remove_message(number + 1)
        r.commit()                                 # compaction takes no step in it
        committed, copied = bodies(store), -1
        store.remove_message(1)
        while store.figures()["copied_bytes"] > copied:
            before, copied = images(r), store.figures()["copied_bytes"]
            r.turn()
            stays, after = bodies(store), images(r)
            several += sum(record.kind == "trim" for record in r.scans()[-1].records) > 1
            for left in torn(before, after, rng):
                there = bodies(found.open(write_out(tmp_path / "cut", left), SEGMENT_BYTES))
                assert stays.items() <= there.items() <= committed.items()
                found.close()
                shutil.rmtree(tmp_path / "cut")
            committed = stays
            r.summarise()
            summarised += store.figures()["summaries"]
    assert several and bool(summarised) == summaries


@pytest.mark.parametrize("summaries", [False, True])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_what_a_torn_write_leaves_was_there_or_was_in_it(
    tmp_path: Path, seed: int, compress: bool, summaries: bool
) -> None:
    """Any mix of operations, compaction between them; packed segments beside plain ones, with summaries or without."""
    rng, copied, summarised = random.Random(seed), 0, 0
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run", summaries=summaries) as r, rig(tmp_path) as found:
        store = r.open(segment_bytes=SEGMENT_BYTES)
        store.configure(per_subject_max=rng.choice((0, 3, 40)))
        store.compress(compress)
        committed: dict[int, bytes] = {}
        for turn in range(120):
            before = images(r)
            made = mix(store, rng, turn)
            r.turn()
            stays, after = bodies(store), images(r)
            r.summarise()
            summarised += store.figures()["summaries"]
            for left in torn(before, after, rng) if turn % 3 == 0 else ():
                there = bodies(found.open(write_out(tmp_path / "cut", left), SEGMENT_BYTES))
                assert {seq: body for seq, body in committed.items() if seq in stays}.items() <= there.items()
                assert there.items() <= committed.items() | made.items()
                found.close()
                shutil.rmtree(tmp_path / "cut")
            committed, copied = stays, store.figures()["copied_bytes"]
    assert copied and bool(summarised) == summaries


def mix(store: FileStore, rng: random.Random, turn: int) -> dict[int, bytes]:
    """What clients do in one turn. -> what they published"""
    made = {}
    for number in range(rng.randrange(1, 30)):
        chance, subject = rng.random(), b"k.%d" % rng.randrange(30)
        live = store.state_dict()
        if chance < 0.25 and live["messages"]:
            store.remove_message(rng.randrange(live["first_seq"], live["last_seq"] + 1), rng.random() < 0.4)
        elif chance < 0.35:
            store.purge_messages([subject], keep=rng.choice((0, 0, 1)))
        else:
            body = b"%d.%d " % (turn, number) * rng.choice((1, 20, 120))
            made[store.append_message(subject, body)] = body
    return made


def test_the_end_of_a_segment_that_is_missing_is_no_padding(tmp_path: Path) -> None:
    """A write goes on in the next segment, which is on disk; what it wrote in the one before is not. So nothing was
    promised, and its removals are not believed."""
    (tmp_path / "run").mkdir()
    met = 0
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        store = r.open(segment_bytes=SEGMENT_BYTES)
        for number in range(100):
            store.append_message(b"k", b"%d " % number * 100)
            r.commit()
            before, committed = images(r), bodies(store)
            gone = min(committed)
            for _ in range(2):
                store.append_message(b"k", b"%d " % number * 100)
            store.remove_message(gone)
            r.commit()
            after = images(r)
            new = sorted(after.keys() - before.keys())
            if not new or not changed(before, after):
                continue
            met += 1
            left = found.open(write_out(tmp_path / f"cut-{number}", {**after, **before}), segment_bytes=SEGMENT_BYTES)
            assert left.damage == [] and left.lost == 0
            assert bodies(left).items() >= committed.items()
            found.close()
    assert met >= 2


def test_the_end_of_a_page_that_is_missing_within_a_write_is_no_padding(tmp_path: Path) -> None:
    """Whole records are missing, and the next page is there, with the removal of what one of them replaced."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        store = r.open(segment_bytes=SEGMENT_BYTES)
        for number in range(50):
            subject, body = (b"k", b"value") if number in (0, 28) else (b"a", b"other")
            store.append_message(subject, b"%02d " % number + body + bytes(87))     # records of 128 bytes
            if number == 0:
                r.commit()
        store.remove_message(1)
        r.commit()
        ((name, content),) = images(r).items()
        missing = [record.seq for record in r.scans()[0].records if 4096 - SECTOR <= record.offset < 4096]
        assert missing == [28, 29, 30, 31]
        cut = content[: 4096 - SECTOR] + bytes(SECTOR) + content[4096:]
        left = found.open(write_out(tmp_path / "cut", {name: cut}), segment_bytes=SEGMENT_BYTES)
        assert sorted(bodies(left)) == [seq for seq in range(1, 51) if seq not in missing]
        assert left.damage == [] and left.lost == 0
        found.close()


def test_the_last_sequence_is_not_issued_again_when_its_erasure_is_torn(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        store = r.open(segment_bytes=SEGMENT_BYTES)
        for number in range(3):
            store.append_message(b"k", b"%d " % number * 100)
        r.commit()
        store.remove_message(3, True)
        r.commit()
        ((name, content),) = images(r).items()
        at = content.index(b"\0" * 200) if b"2 2 " not in content else content.index(b"2 2 ")
        torn_erasure = content[:at] + b"torn" + content[at + 4 :]
        left = found.open(write_out(tmp_path / "cut", {name: torn_erasure}), segment_bytes=SEGMENT_BYTES)
        assert left.state_dict()["last_seq"] == 3 and sorted(bodies(left)) == [1, 2]
        assert left.append_message(b"k", b"next") == 4
        found.close()


@pytest.mark.parametrize("killed", [False, True])
def test_a_file_that_is_used_again_does_not_tear_the_write_that_let_it_go(tmp_path: Path, killed: bool) -> None:
    """A write begins in a segment, goes on in the next one, and lets the first go. The write after it begins in that
    file, and its head's sector does not reach the disk: what is torn seems to be in the write that was committed."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        store = r.open(segment_bytes=SEGMENT_BYTES)
        store.append_message(b"k", b"first")
        r.commit()
        for number in range(20):
            store.append_message(b"k", b"%d " % number * 400)
        store.purge_messages([], keep=2)
        r.commit()
        if killed:
            store = r.crash(tmp_path / "killed", SEGMENT_BYTES)
        before, committed = images(r), bodies(store)
        store.append_message(b"k", b"next " * 2800)
        r.commit()
        after, stays = images(r), bodies(store)
        again = {name for name, _ in changed(before, after)}
        assert len(committed) == 2 and again == (set() if killed else {"log.0000"}), "a start uses no file again"
        for number, left in enumerate(torn(before, after, random.Random(1))):
            cut = found.open(write_out(tmp_path / f"cut-{number}", left), SEGMENT_BYTES)
            assert committed.items() <= bodies(cut).items() <= stays.items()
            assert cut.damage == [] and cut.lost == 0
            found.close()


def test_a_write_that_lets_a_segment_go_is_not_believed_when_it_is_torn_in_the_next_one(tmp_path: Path) -> None:
    """What replaced a message was to be there, and is not: the oldest segment is needed, whatever the end says."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        store = r.open(segment_bytes=SEGMENT_BYTES)
        store.configure(per_subject_max=1)
        store.append_message(b"k", b"old")
        while len(r.segments()) < 2:
            store.append_message(b"filler", b"f" * 1000)
            r.commit()
        before = images(r)
        store.append_message(b"k", b"new")
        for number in range(12):
            store.append_message(b"behind.%d" % number, b"b" * 1400)
        r.commit()
        after = images(r)
        assert [record.kind for record in r.scans()[-1].records][-1] == "trim" and len(after) == 3
        left = found.open(write_out(tmp_path / "cut", {**after, **before}), SEGMENT_BYTES)
        assert b"old" in bodies(left).values() and b"new" not in bodies(left).values()
        found.close()


def a_write_over_three_segments(r: Rig, body: bytes) -> dict[int, bytes]:
    """Committed, as all before it is. -> what was there before it"""
    store = r.open(segment_bytes=SEGMENT_BYTES)
    store.append_message(b"k", b"first")
    r.commit()
    before = bodies(store)
    while len(r.segments()) < 3:
        store.append_message(b"k", body)
    r.commit()
    return before


def without_its_head(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes(SECTOR) + content[SECTOR:])


def without_any_record(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 2 * SECTOR):
        content[at : at + SECTOR] = bytes(SECTOR)
    path.write_bytes(content)


def with_a_bad_sector(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: 8 * SECTOR] + bytes(SECTOR) + content[9 * SECTOR :])


SPOILS = [without_its_head, without_any_record, with_a_bad_sector, Path.unlink]


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_segment_in_the_middle_of_a_torn_write_is_no_damage(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Its head too is written with the rest; the segment behind it, which is whole, knows of it."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        before = a_write_over_three_segments(r, b"x" * 1500)
        folder = write_out(tmp_path / "cut", images(r))
        spoil(folder / "log.0001")
        left = found.open(folder, SEGMENT_BYTES)
        assert left.damage == [] and left.lost == 0
        assert before.items() <= bodies(left).items() < bodies(r.store).items()
        found.close()


@pytest.mark.parametrize("spoil", SPOILS)
def test_it_is_damage_where_the_witness_says_that_all_was_committed(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        a_write_over_three_segments(r, b"x" * 1500)
        shutil.copytree(tmp_path / "run", tmp_path / "cut")
        spoil(tmp_path / "cut" / "log.0001")
        left = found.open(tmp_path / "cut", SEGMENT_BYTES)
        lost = sorted(bodies(r.store).keys() - bodies(left).keys())
        assert lost and left.lost == len(lost)
        assert f"messages {lost[0]} to {lost[-1]} are lost" in "".join(left.damage)
        heads = [text for text in left.damage if "its head cannot be read" in text]
        assert len(heads) == (spoil in (without_its_head, without_any_record))
        found.close()


def with_zeros_behind_its_head(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:HEAD] + bytes(len(content) - HEAD))


def with_noise_behind_its_head(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:HEAD] + random.Random(1).randbytes(len(content) - HEAD))


FIRST_SPOILS = [[spoil] for spoil in (without_its_head, without_any_record, Path.unlink)]
FIRST_SPOILS += [[with_zeros_behind_its_head], [with_noise_behind_its_head]]
FIRST_SPOILS += [[without_any_record, without_any_record], [Path.unlink, Path.unlink]]


def spoil_first(folder: Path, spoils: list[Callable[[Path], None]]) -> Path:
    for number, spoil in enumerate(spoils):
        spoil(folder / f"log.{number:04}")
    return folder


def a_log_of_three_segments(r: Rig, *, first: bool) -> bytes:
    """Of one write, or of two, the first of which is small. -> the witness of that"""
    store, witness = r.open(segment_bytes=SEGMENT_BYTES), b""
    if first:
        store.append_message(b"k", b"first")
        r.commit()
        r.testify()
        witness = (r.root / "witness").read_bytes()
    while len(r.segments()) < 3:
        store.append_message(b"k", b"x" * 1500)
    r.commit()
    return witness


@pytest.mark.parametrize("spoils", [*FIRST_SPOILS, [without_any_record, without_its_head]])
def test_a_log_whose_first_write_is_torn_at_its_beginning_is_not_damaged(
    tmp_path: Path, spoils: list[Callable[[Path], None]]
) -> None:
    """Nothing of it was committed: what is whole of it, in later segments, knows of those before and of no commit."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        a_log_of_three_segments(r, first=False)
        left = found.open(spoil_first(write_out(tmp_path / "cut", images(r)), spoils), SEGMENT_BYTES)
        assert left.damage == [] and left.lost == 0
        assert bodies(left) and bodies(left).items() < bodies(r.store).items()
        found.close()


@pytest.mark.parametrize("spoils", FIRST_SPOILS)
@pytest.mark.parametrize("early", [False, True])
def test_it_is_damaged_where_the_witness_says_that_something_was_committed(
    tmp_path: Path, spoils: list[Callable[[Path], None]], early: bool
) -> None:
    """Also where it is that of a write before, so that more may be torn."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run") as r, rig(tmp_path) as found:
        witness = a_log_of_three_segments(r, first=True)
        shutil.copytree(tmp_path / "run", tmp_path / "cut")
        if early:
            (tmp_path / "cut" / "witness").write_bytes(witness)
        left = found.open(spoil_first(tmp_path / "cut", spoils), SEGMENT_BYTES)
        lost = sorted(bodies(r.store).keys() - bodies(left).keys())
        assert lost[0] == 1 and left.lost == len(lost)
        heads = [text for text in left.damage if "its head cannot be read" in text]
        assert len(heads) == len([spoil for spoil in spoils if spoil in (without_its_head, without_any_record)])
        found.close()
