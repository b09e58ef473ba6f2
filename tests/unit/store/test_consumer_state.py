"""ConsumerState against a slow model; ConsumerJournal over crashes, torn tails and swaps."""

import os
import shutil
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.store.checksum import checksum
from millpond.store.committer import Committer
from millpond.store.consumer_journal import ConsumerJournal
from millpond.store.consumer_state import ConsumerState

from millpond.store.consumer_file import COPIED_MAX, FRAME, HEADERS, NAMES, VERSION, Journal, JournalFiles, read_journal


class Model:
    """The rules in the most obvious form."""

    def __init__(self):
        self.pending = {}
        self.exhausted = set()
        self.delivered = (0, 0)
        self.floor = (0, 0)

    def settle(self):
        floor = self.delivered
        if self.pending:
            stream_seq = min(self.pending)
            floor = (self.pending[stream_seq][0] - 1, stream_seq - 1)
        self.floor = tuple(map(max, zip(self.floor, floor, strict=True)))

    def deliver(self, stream_seq, tracked):
        self.delivered = (self.delivered[0] + 1, stream_seq)
        if tracked:
            self.pending[stream_seq] = (self.delivered[0], 1)
        elif not self.pending:
            self.floor = self.delivered

    def redeliver(self, stream_seq):
        first, count = self.pending[stream_seq]
        self.pending[stream_seq] = (first, count + 1)
        self.delivered = (self.delivered[0] + 1, self.delivered[1])

    def drop(self, gone):
        for stream_seq in gone:
            del self.pending[stream_seq]
        if gone:
            self.settle()

    def ack_through(self, stream_seq, consumer_seq):
        gone = [seq for seq in self.pending if seq <= stream_seq]
        for seq in gone:
            del self.pending[seq]
        self.exhausted = {seq for seq in self.exhausted if seq > stream_seq}
        if self.pending:
            consumer_seq = min(consumer_seq, self.pending[min(self.pending)][0] - 1)
        self.floor = (max(self.floor[0], consumer_seq), stream_seq)
        return len(gone)

    def cut(self, stream_seq):
        self.pending = {seq: row for seq, row in self.pending.items() if seq <= stream_seq}
        self.exhausted = {seq for seq in self.exhausted if seq <= stream_seq}
        self.delivered = (self.delivered[0], min(self.delivered[1], stream_seq))
        self.floor = (self.floor[0], min(self.floor[1], stream_seq))
        self.settle()

    def advance(self, to):
        if to <= self.floor[1] and not any(seq <= to for seq in self.exhausted):
            return
        self.pending = {seq: row for seq, row in self.pending.items() if seq > to}
        self.exhausted = {seq for seq in self.exhausted if seq > to}
        self.settle()
        self.delivered = (self.delivered[0], max(to, self.delivered[1]))
        self.floor = (self.floor[0], max(to, self.floor[1]))


OPS = st.lists(st.tuples(st.sampled_from("ddddrraaAvxpc"), st.integers(0, 40)), max_size=120)


def apply(state, model, kind, n):
    known = sorted(model.pending)
    chosen = known[n % len(known)] if known else 0
    if kind == "d":
        stream_seq = model.delivered[1] + 1 + n % 3
        model.deliver(stream_seq, True)
        assert state.py_deliver(stream_seq, n) == model.delivered[0]
    elif kind == "r" and known:
        model.redeliver(chosen)
        assert state.py_redeliver(chosen, n) == (model.delivered[0], model.pending[chosen][1])
    elif kind == "a":
        seq = n if n in model.exhausted else chosen
        assert state.py_ack(seq, n) == (1 if seq in model.pending else 2 if seq in model.exhausted else 0)
        model.drop([seq] if seq in model.pending else [])
        model.exhausted.discard(seq)
    elif kind == "A" and known and chosen > model.floor[1]:
        consumer_seq = model.pending[chosen][0]
        assert state.py_ack_through(chosen, consumer_seq, n) == model.ack_through(chosen, consumer_seq)
    elif kind == "v":
        to = model.floor[1] + n % 4
        model.advance(to)
        state.py_advance(to)
    elif kind == "x":
        assert state.py_exhaust(chosen) is bool(known)
        if known:
            model.drop([chosen])
            model.exhausted.add(chosen)
    elif kind == "p":
        assert state.py_postpone(chosen, n) is bool(known)
    elif kind == "c" and n % 8 == 0 and model.delivered[1] > 3:
        model.cut(model.delivered[1] - 3)
        state.py_cut(model.delivered[1])


