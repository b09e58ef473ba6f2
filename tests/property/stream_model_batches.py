"""Batches in plain words: what `stream_model` does with publishes that belong together (ADR-50)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stream_model_rules import INVALID, Answer, Publish, Refused, ttl_of

if TYPE_CHECKING:
    from stream_model import Stream

IDLE_NS = 10 * 10**9
BATCHES_MAX = 50
MESSAGES_MAX = 1000
ID_BYTES_MAX = 64
SHARED_PER_ACK = 500


@dataclass
class Atomic:
    messages: list[Publish] = field(default_factory=list)
    active_ns: int = 0


class AtomicBatches:
    """All of a batch is judged when it commits, and stored as a whole or not at all."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.under_way: dict[str, Atomic] = {}

    def forget_idle(self) -> None:
        now_ns = self.stream.now_ns
        self.under_way = {name: one for name, one in self.under_way.items() if one.active_ns + IDLE_NS > now_ns}

    def take(self, publish: Publish) -> list[Answer]:
        name, number, commit = (publish.header(f"Nats-Batch-{key}") for key in ("Id", "Sequence", "Commit"))
        self.stream.check_size(publish)
        if not self.stream.allows("allow_atomic"):
            raise Refused(10174)
        if len(name) > ID_BYTES_MAX:
            raise Refused(10179)
        if re.fullmatch("[0-9]+", number) is None:
            raise Refused(10175)
        try:
            self._join(name, int(number), commit, publish.has("Nats-Batch-Commit"))
        except Refused:
            self.under_way.pop(name, None)
            raise
        batch = self.under_way[name]
        if commit != "eob":
            batch.messages.append(publish)
        batch.active_ns = self.stream.now_ns
        if not commit:
            return [{}]
        return [self._commit(name, self.under_way.pop(name).messages, commit == "eob")]

    def _join(self, name: str, number: int, commit: str, commits: bool) -> None:
        """May this be the next message of its batch?"""
        if name not in self.under_way:
            if number != 1:
                raise Refused(10176)
            if len(self.under_way) >= BATCHES_MAX:
                raise Refused(10210)
            self.under_way[name] = Atomic()
        if commits and commit not in ("1", "eob"):
            raise Refused(10200)
        if number != len(self.under_way[name].messages) + 1 or (number == 1 and commit == "eob"):
            raise Refused(10176)

    def _commit(self, name: str, messages: list[Publish], marked_by_us: bool) -> Answer:
        staging = Staging(self.stream)
        judged = [staging.judged(publish) for publish in messages]
        if marked_by_us:
            last = judged[-1]
            judged[-1] = Publish(last.subject, (*last.headers, ("Nats-Batch-Commit", "1")), last.body)
        for publish in judged:
            seq = self.stream.store(publish)
        return {"seq": seq, "batch": name, "count": len(judged)}


