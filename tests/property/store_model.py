"""The obvious store: a dict of messages and the rules in plain words. Any real store can be run beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from millpond.store.api import Filters, RecordingOwner
from millpond.store.lasts import last_of_each

NS_PER_MS = 1_000_000
NEVER = -1
START_NS = 1_700_000_000_000_000_000
SUBJECTS = [b"a", b"b", b"a.x", b"a.y", b"kv.k.1", b"kv.k.2", b"kv.other", b"x.y.z"]
FILTERS = [[], [b"a"], [b"a.*"], [b"kv.>"], [b"none"], [b"a", b"kv.k.*"]]

numbers = st.integers(0, 10_000)
small = st.integers(0, 6)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(SUBJECTS), st.binary(max_size=40), st.binary(max_size=40)),
        st.tuples(st.just("burst"), st.sampled_from(SUBJECTS), st.integers(1, 300), st.integers(0, 500)),
        st.tuples(st.just("ending"), st.sampled_from(SUBJECTS), st.integers(1, 60), st.integers(-1, 4000)),
        st.tuples(st.just("skip"), st.integers(1, 20)),
        st.tuples(st.just("skip_through"), st.integers(0, 5000)),
        st.tuples(st.just("remove"), numbers, st.booleans()),
        st.tuples(st.just("thin"), st.integers(1, 9)),
        st.tuples(st.just("purge"), st.sampled_from(FILTERS), small, small),
        st.tuples(st.just("limits"), st.sampled_from([0, 0, 5, 40]), st.sampled_from([0, 0, 5000]), small, small),
        st.tuples(st.just("expire"), st.integers(0, 4000), st.integers(0, 20)),
        st.tuples(st.just("restart_at"), numbers),
        st.tuples(st.just("commit")),
    ),
    max_size=25,
)


@dataclass
class Message:
    ts_ns: int
    subject: bytes
    hdr: bytes
    body: bytes
    size: int
    expires_ns: int = 0


@dataclass
class Model:
    """Runs every operation on `store` and on a dict; `told` is what the owner should have heard."""

    store: Any
    live: dict[int, Message] = field(default_factory=dict)
    last_seq: int = 0
    ts_ns: int = START_NS
    limits: tuple[int, int, int, int] = (0, 0, 0, 0)
    told: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owner = RecordingOwner()
        self.store.owner = self.owner

    # --- the rules ---

    def drop(self, seq: int) -> None:
        gone = self.live.pop(seq)
        self.told.append(("removed", seq, gone.subject, gone.size))

    def oldest_first(self, subjects: list[bytes] | None = None) -> list[int]:
        wanted = Filters(subjects or [])
        return [seq for seq in sorted(self.live) if wanted.accepts(self.live[seq].subject)]

    def enforce(self, subjects: list[bytes]) -> None:
        messages_max, bytes_max, per_subject_max, _ = self.limits
        for subject in subjects:
            of_subject = self.oldest_first([subject])
            if per_subject_max and len(of_subject) > per_subject_max:
                for seq in of_subject[:-per_subject_max]:
                    self.drop(seq)
        while (messages_max and len(self.live) > messages_max) or (
            bytes_max and sum(m.size for m in self.live.values()) > bytes_max
        ):
            self.drop(min(self.live))

    def append(self, subject: bytes, hdr: bytes, body: bytes, expires_ns: int = 0) -> None:
        self.ts_ns += 700_001
        size = self.store.size_of(len(subject), len(hdr), len(body))
        self.last_seq += 1
        assert self.store.append_message(subject, body, hdr, self.ts_ns, expires_ns) == self.last_seq
        self.live[self.last_seq] = Message(self.ts_ns, subject, hdr, body, size, expires_ns)
        self.enforce([subject])

    def pick(self, n: int) -> int:
        seqs = sorted(self.live)
        return seqs[n % len(seqs)] if seqs else n

    def remove(self, seq: int, secure: bool) -> None:
        assert self.store.remove_message(seq, secure) == (seq in self.live)
        if seq in self.live:
            self.drop(seq)

    def purge(self, subjects: list[bytes], below: int, keep: int) -> None:
        below_seq = self.pick(below * 7) + below % 2 if below else 0
        mine = self.oldest_first(subjects)
        mine = mine[: len(mine) - keep] if keep < len(mine) else [] if keep else mine
        gone = [seq for seq in mine if not below_seq or seq < below_seq]
        assert self.store.purge_messages(subjects, below_seq, keep) == len(gone)
        for seq in gone:
            self.drop(seq)
        if not subjects and not self.live and not keep and below_seq > self.last_seq + 1:
            self.last_seq = below_seq - 1

    def ends(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(time, seq) at which live messages end by age, and those that end on their own; soonest first."""
        age_ns = self.limits[3]
        aged = [(m.ts_ns + age_ns, seq) for seq, m in sorted(self.live.items()) if age_ns and m.expires_ns != NEVER]
        own = [(m.expires_ns, seq) for seq, m in self.live.items() if m.expires_ns > 0]
        return aged, sorted(own)

    def expire(self, past_ms: int, budget: int) -> None:
        now_ns = START_NS + past_ms * NS_PER_MS
        before = len(self.live)
        heard = len(self.owner.told)
        due_ns = self.store.expire_messages(now_ns, budget)
        assert len([event for event in self.owner.told[heard:] if event[0] == "removed"]) <= budget
        calls = 0
        while due_ns == now_ns:
            due_ns = self.store.expire_messages(now_ns, budget + 1)
            calls += 1
            assert calls <= 4 * (before + self.last_seq) + 4, "expiry never ends"
        aged, own = self.ends()
        for ends_ns, seq in aged + own:
            if ends_ns <= now_ns and seq in self.live:
                self.drop(seq)
        aged, own = self.ends()
        assert due_ns == min((ends_ns for ends_ns, _ in aged + own), default=0)

    def apply(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("append", subject, hdr, body):
                self.append(subject, hdr, body)
            case ("burst", subject, count, length):
                start = SUBJECTS.index(subject)
                for i in range(count):
                    self.append(SUBJECTS[(start + i % 3) % len(SUBJECTS)], b"", b"%d" % i * (length // 4))
            case ("ending", subject, count, ms):
                for i in range(count):
                    ends_ns = START_NS + (ms * (i * 7 % 11)) * NS_PER_MS + 1
                    self.append(subject, b"", b"%d" % i, NEVER if ms < 0 else ends_ns)
            case ("skip", count):
                for _ in range(count):
                    self.last_seq += 1
                    assert self.store.skip_message() == self.last_seq
            case ("skip_through", count):
                self.last_seq += count
                self.store.skip_messages(self.last_seq)
            case ("remove", n, secure):
                self.remove(self.pick(n) if n % 5 else n, secure)
            case ("thin", keep):
                for i, seq in enumerate(sorted(self.live)):
                    if i % 10 >= keep:
                        self.remove(seq, i % 3 == 0)
            case ("purge", subjects, below, keep):
                self.purge(subjects, below, keep)
            case ("limits", messages_max, bytes_max, per_subject_max, age):
                self.limits = (messages_max, bytes_max, per_subject_max, age * 100 * NS_PER_MS)
                self.store.configure(*self.limits)
                self.told.append(("limits",))
                self.enforce(SUBJECTS)
            case ("expire", past_ms, budget):
                self.expire(past_ms, budget)
            case ("restart_at", n):
                if not self.live:
                    self.last_seq += n
                    self.store.start_at(self.last_seq + 1)
            case ("commit",):
                self.store.commit()

    # --- the comparison ---

    def check_state(self) -> None:
        state = self.store.state_dict()
        seqs = sorted(self.live)
        first = seqs[0] if seqs else self.last_seq + 1
        assert self.store.check() == []
        assert state["messages"] == len(seqs)
        assert state["bytes"] == sum(m.size for m in self.live.values())
        assert (state["first_seq"], state["last_seq"]) == (first, self.last_seq)
        assert state["first_ts_ns"] == (self.live[first].ts_ns if seqs else 0)
        assert state["last_ts_ns"] in (0, self.ts_ns)
        assert state["num_subjects"] == len({m.subject for m in self.live.values()})
        assert state["num_deleted"] == (self.last_seq - first + 1 - len(seqs) if seqs else 0)

    def check_told(self) -> None:
        """Removals in order; what one change of limits removed per subject comes in any order of subjects."""
        heard = [event for event in self.owner.told if event[0] == "removed"]
        expected = [event for event in self.told if event[0] == "removed"]
        assert sorted(heard) == sorted(expected)
        if ("limits",) not in self.told:
            assert heard == expected

    def check_messages(self) -> None:
        for seq, m in self.live.items():
            found = self.store.load_message(seq)
            assert found == {"seq": seq, "ts_ns": m.ts_ns, "subject": m.subject, "hdr": m.hdr, "body": m.body}
        for seq in range(1, min(self.last_seq + 3, 500)):
            assert self.store.has(seq) == (seq in self.live)
            if seq not in self.live:
                assert self.store.load_message(seq) is None

    def lasts(self, seqs: list[int]) -> list[int]:
        return list({self.live[seq].subject: seq for seq in seqs}.values())

    def check_lasts(self, subjects: list[bytes], as_of: int, expected: list[int]) -> None:
        """Step by step, three messages at a time."""
        found, counted, first, at, part = [], 0, 0, 1, 1
        while at:
            seq, at = self.store.search_last_message(at, as_of, subjects, 3)
            if seq:
                found.append(seq)
                at = seq + 1
        while part:
            n, first_here, part = self.store.lasts_in_part(part, as_of, subjects, 3)
            counted, first = counted + n, first or first_here
        assert (found, counted, first) == (expected, len(expected), min(expected, default=0))
        for seq in expected:
            subject = self.live[seq].subject
            earlier = [other for other in self.live if other < seq and self.live[other].subject == subject]
            assert self.store.was_last(seq, subject, as_of)
            assert self.store.message_before(seq, subject) == max(earlier, default=0)
            assert not any(self.store.was_last(other, subject, as_of) for other in earlier)

    def check_queries(self) -> None:
        for subjects in FILTERS:
            mine = self.oldest_first(subjects)
            for at in {0, self.pick(3), self.pick(50) + 1, self.last_seq}:
                up = [seq for seq in mine if seq >= at]
                down = [seq for seq in mine if not at or seq <= at]
                assert self.store.next_message(at, subjects) == (up[0] if up else 0)
                assert self.store.count_messages(at, subjects) == len(up)
                assert self.store.last_message(subjects, at) == (down[-1] if down else 0)
                last = {self.live[seq].subject: seq for seq in down}
                assert last_of_each(self.store, subjects, at) == sorted(last.values())
                if len(last) > 1:
                    assert last_of_each(self.store, subjects, at, len(last) - 1) is None
                self.check_lasts(subjects, at or self.last_seq, sorted(last.values()))
            assert self.store.lasts_now(subjects) == (len(last_now := self.lasts(mine)), min(last_now, default=0))
        for subject in SUBJECTS:
            mine = self.oldest_first([subject])
            assert self.store.last_of(subject) == (mine[-1] if mine else 0)
            assert self.store.count_of(subject) == len(mine)
        for n in (0, 40, 41, 300):
            ts_ns = START_NS + n * 700_001
            late = [seq for seq in sorted(self.live) if self.live[seq].ts_ns >= ts_ns]
            assert self.store.at_time(ts_ns) == (late[0] if late else self.last_seq + 1)