def agree(state, model):
    assert state.check() == []
    assert [(seq, first, count) for seq, first, _, count in state.pending()] == [
        (seq, *model.pending[seq]) for seq in sorted(model.pending)
    ]
    assert state.exhausted() == sorted(model.exhausted)
    assert (state.delivered_consumer_seq, state.delivered_stream_seq) == model.delivered
    assert (state.floor_consumer_seq, state.floor_stream_seq) == model.floor


@settings(deadline=None, max_examples=150)
@given(OPS)
def test_agrees_with_the_model(ops):
    state, model = ConsumerState(), Model()
    for kind, n in ops:
        apply(state, model, kind, n)
        agree(state, model)


@settings(deadline=None, max_examples=40)
@given(OPS)
def test_recovers_exactly_what_was_drained(tmp_path_factory, ops):
    path = tmp_path_factory.mktemp("journal")
    journal = ConsumerJournal(str(path), Committer(0))
    model = Model()
    for i, (kind, n) in enumerate(ops):
        if i % 40 == 0:
            state = journal.open_consumer("c", b"{}")
        apply(state, model, kind, n)
    journal.close()
    if ops:
        config, again = ConsumerJournal(str(path), Committer(0)).recovered()["c"]
        assert config == b"{}"
        agree(again, model)


def test_floors_follow_untracked_deliveries():
    state = ConsumerState()
    state.py_deliver(3, 1, False)
    assert (state.floor_consumer_seq, state.floor_stream_seq, state.num_pending_acks) == (1, 3, 0)


def test_memory_is_given_back_after_a_wave():
    state = ConsumerState()
    for seq in range(1, 100_001):
        state.py_deliver(seq)
        if seq > 10:
            state.py_ack(seq - 10)
    assert state.num_pending_acks == 10 and state.check() == []


def test_a_deleted_consumer_does_not_come_back(tmp_path):
    journal = ConsumerJournal(str(tmp_path), Committer(0))
    journal.open_consumer("a", b"1").py_deliver(1)
    journal.open_consumer("b/..", b"2")
    journal.delete_consumer("a")
    journal.open_consumer("a", b"3")
    journal.set_config("b/..", b"4")
    journal.close()
    found = ConsumerJournal(str(tmp_path), Committer(0)).recovered()
    assert {name: config for name, (config, _) in found.items()} == {"a": b"3", "b/..": b"4"}
    assert found["a"][1].delivered_consumer_seq == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["consumers.0"]


def test_a_consumer_that_was_deleted_since_the_checkpoint_does_not_come_back(tmp_path):
    journal = ConsumerJournal(str(tmp_path), committer := Committer(0))
    for name in "ab":
        journal.open_consumer(name, b"{}")
    committer.drain()
    journal.delete_consumer("a")
    committer.drain()
    assert journal.checkpoint_steps == 1
    assert set(survivors(tmp_path)) == {"b"}


def test_every_cut_of_the_file_is_a_state_that_was(tmp_path):
    journal = ConsumerJournal(str(tmp_path), committer := Committer(0))
    state = journal.open_consumer("c", b"{}")
    committer.drain()
    seen = {0}
    for seq in range(1, 9):
        state.py_deliver(seq)
        state.py_ack(seq)
        committer.drain()
        seen.add(seq)
    data = (tmp_path / NAMES[0]).read_bytes()
    checkpoint = data.index(b"{}") + 2
    for cut in range(checkpoint + 64, len(data) + 1):
        other = tmp_path / "cut"
        other.mkdir()
        (other / NAMES[0]).write_bytes(data[:cut])
        found = ConsumerJournal(str(other), Committer(0)).recovered()
        if found:
            assert found["c"][1].floor_stream_seq in seen
            assert found["c"][1].check() == []
        shutil.rmtree(other)
    assert found["c"][1].floor_stream_seq == 8


