"""Summaries: what recovery takes from them is what the records say, and nothing depends on them."""

from __future__ import annotations

import os
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from file_rig import START_NS, Rig, bodies, rig
from millpond.store.checksum import checksum
from millpond.store.file_store import FileStore
from millpond.store.scan import scan_segment
from millpond.testing.faulty_disk import FaultyDisk
from tests.readiness import readable

SEGMENT = 1 << 14
FOOT = struct.Struct("<IIQIIIIIIIIIIII")
MAGIC = 0x5553504D


def foot(path: Path) -> tuple[int, ...] | None:
    """Of the summary of the file's present life; None when there is none."""
    data, scan = path.read_bytes(), scan_segment(path)
    if scan.head is None or len(data) < FOOT.size:
        return None
    found = FOOT.unpack(data[-FOOT.size :])
    return found if found[0] == MAGIC and found[2] == scan.head["generation"] else None


def summarised(directory: Path) -> list[Path]:
    """Files with a summary, by generation."""
    found = [(at[2], path) for path in directory.glob("log.*") if (at := foot(path)) is not None]
    return [path for _, path in sorted(found)]


def without(directory: Path, to: Path) -> Path:
    """A copy of the log whose summaries are gone."""
    shutil.copytree(directory, to)
    for path in summarised(to):
        data = path.read_bytes()
        path.write_bytes(data[: -foot(path)[3]])  # type: ignore[index]
    assert summarised(to) == []
    return to


def seen(store: FileStore) -> dict[str, Any]:
    """Everything that recovery makes."""
    state = store.state_dict()
    messages = {}
    seq = store.next_message(0)
    while seq:
        messages[seq] = store.load_message(seq)
        seq = store.next_message(seq + 1)
    subjects = {message["subject"] for message in messages.values()}
    lasts = {subject: (store.last_of(subject), store.count_of(subject)) for subject in subjects}
    times = [store.at_time(message["ts_ns"]) for message in list(messages.values())[::7]]
    ends = store.expire_messages(START_NS, 0)
    figures = {name: store.figures()[name] for name in ("segments", "log_bytes", "live_bytes", "lost")}
    return {"state": state, "messages": messages, "lasts": lasts, "times": times, "ends": ends, "log": figures,
            "damage": store.damage, "order": store.log.order_list()}  # fmt: skip


def mix(store: FileStore, rng: random.Random, count: int) -> None:
    """What a log can hold."""
    for number in range(count):
        chance, subject = rng.random(), b"k.%d" % rng.randrange(40)
        state = store.state_dict()
        if chance < 0.15 and state["messages"]:
            store.remove_message(rng.randrange(state["first_seq"], state["last_seq"] + 1), rng.random() < 0.4)
        elif chance < 0.2:
            store.purge_messages([subject], keep=rng.choice((0, 0, 1)))
        elif chance < 0.21:
            store.purge_messages(below=state["first_seq"] + rng.randrange(30))
        elif chance < 0.215 and not state["messages"]:
            store.start_at(state["last_seq"] + rng.randrange(2, 50))
        else:
            ends = START_NS + rng.randrange(10**15) if rng.random() < 0.1 else 0
            headers = b"NATS/1.0\r\nA: b\r\n\r\n" if rng.random() < 0.2 else b""
            store.append_message(
                subject, b"%d " % number * rng.choice((0, 1, 20, 200)), headers,
                ts_ns=START_NS + state["last_seq"] * rng.choice((1000, 10**7)), expires_ns=ends,
            )  # fmt: skip


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_recovery_makes_the_same_of_summaries_and_of_records(tmp_path: Path, seed: int, compress: bool) -> None:
    rng = random.Random(seed)
    run = tmp_path / "run"
    run.mkdir()
    with rig(run, summaries=True) as r, rig(tmp_path) as plain, rig(tmp_path, summaries=True) as quick:
        store = r.open(segment_bytes=SEGMENT)
        store.configure(per_subject_max=rng.choice((0, 2, 30)))
        store.compress(compress)
        taken = 0
        for turn in range(60):
            mix(store, rng, 40)
            r.turn()
            r.summarise()
            if turn % 10 == 9:
                shutil.copytree(run, tmp_path / "quick")
                expected = seen(plain.open(without(run, tmp_path / "plain"), SEGMENT))
                found = seen(quick.open(tmp_path / "quick", SEGMENT))
                taken += quick.store.figures()["summaries"]  # type: ignore[union-attr]
                assert found == expected
                plain.close()
                quick.close()
                shutil.rmtree(tmp_path / "plain")
                shutil.rmtree(tmp_path / "quick")
        assert taken > (0 if compress else 6), "erasures take them from packed segments"


