"""What one stream was asked for and what it was answered, and which states a power cut may therefore leave.

Operations of a stream are written in their order, so what an answered one depends on is on disk. Of what came after
the last one that was answered any part may be there, for a power cut tears any sectors out of a write:

- every message is there that was acknowledged, unless an operation took it away that was sent, its age did, or the
  limits had to;
- no message is there that an answered operation took away;
- what is there has the subject, headers, body and time that were sent, or assigned;
- sequences go on behind the last one that was answered;
- an atomic batch is there as a whole or not at all;
- the configuration is the last one that was answered, or a later one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stream_model import Message, Stream
from stream_model_rules import Answer, Operation, Publish, Update, agrees, block

LIMITS = (
    "max_msgs", "max_bytes", "max_msgs_per_subject", "max_msg_size", "max_age", "discard", "discard_new_per_subject",
)  # fmt: skip
NEVER = 1 << 60


class Violation(AssertionError):
    """A promise was broken."""


@dataclass
class Found:
    """A stream after a start."""

    messages: dict[int, dict[str, Any]]
    first_seq: int
    last_seq: int
    config: dict[str, Any]


@dataclass
class State:
    messages: dict[int, Message]
    last_seq: int
    config: dict[str, Any]

    @classmethod
    def of(cls, model: Stream) -> State:
        return cls(dict(model.messages), model.last_seq, model.config)


@dataclass
class Sent:
    """`at`, `answered_at`: lengths of the disk's trace; None: not answered. `operation` None: time passed."""

    operation: Operation | None
    expected: list[Answer]
    at: int
    answered_at: int | None = None
    seen_at: int = NEVER
    """A consumer has got a message of it."""

    @property
    def is_promised(self) -> bool:
        """Do its answers say that it is kept? (Flow control of fast batches does not, nor do refusals.)"""
        return any("success" in one or ("seq" in one and "type" not in one) for one in self.expected)

    @property
    def is_logged(self) -> bool:
        return self.operation is not None and not isinstance(self.operation, Update)