def test_it_swaps_between_two_names_and_stays_small(tmp_path):
    journal = ConsumerJournal(str(tmp_path), committer := Committer(0))
    state = journal.open_consumer("c", b"{}")
    for seq in range(1, 5001):
        state.py_deliver(seq, seq)
        state.py_ack(seq, seq)
        if seq % 10 == 0:
            committer.drain()
    journal.close()
    assert journal.generation > 2
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(NAMES)
    assert all(p.stat().st_size < 3 * 65536 for p in tmp_path.iterdir())
    assert ConsumerJournal(str(tmp_path), Committer(0)).recovered()["c"][1].floor_stream_seq == 5000


def test_a_damaged_new_file_leaves_the_old_one_in_force(tmp_path):
    journal = ConsumerJournal(str(tmp_path), Committer(0))
    journal.open_consumer("c", b"{}")
    journal.close()
    again = ConsumerJournal(str(tmp_path), Committer(0))
    again.set_config("c", b"new")
    again.close()
    newer = tmp_path / NAMES[1]
    newer.write_bytes(newer.read_bytes()[:-1])
    assert ConsumerJournal(str(tmp_path), Committer(0)).recovered()["c"][0] == b"{}"


@pytest.mark.parametrize("there", range(0, 120, 4))
def test_a_new_file_of_which_only_the_beginning_reached_the_disk_leaves_the_old_one_in_force(tmp_path, there):
    """The rest is zeros: its length was on disk before its bytes were."""
    files = JournalFiles(str(tmp_path), checksum)
    files.recover()
    files.swap(1)
    files.append(b"checkpoint of the first")
    files.synced()
    files.swap(2)
    files.append(b"checkpoint of the second" * 4)
    files.close()
    path = tmp_path / NAMES[files.current]
    whole = path.read_bytes()
    assert there < len(whole)
    path.write_bytes(whole[:there] + bytes(len(whole) - there))
    assert JournalFiles(str(tmp_path), checksum).recover() == (1, [b"checkpoint of the first"])


def test_no_new_header_stands_before_an_old_frame(tmp_path, monkeypatch):
    """Header and head of the first frame are one write, within a sector."""
    files = JournalFiles(str(tmp_path), checksum)
    files.recover()
    writes = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: (writes.append((at, len(data))), real(fd, data, at))[1])
    for payload in (b"short", b"long" * COPIED_MAX):
        writes.clear()
        files.swap(1)
        files.append(payload)
        assert writes[0][0] == 0 and writes[0][1] >= HEADERS[VERSION].size + FRAME.size
    files.close()


def test_a_first_file_whose_name_could_not_be_synced_is_not_tried_again(tmp_path):
    """A sync of its directory that succeeds later says nothing of it."""
    files = JournalFiles(str(tmp_path), checksum)
    files.recover()
    files.swap(1)
    files.append(b"first")
    failed = files.current
    files.swap(2)
    files.append(b"second")
    assert files.current == 1 - failed
    files.synced()
    files.swap(3)
    files.append(b"third")
    assert files.current == failed
    files.close()


def test_committed_follows_position_and_is_told(tmp_path):
    journal = ConsumerJournal(str(tmp_path), committer := Committer(0))
    told = []
    journal.on_committed = lambda: told.append(journal.committed_position)
    state = journal.open_consumer("c", b"{}")
    assert journal.position > journal.committed_position == 0
    committer.drain()
    assert told and journal.committed_position >= journal.position
    position = journal.position
    state.py_deliver(1)
    assert journal.position == position, "nobody waits for a delivery"
    state.py_ack(1)
    assert journal.position > journal.committed_position
    committer.drain()
    assert journal.committed_position >= journal.position


@pytest.mark.parametrize(("data", "crc"), [(b"", 0), (b"123456789", 0xE3069283), (b"\0" * 32, 0x8A9136AA)])
def test_checksum_is_crc32c(data, crc):
    assert checksum(data) == crc


def test_other_bytes_are_not_a_journal():
    assert read_journal(b"", checksum) == Journal()
    assert read_journal(b"x" * 100, checksum) == Journal(size=100)


def test_what_is_not_pending_any_more_survives(tmp_path):
    journal = ConsumerJournal(str(tmp_path), Committer(0))
    state = journal.open_consumer("c", b"{}")
    for seq in range(1, 7):
        state.py_deliver(seq, seq * 10)
    state.py_exhaust(2)
    state.py_postpone(3, 99)
    state.py_redeliver(4, 77)
    state.py_cut(5)
    journal.close()
    again = ConsumerJournal(str(tmp_path), Committer(0)).recovered()["c"][1]
    assert again.exhausted() == [2]
    assert again.pending() == [(1, 1, 10, 1), (3, 3, 99, 1), (4, 4, 77, 2), (5, 5, 50, 1)]
    assert again.check() == []