class Staging:
    """Judges messages one after the other as if those before were stored. The order of the checks is that of
    batches, which is another one than that of single publishes."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.before: list[Publish] = []
        self.expected: dict[str, int] = {}

    def judged(self, publish: Publish, msg_id_known: bool = True) -> Publish:
        stream = self.stream
        if publish.header("Nats-Expected-Last-Msg-Id") and msg_id_known:
            raise Refused(10177, "atomic publish unsupported header used: Nats-Expected-Last-Msg-Id")
        stream.check_increment(publish)
        stream.check_expected_stream(publish)
        self._check_ttl(publish)
        self._check_duplicate(publish)
        if stream.allows("allow_msg_counter"):
            increment = stream.increment(publish)
            totals = [int(other.body[8:-2]) for other in self.before if other.subject == publish.subject]
            publish = stream.counted(publish, increment + (totals[-1] if totals else stream.total(publish.subject)))
        self._check_expected_sequences(publish)
        self._check_rollup(publish)
        self.before.append(publish)
        if stream.discards_new:
            self._check_room(publish)
        return publish

    def _check_ttl(self, publish: Publish) -> None:
        ttl = ttl_of(publish.header("Nats-TTL"))
        if ttl and not self.stream.allows("allow_msg_ttl"):
            raise Refused(10166)
        if ttl == INVALID:
            raise Refused(10165)

    def _check_duplicate(self, publish: Publish) -> None:
        msg_id = publish.header("Nats-Msg-Id")
        known = [other.header("Nats-Msg-Id") for other in self.before]
        if msg_id and (self.stream.stored_as(msg_id) or msg_id in known):
            raise Refused(10201)

    def _check_expected_sequences(self, publish: Publish) -> None:
        wanted, last = publish.header("Nats-Expected-Last-Sequence"), self.stream.last_seq + len(self.before)
        if wanted and int(wanted) != last:
            raise Refused(10071, f"wrong last sequence: {last}")
        if wanted and self.before:
            raise Refused(10164)
        wanted = publish.header("Nats-Expected-Last-Subject-Sequence")
        other = publish.header("Nats-Expected-Last-Subject-Sequence-Subject")
        if not wanted:
            if other:
                raise Refused(10193)
            return
        subject = other or publish.subject
        if any(earlier.subject == subject for earlier in self.before):
            raise Refused(10164)
        last = self.expected.get(subject, self.stream.last_under(subject))
        if int(wanted) != last:
            raise Refused(10071, f"wrong last sequence: {last}")
        self.expected[subject] = last

    def _check_rollup(self, publish: Publish) -> None:
        rollup = publish.header("Nats-Rollup").lower()
        if not rollup:
            return
        if not self.stream.rolls_up():
            raise Refused(10111, "rollup not permitted")
        if rollup == "sub" and any(other.subject == publish.subject for other in self.before):
            raise Refused(10111, "batch rollup sub invalid")
        if rollup == "all" and self.before:
            raise Refused(10111, "batch rollup all invalid")
        if rollup not in ("sub", "all"):
            raise Refused(10111, f'rollup value invalid: "{rollup}"')

    def _check_room(self, publish: Publish) -> None:
        """Discard new, of the batch so far (which has this message already)."""
        stream = self.stream
        if 0 < stream.limit("max_msgs") < len(stream.messages) + len(self.before):
            raise Refused(10077, "maximum messages exceeded")
        size = sum(stream.size(other.subject, other.headers, other.body) for other in self.before)
        if 0 < stream.limit("max_bytes") < stream.bytes + size:
            raise Refused(10077, "maximum bytes exceeded")
        if stream.allows("discard_new_per_subject") and not publish.header("Nats-Rollup"):
            same = [other for other in self.before if other.subject == publish.subject]
            if 0 < stream.limit("max_msgs_per_subject") < len(stream.under(publish.subject)) + len(same):
                raise Refused(10077, "maximum messages per subject exceeded")


@dataclass
class Fast:
    name: str
    gaps: bool
    per_ack_max: int
    per_ack: int
    active_ns: int
    last: int = 0
    """The last number that was seen."""
    stored: int = 0
    """Up to which number all is stored, or known to be lost."""
    told: int = 0
    """Up to which number it was acknowledged."""
    stream_seq: int = 0
    committing: bool = False
    held: bool = False
    """A message passed the batch's checks and not the stream's: nothing counts before another one is stored."""


class FastBatches:
    """Messages are stored as they come; the batch only counts them."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.under_way: dict[str, Fast] = {}

    def forget_idle(self) -> None:
        now_ns = self.stream.now_ns
        self.under_way = {name: one for name, one in self.under_way.items() if one.active_ns + IDLE_NS > now_ns}

    def take(self, publish: Publish) -> list[Answer]:
        self.stream.check_size(publish)
        if not self.stream.allows("allow_batched"):
            raise Refused(10205)
        name, flow, gap, number_text, operation = publish.place.split(".")
        number = int(number_text)
        if len(name) > ID_BYTES_MAX:
            raise Refused(10207)
        if name not in self.under_way:
            if number != 1 or operation == "4":
                raise Refused(10208)
            self._begin(name, int(flow), gap)
        batch = self.under_way[name]
        batch.active_ns = self.stream.now_ns
        if operation == "4":
            return self._ping(batch, number)
        if batch.committing:
            return []
        answers: list[Answer] = []
        if number != batch.last + 1:
            answers.append({"type": "gap", "last_seq": batch.last + 1, "seq": number})
            if not batch.gaps or number < batch.last + 1:
                return answers + self._commit(batch)
        batch.last = number
        return answers + self._next(batch, publish, gap == "ok", operation)

    def _begin(self, name: str, flow: int, gap: str) -> None:
        most = min(flow or 10, 0xFFFF)
        alone = not self.under_way
        self.under_way[name] = Fast(name, gap == "ok", most, min(SHARED_PER_ACK, most) if alone else 1, 0)

    def _next(self, batch: Fast, publish: Publish, gaps: bool, operation: str) -> list[Answer]:
        if operation == "3":
            batch.last -= 1
            batch.stored = batch.last
            return self._commit(batch)
        batch.committing = operation == "2"
        answers: list[Answer] = []
        if operation == "0":
            answers.append({"type": "ack", "seq": 0, "msgs": batch.per_ack})
        try:
            judged = Staging(self.stream).judged(publish, msg_id_known=False)
        except Refused as refused:
            return answers + self._refused(batch, publish, gaps, refused)
        expected = publish.header("Nats-Expected-Last-Msg-Id")
        if expected and expected != self.stream.last_msg_id:
            batch.held = True
            return [*answers, Refused(10070, f"wrong last msg ID: {self.stream.last_msg_id}").answer]
        batch.stream_seq = self.stream.store(judged)
        batch.stored, batch.held = batch.last, False
        return answers + (self._commit(batch) if batch.committing else self._tell(batch))

    def _refused(self, batch: Fast, publish: Publish, gaps: bool, refused: Refused) -> list[Answer]:
        """A message that is there already counts as stored. Any other error ends a batch that wants no gaps."""
        answers: list[Answer] = []
        duplicate_of = self.stream.stored_as(publish.header("Nats-Msg-Id")) if refused.answer["refused"] == 10201 else 0
        if duplicate_of:
            batch.stored = batch.stored if batch.held else batch.last
            answers += self._tell(batch)
            if not batch.committing:
                return answers
        if not gaps and batch.last == 1:
            del self.under_way[batch.name]
            if duplicate_of:
                return [*answers, {"seq": duplicate_of, "duplicate": True, "batch": batch.name, "count": 1}]
            return [*answers, refused.answer]
        if not duplicate_of:
            answers.append({"type": "err", "seq": batch.last, **refused.answer})
            if gaps and not batch.committing:
                return answers
            batch.last -= 1
            batch.stored = batch.last
        return answers + self._commit(batch)

    def _ping(self, batch: Fast, number: int) -> list[Answer]:
        answers: list[Answer] = []
        if number > batch.last:
            answers.append({"type": "gap", "last_seq": batch.last + 1, "seq": number + 1})
            if not batch.gaps:
                answers += self._commit(batch)
                if batch.name not in self.under_way:
                    return answers
            else:
                batch.last = number
                batch.stored = batch.stored if batch.held else number
                told = self._tell(batch)
                if told:
                    return answers + told
        return [*answers, {"type": "ack", "seq": batch.told, "msgs": batch.per_ack}]

    def _commit(self, batch: Fast) -> list[Answer]:
        batch.committing = True
        if batch.held or batch.last != batch.stored:
            return []
        del self.under_way[batch.name]
        return [{"seq": batch.stream_seq, "batch": batch.name, "count": batch.last}]

    def _tell(self, batch: Fast) -> list[Answer]:
        """Every `per_ack` messages; how many that is follows how many batches there are."""
        if batch.stored < batch.told + batch.per_ack:
            return []
        batch.told += (batch.stored - batch.told) // batch.per_ack * batch.per_ack
        most = min(max(SHARED_PER_ACK // len(self.under_way), 1), batch.per_ack_max)
        if batch.per_ack < most:
            batch.per_ack = min(2 * batch.per_ack, most)
        elif batch.per_ack > most:
            batch.per_ack = max(batch.per_ack // 2, most)
        return [{"type": "ack", "seq": batch.told, "msgs": batch.per_ack}]
