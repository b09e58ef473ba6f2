"""The index against an obvious model: a dict of live messages, asked and changed at random."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.store.api import Filters
from millpond.store.index import Index

NS_PER_MS = 1_000_000
SUBJECTS = [b"a", b"b", b"a.x", b"a.y", b"kv.k.1", b"kv.k.2", b"kv.other", b"x.y.z"]
FILTERS = [[], [b">"], [b"a"], [b"a.*"], [b"kv.>"], [b"*.y.>"], [b"none"], [b"a", b"kv.k.*"], [b"a.x", b"b"]]

numbers = st.integers(0, 10_000)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(SUBJECTS), st.integers(0, 3), st.integers(0, 5)),
        st.tuples(st.just("burst"), st.sampled_from(SUBJECTS), st.integers(1, 400), st.integers(1, 8)),
        st.tuples(st.just("remove"), numbers),
        st.tuples(st.just("thin"), st.integers(1, 9)),
        st.tuples(st.just("open")),
        st.tuples(st.just("move"), numbers, st.integers(1, 60)),
        st.tuples(st.just("skip"), st.integers(1, 40)),
    ),
    max_size=30,
)


class Model:
    """seq -> [subject, run_id, offset, size, ts_ns]"""

    def __init__(self) -> None:
        self.index = Index()
        self.live: dict[int, list[object]] = {}
        self.first_seq, self.last_seq, self.ts_ns, self.run_id = 1, 0, 1_000 * NS_PER_MS, 0
        self.open()

    def open(self) -> None:
        self.run_id += 1
        self.index.start_run(self.run_id, self.ts_ns)

    def add(self, subject: bytes, gap: int, wait_ms: int) -> None:
        seq = self.last_seq + 1 + gap
        self.ts_ns += wait_ms * NS_PER_MS
        self.index.add_message(seq, subject, seq % 977, 10 + seq % 7, self.ts_ns)
        self.live[seq] = [subject, self.run_id, seq % 977, 10 + seq % 7, self.ts_ns]
        self.last_seq = seq

    def remove(self, seq: int) -> None:
        gone = self.live.pop(seq, None)
        assert self.index.remove_message(seq) == (gone[0] if gone else None)
        if gone:
            rest = [s for s in sorted(self.live) if s > seq and self.live[s][0] == gone[0]]
            assert self.index.next_same(seq) == (rest[0] if rest else 0)
            run_id = gone[1]
            if run_id != self.run_id and not any(m[1] == run_id for m in self.live.values()):
                assert self.index.live_in(run_id) == 0
                self.index.release_run(run_id)

    def pick(self, n: int) -> int:
        seqs = sorted(self.live)
        return seqs[n % len(seqs)] if seqs else n

    def apply(self, operation: tuple) -> None:
        match operation:
            case ("add", subject, gap, wait_ms):
                self.add(subject, gap * gap * 30, wait_ms)
            case ("burst", subject, count, kinds):
                start = SUBJECTS.index(subject)
                for i in range(count):
                    self.add(SUBJECTS[(start + i % kinds) % len(SUBJECTS)], 0, i % 2)
            case ("remove", n):
                self.remove(self.pick(n) if n % 5 else n)
            case ("thin", keep):
                for i, seq in enumerate(sorted(self.live)):
                    if i % 10 >= keep:
                        self.remove(seq)
            case ("open",):
                self.open()
            case ("move", n, count):
                self.open()
                for i, seq in enumerate(sorted(s for s in self.live if s >= self.pick(n))[:count]):
                    self.index.move_message(seq, self.run_id, i)
                    self.live[seq][1:3] = [self.run_id, i]
            case ("skip", n):
                self.last_seq += n
                self.index.skip_to(self.last_seq)

    def check_state(self) -> None:
        state = self.index.state_dict()
        seqs = sorted(self.live)
        first = seqs[0] if seqs else self.last_seq + 1
        assert self.index.check() == []
        assert state["messages"] == len(seqs)
        assert state["bytes"] == sum(m[3] for m in self.live.values())
        assert (state["first_seq"], state["last_seq"]) == (first, self.last_seq)
        assert state["first_ts_ns"] == (self.live[first][4] if seqs else 0)
        assert state["num_subjects"] == len({m[0] for m in self.live.values()})
        assert state["num_deleted"] == (self.last_seq - first + 1 - len(seqs) if seqs else 0)

    def check_messages(self) -> None:
        for seq, (subject, run_id, offset, size, ts_ns) in self.live.items():
            found = self.index.get_message(seq)
            assert found.pop("subject") == subject
            assert found == {"seq": seq, "run_id": run_id, "offset": offset, "size": size, "ts_ns": ts_ns}

    def check_queries(self, points: list[int]) -> None:
        seqs = sorted(self.live)
        for names in FILTERS:
            filters = Filters(names)
            mine = [s for s in seqs if filters.accepts(self.live[s][0])]
            for at in [0, *points]:
                up = [s for s in mine if s >= at]
                down = [s for s in mine if not at or s <= at]
                assert self.index.ask_next(at, filters) == (up[0] if up else 0)
                assert self.index.ask_count(at, filters) == len(up)
                assert self.index.ask_last(filters, at) == (down[-1] if down else 0)
            counts: dict[bytes, int] = {}
            for s in mine:
                counts[self.live[s][0]] = counts.get(self.live[s][0], 0) + 1
            assert {s: self.index.ask_count(0, Filters([s])) for s in counts} == counts

    def check_rest(self, points: list[int]) -> None:
        seqs = sorted(self.live)
        for at in points:
            ts_ns = (1_000 + at % 300) * NS_PER_MS
            late = [s for s in seqs if self.live[s][4] >= ts_ns]
            assert self.index.ask_time(ts_ns) == (late[0] if late else self.last_seq + 1)
            below = [s for s in seqs if s <= at]
            assert self.index.previous(at) == (below[-1] if below else 0)
        if seqs:
            gone = sorted(set(range(seqs[0], self.last_seq + 1)) - self.live.keys())
            assert self.index.ask_deleted(0, 10**9) == (gone, 0)
            found, at = self.index.ask_deleted(0, 3)
            assert found + self.index.ask_deleted(at, 10**9)[0] == gone if at else found == gone
        else:
            assert self.index.ask_deleted(0, 5) == ([], 0)


@given(operations, st.lists(numbers, min_size=1, max_size=3))
@settings(deadline=None, max_examples=120)
def test_agrees_with_the_model(steps: list[tuple], points: list[int]) -> None:
    model = Model()
    for step in steps:
        model.apply(step)
        model.check_state()
    model.check_messages()
    near = [model.pick(p) for p in points] + [p % (model.last_seq + 2) for p in points]
    model.check_queries(near)
    model.check_rest(near)
