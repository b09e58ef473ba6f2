"""The oracle: what a stream holds after a list of operations, and what each of them is answered.

A connection's operations take effect in the order they were sent. So after a crash a stream must be in the
state that some prefix of the operations makes, and that prefix must hold everything that was answered:

    sent     |----------------------------------------|
    answered |-------------------------|
    state after the crash:             ^^^^^^^^^^^^^^^^ one of these

`settle` finds that prefix, or says what is wrong. Everything slow and obvious here; nothing is shared with the
server's code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Publish:
    subject: str
    payload: bytes
    msg_id: str = ""
    expected_seq: int | None = None
    """Nats-Expected-Last-Subject-Sequence."""
    rollup: str = ""
    """Nats-Rollup: "sub" or "all"."""


@dataclass(frozen=True)
class Batch:
    """An atomic one: all of it, or nothing. Answered once; no part has conditions."""

    batch_id: str
    parts: tuple[Publish, ...]


@dataclass(frozen=True)
class Delete:
    seq: int
    secure: bool = False


@dataclass(frozen=True)
class Purge:
    """Of one subject, or of everything; the newest `keep` stay, or everything from `seq` on."""

    subject: str = ""
    keep: int = 0
    seq: int = 0


Operation = Publish | Batch | Delete | Purge
Answer = tuple[str, int]
"""("ack", seq), ("duplicate", seq), ("error", err_code), ("deleted", 0), ("purged", count). A batch: ("ack", last)."""

WRONG_LAST_SEQUENCE = 10071
SUBJECT_FULL = 10077
NO_SUCH_MESSAGE = 10043


@dataclass
class Model:
    """One stream. `configuration` is the STREAM.CREATE request; only what is used here is understood."""

    configuration: dict[str, Any]
    messages: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    last_seq: int = 0
    ids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._of: dict[str, dict[int, None]] = {}
        """Sequences by subject, oldest first."""
        for seq, (subject, _) in self.messages.items():
            self._of.setdefault(subject, {})[seq] = None

    @property
    def name(self) -> str:
        return str(self.configuration["name"])

    @property
    def first_seq(self) -> int:
        """Sequences are added in order, so the first one is the oldest."""
        return next(iter(self.messages), self.last_seq + 1)

    def clone(self) -> Model:
        return Model(self.configuration, dict(self.messages), self.last_seq, dict(self.ids))

    def restarted(self) -> Model:
        """The ids of messages that are gone are forgotten."""
        self.ids = {msg_id: seq for msg_id, seq in self.ids.items() if seq in self.messages}
        return self

    def of_subject(self, subject: str) -> list[int]:
        """Sequences with that subject, oldest first."""
        return list(self._of.get(subject, ()))

    def last_of(self, subject: str) -> int:
        """0: there is none."""
        return next(reversed(self._of.get(subject, {})), 0)

    def apply(self, operation: Operation) -> Answer:
        if isinstance(operation, Publish):
            return self._publish(operation)
        if isinstance(operation, Batch):
            return [self._publish(part) for part in operation.parts][-1]
        if isinstance(operation, Delete):
            if operation.seq not in self.messages:
                return ("error", NO_SUCH_MESSAGE)
            self._remove(operation.seq)
            return ("deleted", 0)
        return self._purge(operation)

    def _remove(self, seq: int) -> None:
        subject, _ = self.messages.pop(seq)
        there = self._of[subject]
        del there[seq]
        if not there:
            del self._of[subject]

    def _publish(self, operation: Publish) -> Answer:
        limit = self.configuration.get("max_msgs_per_subject", -1)
        there = self._of.get(operation.subject, {})
        if operation.msg_id in self.ids:
            return ("duplicate", self.ids[operation.msg_id])
        if operation.expected_seq is not None and operation.expected_seq != self.last_of(operation.subject):
            return ("error", WRONG_LAST_SEQUENCE)
        if 0 < limit <= len(there) and self.configuration.get("discard_new_per_subject"):
            return ("error", SUBJECT_FULL)
        self.last_seq += 1
        self.messages[self.last_seq] = (operation.subject, operation.payload)
        there = self._of.setdefault(operation.subject, {})
        there[self.last_seq] = None
        if operation.msg_id:
            self.ids[operation.msg_id] = self.last_seq
        if 0 < limit < len(there):
            self._remove(next(iter(there)))
        most = self.configuration.get("max_msgs", -1)
        if 0 < most < len(self.messages):
            self._remove(self.first_seq)
        if operation.rollup:
            for seq in list(there if operation.rollup == "sub" else self.messages)[:-1]:
                self._remove(seq)
        return ("ack", self.last_seq)

    def _purge(self, operation: Purge) -> Answer:
        found = self.of_subject(operation.subject) if operation.subject else list(self.messages)
        if operation.keep:
            found = found[: max(0, len(found) - operation.keep)]
        elif operation.seq:
            found = [seq for seq in found if seq < operation.seq]
        for seq in found:
            self._remove(seq)
        return ("purged", len(found))


@dataclass
class Recovered:
    """What a restarted server says that a stream holds."""

    messages: dict[int, tuple[str, bytes]]
    first_seq: int
    last_seq: int


class Violation(AssertionError):
    """A promise was broken; the text names the stream and the messages."""


def settle(
    before: Model, operations: list[Operation], answered: int, after: Recovered, *, since: int = 1, count: int = -1
) -> Model:
    """The model in the state of the recovered stream. `answered`: how many operations must be in it.

    since: only messages from this sequence on were read, and the stream says that it holds `count`.

    A message id outlives a crash as long as its message does: it is found again in the messages.
    Raises Violation with the difference to the state that everything answered makes.
    """
    state = before.clone()
    for operation in operations[:answered]:
        state.apply(operation)
    least = state.clone()
    if _same(state, after, since, count):
        return state.restarted()
    for operation in operations[answered:]:
        if isinstance(operation, Batch) and 0 < after.last_seq - state.last_seq < len(operation.parts):
            cut_short = state.clone()                  # taken back, but for the sequences: these are never issued again
            cut_short.last_seq = after.last_seq
            if _same(cut_short, after, since, count):
                return cut_short.restarted()
        state.apply(operation)
        if _same(state, after, since, count):
            return state.restarted()
    raise Violation(_difference(least, operations[answered:], after))


def settle_torn(before: Model, operations: list[Operation], answered: int, after: Recovered) -> None:
    """For a cut that tore the last write: of what was in flight any part may be there.

    Everything answered is there unless something in flight removed it, nothing that an answer removed is back, what
    is more was in flight exactly as it is, and the stream keeps its limits. Raises Violation.
    """
    state = before.clone()
    for operation in operations[:answered]:
        state.apply(operation)
    certain, removable, new = dict(state.messages), set[int](), dict[int, tuple[str, bytes]]()
    least = state.last_seq
    for operation in operations[answered:]:
        there = set(state.messages)
        state.apply(operation)
        removable |= there - set(state.messages)
        new.update({seq: state.messages[seq] for seq in set(state.messages) - there})
    name, found = before.name, after.messages
    missing = [seq for seq in certain if seq not in found and seq not in removable]
    changed = [seq for seq, message in found.items() if message != certain.get(seq, new.get(seq, message))]
    strange = [seq for seq in found if seq not in certain and seq not in new]
    if missing or changed or strange or not least <= after.last_seq <= state.last_seq:
        raise Violation(
            f"{name}: torn write. Answered up to {least}, in flight up to {state.last_seq}, found up to "
            f"{after.last_seq}.\n  missing {missing[:20]}\n  changed {changed[:20]}\n  came back {strange[:20]}"
        )
    limit = before.configuration.get("max_msgs_per_subject", -1)
    subjects = [subject for subject, _ in found.values()]
    crowded = sorted({subject for subject in subjects if limit > 0 and subjects.count(subject) > limit})
    if crowded:
        raise Violation(f"{name}: max_msgs_per_subject {limit} is exceeded after a torn write by {crowded[:10]}")


def _same(state: Model, after: Recovered, since: int, count: int) -> bool:
    if state.last_seq != after.last_seq or (count >= 0 and len(state.messages) != count):
        return False
    there = state.messages
    if since > 1:
        there = {seq: message for seq, message in there.items() if seq >= since}
    if there != after.messages:
        return False
    # A stream that never held a message begins at 0.
    return after.first_seq in ((0, 1) if after.last_seq == 0 else (state.first_seq,))


def _difference(least: Model, in_flight: list[Operation], after: Recovered) -> str:
    missing = [seq for seq in least.messages if seq not in after.messages]
    strange = [seq for seq in after.messages if seq not in least.messages and seq <= least.last_seq]
    changed = [seq for seq in least.messages if after.messages.get(seq, least.messages[seq]) != least.messages[seq]]
    waiting = [str(operation)[:80] for operation in in_flight[:5]]
    return (
        f"{least.name}: no prefix of the operations explains the recovered stream. Everything answered makes "
        f"{least.first_seq}..{least.last_seq} with {len(least.messages)} messages; found {after.first_seq}.."
        f"{after.last_seq} with {len(after.messages)}.\n  missing {missing[:20]}\n  came back {strange[:20]}\n"
        f"  changed {changed[:20]}\n  {len(in_flight)} operations were in flight: {waiting}"
    )