def in_parts(path):
    """A journal of small parts, with 100 pending in "c" and 3 in "d", whose next write begins a checkpoint."""
    journal = ConsumerJournal(str(path), committer := Committer("always"))
    states = [journal.open_consumer(name, name.encode()) for name in "cd"]
    for state, count in zip(states, (100, 3), strict=True):
        for seq in range(1, count + 1):
            state.py_deliver(seq, seq)
    committer.drain()
    journal.step_bytes = 280
    journal.fail_sync(5)
    return journal, committer, *states


def contents(state):
    wanted = ("began_stream_seq", "num_redelivered", "delivered_ts_ns", "acked_ts_ns")
    return state.info(), state.pending(), state.exhausted(), [getattr(state, name) for name in wanted]


def survivors(path):
    return {
        name: contents(state)
        for name, (_, state) in ConsumerJournal(str(path), Committer("never")).recovered().items()
    }


def test_a_checkpoint_is_written_in_parts_and_counts_when_it_is_whole(tmp_path):
    journal, committer, c, d = in_parts(tmp_path)
    c.py_ack(1, 7)
    kept, steps, sizes = survivors(tmp_path), journal.checkpoint_steps, [0]
    assert kept["c"] != contents(c)
    newer = tmp_path / NAMES[1]
    while journal.committed_position < journal.position:
        assert survivors(tmp_path) == kept
        committer.run_now()
        sizes.append(newer.stat().st_size)
        committer.collect()
    assert journal.checkpoint_steps - steps >= 8
    assert max(after - before for before, after in pairwise(sizes)) < 500
    committer.drain()
    assert journal.committed_position == journal.position
    assert survivors(tmp_path) == {"c": contents(c), "d": contents(d)}
    data = newer.read_bytes()
    for cut in range(0, len(data), 7):
        newer.write_bytes(data[:cut])
        assert survivors(tmp_path) == kept, "a checkpoint without its end is none"
    assert data[4:8] == b"\2\0\0\0", "an earlier server would believe its first part"


PART_OPS = [*"ddrraaAvxpE", "cut", "reset", "config", "new", "gone", "again", "full"]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(PART_OPS), st.integers(0, 120)), max_size=40), st.integers(1, 3))
def test_changes_between_the_parts_of_a_checkpoint_survive(tmp_path_factory, ops, per_part):
    path = tmp_path_factory.mktemp("parts")
    journal, committer, c, _ = in_parts(path)
    live = {"c": c, "d": journal.open_consumer("d", b"d")}
    for step, (kind, n) in enumerate(ops):
        change(journal, live, "dcc"[n % 3], kind, n)
        if step % per_part == 0:
            committer.run_now()
    journal.close()                    # a delivery that nobody waits for would not be written
    assert survivors(path) == {name: contents(state) for name, state in live.items()}
    for name, (config, _) in ConsumerJournal(str(path), Committer("never")).recovered().items():
        assert config == journal.recovered()[name][0]


def change(journal, live, name, kind, n):
    """One change of a state, or of which states there are, whatever it is now."""
    if kind == "new":
        live[f"n{n}"] = journal.open_consumer(f"n{n}", b"new")
        live[f"n{n}"].py_deliver(live[f"n{n}"].delivered_stream_seq + 5)
    elif kind == "config":
        journal.set_config(name, b"%d" % n) if name in live else None
    elif kind == "again" and name not in live:
        live[name] = journal.open_consumer(name, b"again")
    elif name not in live:
        return
    elif kind == "gone" and n % 5 == 0:
        journal.delete_consumer(name)
        del live[name]
    elif kind == "full":
        journal.fail_write() if n % 7 == 0 else None
    else:
        change_state(live[name], kind, n)