def filled(r: Rig, count: int, size: int = 300, compress: bool = False) -> FileStore:
    store = r.open(segment_bytes=SEGMENT)
    store.compress(compress)
    for number in range(count):
        store.append_message(b"a.%d" % (number % 7), b"%06d" % number * (size // 6), ts_ns=START_NS + number * 1000)
        if number % 10 == 9:
            r.turn()
    r.turn()
    r.summarise()
    return store


def test_every_sealed_segment_gets_one_once_a_later_write_is_committed(tmp_path: Path) -> None:
    with rig(tmp_path, summaries=True) as r:
        store = filled(r, 400)
        figures = store.figures()
        assert figures["segments"] > 5
        assert len(summarised(tmp_path)) == figures["summaries"] == figures["segments"] - 1
        assert all(path.stat().st_size > SEGMENT for path in summarised(tmp_path))
        before = {path: path.read_bytes() for path in summarised(tmp_path)}
        store = r.reopen(SEGMENT)
        assert store.figures()["summaries"] == figures["summaries"], "what was the newest has none yet"
        for _ in range(2):
            store.append_message(b"a", b"")
            r.turn()
        r.summarise()
        assert store.figures()["summaries"] == figures["summaries"] + 1
        assert {path: path.read_bytes() for path in before} == before, "none is made twice"


def test_what_one_write_holds_is_not_summarised_before_the_next(tmp_path: Path) -> None:
    with rig(tmp_path, summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        for number in range(200):
            store.append_message(b"a", b"%d" % number * 100)
        r.turn()
        r.summarise()
        assert store.figures()["segments"] > 3 and store.figures()["summaries"] == 0
        store.append_message(b"a", b"")
        r.turn()
        r.summarise()
        assert store.figures()["summaries"] == store.figures()["segments"] - 1


def test_small_segments_get_none(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        store = filled(r, 400)
        assert store.figures()["summaries"] == 0 and summarised(tmp_path) == []


def test_a_recovered_segment_is_not_read(tmp_path: Path, quiet: None) -> None:
    """Damage in it is found by whoever reads the message: never delivered, and named."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run", summaries=True) as r:
        expected = bodies(filled(r, 400))
    path = summarised(tmp_path / "run")[1]
    record = scan_segment(path).records[3]
    with open(path, "r+b") as file:
        file.seek(record.offset + record.length - 1)
        file.write(b"\xff")
    with rig(tmp_path / "run", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        assert store.lost == 0 and store.damage == [] and store.has(record.seq)
        assert store.load_message(record.seq) is None
        assert store.lost == 1 and not store.has(record.seq)
        del expected[record.seq]
        assert bodies(store) == expected


@pytest.mark.parametrize("compress", [False, True])
def test_a_summary_damaged_at_any_byte_changes_nothing(tmp_path: Path, quiet: None, compress: bool) -> None:
    """Nothing wrong is delivered and nothing is lost: the records are read instead."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run", summaries=True) as r:
        store = filled(r, 130, 540, compress)
        expected = seen(store)
        victim = summarised(tmp_path / "run")[1]
        assert (store.figures()["packed"] > 0) == compress
        shutil.copytree(tmp_path / "run", tmp_path / "crashed")
    data, size = victim.read_bytes(), foot(victim)[3]  # type: ignore[index]
    steps = foot(victim)[4]  # type: ignore[index]
    victim = tmp_path / "crashed" / victim.name
    places = [*range(steps + 16), *range(steps + 16, size - FOOT.size, 97), *range(size - FOOT.size, size)]
    with rig(tmp_path, summaries=True) as r:
        for at in places:
            shutil.rmtree(tmp_path / "cut", ignore_errors=True)
            shutil.copytree(tmp_path / "crashed", tmp_path / "cut")
            flipped = bytearray(data)
            flipped[len(data) - size + at] ^= 1 << at % 8
            (tmp_path / "cut" / victim.name).write_bytes(flipped)
            found = seen(r.open(tmp_path / "cut", SEGMENT))
            assert found == expected, f"byte {at}"
            r.close()


@pytest.mark.parametrize("cut", [1, FOOT.size, 1000, 4096])
def test_a_summary_cut_short_changes_nothing(tmp_path: Path, cut: int) -> None:
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run", summaries=True) as r:
        expected = bodies(filled(r, 130))
        for path in summarised(tmp_path / "run"):
            os.truncate(path, path.stat().st_size - cut)
        r.crash(tmp_path / "crashed", SEGMENT)
        assert r.store is not None
        assert bodies(r.store) == expected and r.store.damage == [] and r.store.figures()["summaries"] == 0


def test_steps_that_cannot_be_read_to_their_end_are_no_end_of_the_segment(tmp_path: Path) -> None:
    """A summary with checksums that fit and nonsense in it, from the middle on: the rest is read from the records."""
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run", summaries=True) as r:
        expected = seen(filled(r, 200))
        shutil.copytree(tmp_path / "run", tmp_path / "crashed")
        path = summarised(tmp_path / "crashed")[1]
        data, head = path.read_bytes(), scan_segment(path).head
        assert head is not None
        at = list(foot(path))  # type: ignore[arg-type]
        begin, seed = len(data) - at[3], checksum(head["generation"].to_bytes(8, "little"), head["salt"])
        body = bytearray(data[begin : len(data) - FOOT.size])
        body[at[4] // 2 : at[4]] = bytes(at[4] - at[4] // 2)
        at[8] = checksum(bytes(body), seed)
        at[-1] = checksum(FOOT.pack(*at)[:-4], seed)
        path.write_bytes(data[:begin] + body + FOOT.pack(*at))
        r.close()
        store = r.open(tmp_path / "crashed", SEGMENT)
        assert seen(store) == expected
        assert foot(path) is None, "it is wiped, and made anew"


def holds(directory: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in directory.glob("log.*"))


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_an_erased_subject_is_in_no_summary(tmp_path: Path, compress: bool, kill: bool) -> None:
    (tmp_path / "run").mkdir()
    with rig(tmp_path / "run", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(compress)
        for number in range(100):
            store.append_message(b"secret.subject.%d" % number, b"secret body %d " % number * 30)
            if number % 10 == 9:
                r.turn()
        r.turn()
        r.summarise()
        assert b"secret.subject.3" in summarised(tmp_path / "run")[0].read_bytes()[-4096:]
        directory = tmp_path / "run"
        for seq in range(1, 60):
            store.remove_message(seq, True)
        if kill:                                   # the removal is committed, and not more than the wiping after that
            r.turn()
            directory = tmp_path / "crashed"
            store = r.crash(directory, SEGMENT)
        for _ in range(200):
            r.commit()
            r.summarise()
            if readable(r.cache.event_fd, 0.01):
                r.cache.collect()
            left = [n for n in range(59) if holds(directory, b"secret body %d " % n)]
            left += [n for n in range(10, 59) if holds(directory, b"secret.subject.%d" % n)]
            if not left:
                break
        assert left == []
        expected = bodies(store)
        assert min(expected) == 60
        for number in range(60):                   # what was wiped is made anew when the next segment begins
            store.append_message(b"a", b"%d" % number * 200)
            r.turn()
        r.summarise()
        assert store.figures()["summaries"] == store.figures()["segments"] - 1
        expected = seen(store)["messages"]
        r.crash(tmp_path / "again", SEGMENT)
        assert r.store is not None
        assert seen(r.store)["messages"] == expected and r.store.damage == []


@pytest.mark.parametrize("wiped", [False, True])
def test_a_cut_between_wiping_and_overwriting_brings_nothing_back(tmp_path: Path, wiped: bool) -> None:
    """The message is erased on disk, the summary is not, or the other way round: both are done again."""
    run = tmp_path / "run"
    run.mkdir()
    with rig(run, summaries=True) as r:
        store = filled(r, 100)
        before = {path.name: path.read_bytes() for path in run.glob("log.*")}
        victim = summarised(run)[0]
        record = scan_segment(victim).records[2]
        store.remove_message(1)
        store.remove_message(record.seq, True)
        for _ in range(4):
            r.turn()
        after = victim.read_bytes()
        assert scan_segment(victim).records[2].kind == "erased" and foot(victim) is None
        end = record.offset + record.length
        data = bytearray(before[victim.name])
        if wiped:
            data[SEGMENT:] = after[SEGMENT:]
        else:
            data[record.offset : end] = after[record.offset : end]
        shutil.copytree(run, tmp_path / "crashed")
        expected = bodies(store)
    (tmp_path / "crashed" / victim.name).write_bytes(data)
    with rig(tmp_path / "crashed", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        assert bodies(store) == expected and store.lost == 0
        for _ in range(10):
            r.commit()
            if readable(r.cache.event_fd, 0.05):
                r.cache.collect()
        assert scan_segment(tmp_path / "crashed" / victim.name).records[2].kind == "erased"
        found = foot(tmp_path / "crashed" / victim.name)
        assert found is None or found != FOOT.unpack(before[victim.name][-FOOT.size :])
        assert bodies(store) == expected and store.lost == 0


def test_what_a_torn_write_disbelieves_is_not_in_a_summary_later(tmp_path: Path, quiet: None) -> None:
    """The write that proved it is gone (no sync between the two with `interval`), and so is a part of this one."""
    run = tmp_path / "run"
    run.mkdir()
    with rig(run, sync="interval", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.append_message(b"old", b"old")
        r.turn()
        for number in range(10):
            store.append_message(b"new", b"%d" % number * 100)
        store.remove_message(1)
        for number in range(40):
            store.append_message(b"new", b"%d" % number * 200)
        r.turn()
        store.append_message(b"proof", b"")
        r.turn()
        r.summarise()
        assert store.figures()["summaries"] == 1 == store.figures()["segments"] - 1
        shutil.copytree(run, tmp_path / "cut")
    (sealed,) = summarised(tmp_path / "cut")
    for path in (tmp_path / "cut").glob("log.*"):
        if path != sealed:
            path.unlink()
    torn = scan_segment(sealed).records[3]
    data = bytearray(sealed.read_bytes())
    data[torn.offset + 100] ^= 0xFF
    sealed.write_bytes(data)
    with rig(tmp_path / "cut", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        assert store.has(1), "what removed it is not believed"
        for _ in range(3):
            store.append_message(b"new", b"later")
            r.turn()
        expected = bodies(store)
        store = r.reopen(SEGMENT)
        assert store.has(1) and bodies(store) == expected


def test_the_last_write_is_not_taken_by_a_summary(tmp_path: Path, quiet: None) -> None:
    """The write that proved it is gone (no sync between the two with `interval`), and so is a part of this one, which
    nobody was promised: it is not there, and not lost either."""
    run = tmp_path / "run"
    run.mkdir()
    with rig(run, sync="interval", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        for number in range(60):
            store.append_message(b"a", b"%d" % number * 200)
        r.turn()
        proof = store.append_message(b"proof", b"")
        r.turn()
        r.summarise()
        shutil.copytree(run, tmp_path / "cut")
    (sealed,) = summarised(tmp_path / "cut")
    (newest,) = [path for path in (tmp_path / "cut").glob("log.*") if path != sealed]
    last, torn = scan_segment(newest).records[-1], scan_segment(sealed).records[3]
    assert last.seq == proof
    for path, record in ((newest, last), (sealed, torn)):
        data = bytearray(path.read_bytes())
        data[record.offset : record.offset + record.length] = bytes(record.length)
        path.write_bytes(data)
    with rig(tmp_path / "cut", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        assert not store.has(torn.seq)
        assert sorted(bodies(store)) == [seq for seq in range(1, proof) if seq != torn.seq]
        assert store.lost == 0 and store.damage == []


def test_a_segment_that_does_not_verify_gets_none(tmp_path: Path, quiet: None) -> None:
    with rig(tmp_path, summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        for number in range(300):
            store.append_message(b"a", b"%d" % number * 150)
            r.turn()
        path = sorted(tmp_path.glob("log.*"))[1]
        record = scan_segment(path).records[3]
        data = bytearray(path.read_bytes())
        data[record.offset + 50] ^= 1
        path.write_bytes(data)
        r.summarise()
        assert path not in summarised(tmp_path) and len(summarised(tmp_path)) == store.figures()["segments"] - 2
        store = r.reopen(SEGMENT)
        assert store.lost == 1 and f"messages {record.seq} to {record.seq} are lost" in store.damage[0]


def test_files_that_are_used_again_keep_their_size_and_no_summary_of_another_life_counts(tmp_path: Path) -> None:
    with rig(tmp_path, summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        for number in range(1500):
            store.append_message(b"a.%d" % (number % 5), b"%d" % number * 60)
            if number > 40:
                store.remove_message(store.next_message(0))
            r.turn()
            if number % 3 == 0:
                r.summarise()
        assert store.figures()["names_made"] < 12, "what left the log was used again"
        shutil.copytree(tmp_path, tmp_path / "crashed", ignore=lambda *_: ["crashed"])
        expected = seen(store)
        r.close()
        store = r.open(tmp_path / "crashed", SEGMENT)
        assert seen(store) == expected
        store.append_message(b"a", b"")
        r.commit()


def test_a_full_disk_refuses_a_summary_and_nothing_else(tmp_path: Path, quiet: None) -> None:
    import errno

    disk = FaultyDisk({"write"}, errno.ENOSPC)
    with rig(tmp_path, disk=disk, summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        for number in range(60):
            store.append_message(b"a", b"%d" % number * 150)
            r.turn()
        disk.first, disk.last = disk.calls + 1, disk.calls + 1000
        r.summarise()
        disk.first = 1 << 62
        assert store.figures()["summaries"] == 0 and store.failure == ""
        expected = bodies(store)
        store.append_message(b"a", b"more")
        r.turn()
        assert bodies(r.reopen(SEGMENT)) == expected | {61: b"more"}


@pytest.mark.parametrize("summaries", [False, True])
def test_what_has_no_headers_is_passed_over(tmp_path: Path, summaries: bool) -> None:
    """Who looks for message ids after a start need not read segments without headers."""
    with rig(tmp_path, summaries=summaries) as r:
        store = r.open(segment_bytes=SEGMENT)
        headed = {120, 121, 290}
        for number in range(1, 301):
            headers = b"NATS/1.0\r\nA: b\r\n\r\n" if number in headed else b""
            store.append_message(b"a", b"%d" % number * 150, headers)
            if number % 7 == 0:
                store.remove_message(number - 3)
            r.turn()
        r.summarise()
        assert [store.next_message_with_headers(seq) for seq in (1, 100)] == [1, 100], "nothing is known yet"
        store = r.reopen(SEGMENT)
        found, seq = [], store.next_message_with_headers(0)
        while seq:
            found.append(seq)
            seq = store.next_message_with_headers(seq + 1)
        assert headed <= set(found) and len(found) < 150 and all(store.has(seq) for seq in found)