@dataclass
class History:
    """`states[i]`: before `sent[i]`. `model` is the state after all of them."""

    model: Stream
    sent: list[Sent] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    former: dict[int, Message] = field(default_factory=dict)
    """What there was before the start, which may have taken it out: that is certain with the first commit."""
    _delivered: int = 0
    _over: bool = False
    _certain: tuple[list[int], list[int]] | None = None

    def __post_init__(self) -> None:
        self.states.append(State.of(self.model))

    def apply(self, operation: Operation, at: int) -> Sent:
        sent = Sent(operation, self.model.apply(operation), at)
        return self._add(sent)

    def advance(self, ns: int, at: int) -> None:
        self.model.advance(ns)
        self._add(Sent(None, [], at))

    def _add(self, sent: Sent) -> Sent:
        self.sent.append(sent)
        self.states.append(State.of(self.model))
        return sent

    def take_back(self, model: Stream) -> None:
        """The last operation was refused, and has done nothing. `model`: the state before it."""
        self.sent.pop()
        self.states.pop()
        self.model = model

    def answer(self, sent: Sent, found: list[Answer], at: int, failed: bool) -> None:
        """`failed`: the disk has refused something, so this may be refused as well."""
        if failed and (not found or any("refused" in one for one in found)):
            return
        if not agrees(sent.expected, found):
            raise Violation(f"{sent.operation} was answered {found}, not {sent.expected}")
        sent.answered_at = at

    def delivered(self, seq: int, at: int) -> None:
        """A consumer has got it: who published it could have his acknowledgement."""
        if seq <= self.states[0].last_seq:
            return
        while self._delivered < len(self.sent) and self.states[self._delivered + 1].last_seq < seq:
            self._delivered += 1
        place = self._delivered
        while place and self.states[place].last_seq >= seq:
            place -= 1
        if place < len(self.sent):
            self.sent[place].seen_at = min(self.sent[place].seen_at, at)

    # --- after a cut ---

    def answered(self, cut: int, logged: bool) -> int:
        """How many operations must be in what is found: those up to the last one answered that changed something."""
        if self._certain is None or len(self._certain[0]) != len(self.sent) or not self._over:
            self._certain = self._when_certain()
        moments = self._certain[logged]
        return max((i for i, at in enumerate(moments, 1) if at <= cut), default=0)

    def over(self) -> None:
        """Nothing is sent or answered any more."""
        self._over = True

    def _when_certain(self) -> tuple[list[int], list[int]]:
        """Since when each operation is certain: of what is not in the log, of what is."""
        found: tuple[list[int], list[int]] = [], []
        for i, sent in enumerate(self.sent):
            answered = sent.answered_at if sent.is_promised and sent.answered_at is not None else NEVER
            at = min(answered, sent.seen_at) if self._changes(i) else NEVER
            for logged in (False, True):
                found[logged].append(at if sent.is_logged == logged else NEVER)
        return found

    def _changes(self, i: int) -> bool:
        before, after = self.states[i], self.states[i + 1]
        counts = before.last_seq, before.messages
        return counts != (after.last_seq, after.messages) or before.config is not after.config

    def sent_by(self, cut: int) -> int:
        return sum(sent.at <= cut for sent in self.sent)

    def check(self, found: Found, cut: int) -> None:
        """Raises Violation."""
        certain, sent = self.answered(cut, True), self.sent_by(cut)
        removed: dict[int, int] = {}
        added: dict[int, Message] = {}
        for i in range(certain, sent):
            before, after = self.states[i].messages, self.states[i + 1].messages
            added.update({seq: after[seq] for seq in after.keys() - before.keys()})
            removed.update({seq: i for seq in before.keys() - after.keys()})
            if self.sent[i].is_logged:             # what came and went within it, as a batch's first messages may
                added.update(self._passing(i))
        state = self.states[certain]
        self._check_config(found, cut, sent)
        if not state.last_seq <= found.last_seq <= self.states[sent].last_seq:
            raise Violation(f"goes on behind {found.last_seq}: answered up to {state.last_seq}, sent up to "
                            f"{self.states[sent].last_seq}")  # fmt: skip
        for seq, message in found.messages.items():
            expected = state.messages.get(seq) or added.get(seq)
            if expected is None and certain == 0:
                expected = self.former.get(seq)
            if expected is None:
                self._came_back(seq, certain, found)
            elif not same(message, expected):
                raise Violation(f"{seq} is {message}, expected {expected}")
        missing = [seq for seq in state.messages if seq not in found.messages and seq not in removed]
        if missing and not self.limits_explain(found, missing, certain, sent):
            raise Violation(
                f"{missing} are lost: answered were {certain} operations of {sent}, found {sorted(found.messages)} up "
                f"to {found.last_seq}, expected {sorted(state.messages)}"
            )
        self._check_batches(found, certain, sent, removed)

    def _passing(self, i: int) -> dict[int, Message]:
        """Messages of one operation that are gone when it ends. What they were is not known: nothing is compared."""
        before, after = self.states[i], self.states[i + 1]
        return {seq: ANY for seq in range(before.last_seq + 1, after.last_seq + 1) if seq not in after.messages}

    def _came_back(self, seq: int, certain: int, found: Found) -> None:
        if all(seq not in state.messages for state in self.states[: certain + 1]):
            raise Violation(f"{seq} was never there: {found.messages[seq]}")
        raise Violation(f"{seq} was removed, that is certain, and it is back: {found.messages[seq]}")

    def _check_config(self, found: Found, cut: int, sent: int) -> None:
        certain = self.answered(cut, False)
        possible = [{name: state.config[name] for name in LIMITS} for state in self.states[certain : sent + 1]]
        if found.config not in possible:
            raise Violation(f"its configuration is {found.config}, and should be one of {possible}")

    def limits_explain(self, found: Found, missing: list[int], certain: int, sent: int) -> bool:
        """Removals in flight that are lost leave more to be evicted than there was; so does an update that is not."""
        config = found.config
        if any(isinstance(one.operation, Update) for one in self.sent[certain:sent]) or config != {
            name: self.states[sent].config[name] for name in LIMITS
        }:
            return True
        state = self.states[certain].messages
        live, least = found.messages, min(found.messages, default=found.last_seq + 1)
        evicts = (config["max_msgs"] > 0 or config["max_bytes"] > 0) and config["discard"] == "old"
        for seq in missing:
            subject = state[seq].subject
            newer = [other for other in live if other > seq and live[other]["subject"] == subject.encode()]
            crowded = config["max_msgs_per_subject"] > 0 and len(newer) >= config["max_msgs_per_subject"]
            if not crowded and not (evicts and seq < least):
                return False
        return True

    def _check_batches(self, found: Found, certain: int, sent: int, removed: dict[int, int]) -> None:
        for i in range(certain, sent):
            operation = self.sent[i].operation
            if not isinstance(operation, Publish) or not operation.header("Nats-Batch-Commit"):
                continue
            before, after = self.states[i], self.states[i + 1]
            batch = [seq for seq in after.messages if seq > before.last_seq]
            there = [seq for seq in batch if seq in found.messages]
            gone = [seq for seq in batch if seq not in found.messages and removed.get(seq, -1) <= i]
            if there and gone and not self._limits_explain_batch(found, gone, i, sent):
                raise Violation(f"of an atomic batch {there} are there and {gone} are not")

    def _limits_explain_batch(self, found: Found, gone: list[int], i: int, sent: int) -> bool:
        return self.limits_explain(found, gone, i + 1, sent)

    # --- going on ---

    def goes_on(self, found: Found, now_ns: int) -> History:
        """The history of what was found, from here."""
        known: dict[int, Message] = {}
        for state in self.states:
            known.update(state.messages)
        model = Stream({**self.model.config, **found.config}, now_ns)
        for seq, message in found.messages.items():
            expected = known.get(seq)
            if expected is None or not same(message, expected):
                raise Unknown
            model.messages[seq] = expected
        model.last_seq = found.last_seq
        model.last_ts_ns = self.model.last_ts_ns
        model.restart()
        return History(model, former=known)


class Unknown(Exception):
    """A message is there that the model never saw between two operations."""


ANY = Message("", (), b"", 0, 0)


def same(found: dict[str, Any], expected: Message) -> bool:
    if expected is ANY:
        return True
    return (found["subject"], found["hdr"], found["body"], found["ts_ns"]) == (
        expected.subject.encode(), block(expected.headers), expected.body, expected.ts_ns,
    )  # fmt: skip