def change_state(state, kind, n):
    known = [row[0] for row in state.pending()]
    chosen = known[n % len(known)] if known else 0
    if kind == "d":
        state.py_deliver(state.delivered_stream_seq + 1 + n % 3, n)
    elif kind == "r" and known:
        state.py_redeliver(chosen, 1000 + n)
    elif kind == "a":
        state.py_ack(chosen, n)
    elif kind == "E" and state.exhausted():
        state.py_ack(state.exhausted()[n % len(state.exhausted())], n)
    elif kind == "A" and known:
        state.py_ack_through(known[n % min(len(known), 20)], n, n)
    elif kind == "v":
        state.py_advance(state.floor_stream_seq + 1 + n % 3)     # one that goes nowhere is not written down
    elif kind == "x":
        state.py_exhaust(chosen)
    elif kind == "p":
        state.py_postpone(chosen, n)
    elif kind == "cut" and n % 4 == 0:
        state.py_cut(max(state.delivered_stream_seq - n // 4, 0))
    elif kind == "reset" and n % 4 == 0:
        state.py_reset(n // 4)


def test_a_journal_that_is_closed_between_two_parts_is_whole(tmp_path):
    journal, committer, c, d = in_parts(tmp_path)
    for _ in range(3):
        committer.run_now()
    c.py_deliver(101)
    journal.close()
    assert survivors(tmp_path) == {"c": contents(c), "d": contents(d)}


def test_a_journal_that_cannot_be_written_confirms_nothing_more(tmp_path):
    journal = ConsumerJournal(str(tmp_path), committer := Committer(0))
    state = journal.open_consumer("c", b"{}")
    committer.drain()
    confirmed = journal.committed_position
    for _ in range(2):
        journal.fail_sync(5)
    for seq in range(1, 1000):
        state.py_deliver(seq)
        state.py_ack(seq)
    committer.drain()
    assert journal.failure
    assert journal.committed_position == confirmed < journal.position


def test_a_checkpoint_has_what_is_pending_and_nothing_of_what_has_left(tmp_path):
    journal = ConsumerJournal(str(tmp_path), committer := Committer(0))
    state = journal.open_consumer("c", b"{}")
    for number in range(1, 2001):
        state.py_deliver(number, number)
    for number in (1, 2, 7, *range(500, 1400), 2000):
        state.py_ack(number)
    state.py_redeliver(3, 5000)
    state.py_exhaust(4)
    pending, exhausted = state.pending(), state.exhausted()
    journal.close()                                        # the first write of a journal is a checkpoint
    committer.close()
    journal = ConsumerJournal(str(tmp_path), committer := Committer(0))
    _, again = journal.recovered()["c"]
    assert (again.pending(), again.exhausted(), again.check()) == (pending, exhausted, [])
    assert len(pending) == 2000 - 904 - 1
    journal.close()
    committer.close()


@pytest.mark.parametrize("how", ["deleted", "rolled back", "cut", "of another stream"])
def test_a_journal_that_is_not_the_newest_is_noticed(tmp_path, how):
    def journal(identity: int) -> ConsumerJournal:
        return ConsumerJournal(str(tmp_path), committer, identity)

    committer = Committer("always")
    path = tmp_path / NAMES[0]
    for identity in (7, 5):                        # the first one's file is what the second one's slot gets
        for name in (*NAMES, "witness"):
            (tmp_path / name).unlink(missing_ok=True)
        made = journal(identity)
        state = made.open_consumer("c", b"{}")
        state.py_deliver(1)
        committer.drain()
        if identity == 7:
            other = path.read_bytes()
        else:
            early = path.read_bytes()
        state.py_ack(1)
        made.close()
    assert journal(5).damage == [] and journal(5).recovered()["c"][1].floor_stream_seq == 1
    image = path.read_bytes()
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes({"rolled back": early, "cut": image[:-3], "of another stream": other}[how])
    again = journal(5)
    assert again.damage, how
    expected = {"rolled back": 0, "cut": 0}.get(how)
    assert {name: state.floor_stream_seq for name, (_, state) in again.recovered().items()} \
        == ({} if expected is None else {"c": expected})
    committer.close()


def test_a_journal_of_the_first_version_is_read(tmp_path):
    journal = ConsumerJournal(str(tmp_path), committer := Committer(0), 9)
    journal.open_consumer("c", b"{}")
    journal.close()
    (path,) = (tmp_path / name for name in NAMES if (tmp_path / name).exists())
    data = path.read_bytes()
    start = b"MPCJ" + (1).to_bytes(4, "little") + data[8:16]
    path.write_bytes(start + checksum(start).to_bytes(4, "little") + data[24:])
    assert set(ConsumerJournal(str(tmp_path), committer, 9).recovered()) == {"c"}
