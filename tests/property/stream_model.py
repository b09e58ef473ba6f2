"""What one stream does, in plain words: a dictionary of messages, and the rules of nats-server one after the other.

Nothing of the server's code is used here, and nothing is clever: every question is answered by looking at all
messages. `apply` takes one operation and gives what its sender is answered, in order:

    {"seq": 7}                        stored; also "duplicate", "val" (counters), "batch" and "count"
    {"refused": 10071, "why": "…"}    an error of the API; the text only where it says more than the code
    {}                                an empty message: go on (atomic batches)
    {"type": "ack", …}                flow control of fast batches

Batches are in `stream_model_batches`, which this model calls. Time is `now_ns`; only `advance` moves it.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from typing import Any

from stream_model_batches import AtomicBatches, FastBatches
from stream_model_rules import (
    INVALID,
    NEVER,
    SECOND_NS,
    START_NS,
    Answer,
    Delete,
    Duplicate,
    Headers,
    Operation,
    Publish,
    Purge,
    Refused,
    Update,
    block,
    matches,
    ttl_of,
    without,
)


@dataclass
class Message:
    subject: str
    headers: Headers
    body: bytes
    ts_ns: int
    ends_ns: int
    """0: when its stream says; NEVER: not even by max_age."""

    def is_marker(self) -> bool:
        found = Publish("", self.headers)
        return bool(found.header("Nats-Marker-Reason")) or found.header("KV-Operation") == "PURGE"


@dataclass
class Stream:
    """`config`: a STREAM.CREATE request; what is not in it has its default."""

    config: dict[str, Any]
    now_ns: int = START_NS
    messages: dict[int, Message] = field(default_factory=dict)
    last_seq: int = 0
    last_ts_ns: int = 0
    last_msg_id: str = ""
    ids: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Message id -> (sequence, when it was stored)."""

    def __post_init__(self) -> None:
        self.atomic, self.fast = AtomicBatches(self), FastBatches(self)

    def clone(self) -> Stream:
        return copy.deepcopy(self)

    # --- the configuration ---

    def limit(self, name: str) -> int:
        """-1: none."""
        return int(self.config.get(name, -1))

    def allows(self, name: str) -> bool:
        marks = self.config.get("subject_delete_marker_ttl", 0) > 0
        if marks and name in ("allow_msg_ttl", "allow_rollup_hdrs"):
            return True
        return bool(self.config.get(name, False))

    @property
    def discards_new(self) -> bool:
        return self.config.get("discard", "old") == "new"

    # --- questions ---

    @property
    def first_seq(self) -> int:
        return min(self.messages, default=self.last_seq + 1)

    def under(self, pattern: str) -> list[int]:
        """Sequences, oldest first."""
        return [seq for seq in sorted(self.messages) if not pattern or matches(pattern, self.messages[seq].subject)]

    def last_under(self, pattern: str) -> int:
        return max(self.under(pattern), default=0)

    def size(self, subject: str, headers: Headers, body: bytes) -> int:
        """What a message counts for in max_bytes."""
        if self.config["storage"] == "memory":
            return 16 + len(subject) + len(block(headers)) + len(body)
        return 22 + len(subject) + (4 + len(block(headers)) if headers else 0) + len(body) + 8

    def size_of(self, seq: int) -> int:
        message = self.messages[seq]
        return self.size(message.subject, message.headers, message.body)

    @property
    def bytes(self) -> int:
        return sum(self.size_of(seq) for seq in self.messages)

    # --- operations ---

    def shown(self) -> dict[str, int]:
        """What a stream's info says of it."""
        subjects = {message.subject for message in self.messages.values()}
        return {
            "messages": len(self.messages), "bytes": self.bytes, "first_seq": self.first_seq, "last_seq": self.last_seq,
            "num_subjects": len(subjects),
        }  # fmt: skip

    def apply(self, operation: Operation) -> list[Answer]:
        try:
            if isinstance(operation, Publish):
                answers = self._publish(operation)
                return [] if self.allows("no_ack") else answers
            if isinstance(operation, Delete):
                return [self._delete(operation.seq)]
            if isinstance(operation, Purge):
                return [self._purge(operation)]
            return [self._update(operation)]
        except Refused as refused:
            return [refused.answer]

    def _publish(self, publish: Publish) -> list[Answer]:
        try:
            if publish.place:
                return self.fast.take(publish)
            if publish.header("Nats-Batch-Id"):
                return self.atomic.take(publish)
            judged, tail = self._judged(publish)
            return [{"seq": self.store(judged), **tail}]
        except Duplicate as duplicate:
            return [{"seq": duplicate.seq, "duplicate": True}]
        except Refused as refused:
            return [refused.answer]

    def _delete(self, seq: int) -> Answer:
        if self.allows("deny_delete"):
            raise Refused(10057, "message delete not permitted")
        if seq in self.messages:
            del self.messages[seq]
            return {"success": True}
        first = self.first_seq
        if self.config["storage"] == "file" and not first <= seq <= self.last_seq:
            raise Refused(10057, "no message found" if seq < first else "stream store EOF")
        raise Refused(10043, f"sequence {seq} not found")

    def _purge(self, purge: Purge) -> Answer:
        if purge.seq and purge.keep:
            raise Refused(10003)
        if self.allows("deny_purge"):
            raise Refused(10110, "stream purge not permitted")
        chosen = self.under(purge.subject)
        if purge.keep:
            chosen = chosen[: max(0, len(chosen) - purge.keep)]
        if purge.seq:
            chosen = [seq for seq in chosen if seq < purge.seq]
        for seq in chosen:
            del self.messages[seq]
        if purge.subject in ("", ">") and not self.messages and purge.seq > self.last_seq + 1:
            self.last_seq = purge.seq - 1      # the next message has the sequence that was asked for
        return {"success": True, "purged": len(chosen)}

    def _update(self, update: Update) -> Answer:
        self.config = {**self.config, **dict(update.changes)}
        self._evict()
        most = self.limit("max_msgs_per_subject")
        for subject in sorted({message.subject for message in self.messages.values()}):
            self._shorten(subject, most)
        return {"success": True}

    # --- one publish on its own, in the order of the checks ---

    def _judged(self, publish: Publish) -> tuple[Publish, Answer]:
        self.check_size(publish)
        self.check_increment(publish)
        self.check_expected_stream(publish)
        ttl = ttl_of(publish.header("Nats-TTL"))
        if ttl not in (0, INVALID) and not self.allows("allow_msg_ttl"):
            raise Refused(10166)
        self._check_expected_sequences(publish)
        msg_id = publish.header("Nats-Msg-Id")
        if msg_id and (seq := self.stored_as(msg_id)):
            raise Duplicate(seq)
        expected = publish.header("Nats-Expected-Last-Msg-Id")
        if expected and expected != self.last_msg_id:
            raise Refused(10070, f"wrong last msg ID: {self.last_msg_id}")
        self._check_rollup(publish)
        tail: Answer = {}
        if self.allows("allow_msg_counter"):
            total = self.total(publish.subject) + self.increment(publish)
            publish, tail = self.counted(publish, total), {"val": str(total)}
        if ttl == INVALID:
            raise Refused(10165)
        if self.discards_new:
            self._check_room(self.with_raised_ttl(publish))
        return publish, tail

    def check_size(self, publish: Publish) -> None:
        most = self.limit("max_msg_size")
        if 0 <= most < len(block(publish.headers)) + len(publish.body):
            raise Refused(10054)

    def check_expected_stream(self, publish: Publish) -> None:
        expected = publish.header("Nats-Expected-Stream")
        if expected and expected != self.config["name"]:
            raise Refused(10060)

    def _check_expected_sequences(self, publish: Publish) -> None:
        wanted = publish.header("Nats-Expected-Last-Subject-Sequence")
        other = publish.header("Nats-Expected-Last-Subject-Sequence-Subject")
        if wanted:
            last = self.last_under(other or publish.subject)
            if int(wanted) != last:
                raise Refused(10071, f"wrong last sequence: {last}")
        elif other:
            raise Refused(10193)
        wanted = publish.header("Nats-Expected-Last-Sequence")
        if wanted and int(wanted) != self.last_seq:
            raise Refused(10071, f"wrong last sequence: {self.last_seq}")

    def _check_rollup(self, publish: Publish) -> None:
        rollup = publish.header("Nats-Rollup").lower()
        if rollup and not self.rolls_up():
            raise Refused(10111, "rollup not permitted")
        if rollup not in ("", "sub", "all"):
            raise Refused(10111, f'rollup value invalid: "{rollup}"')

    def rolls_up(self) -> bool:
        return self.allows("allow_rollup_hdrs") and not self.allows("deny_purge")

    def stored_as(self, msg_id: str) -> int:
        """The sequence under which a message with this id was stored within the window; 0: none."""
        seq, ts_ns = self.ids.get(msg_id, (0, 0))
        return seq if seq and ts_ns + self.config["duplicate_window"] > self.now_ns else 0

    def _check_room(self, publish: Publish) -> None:
        """Discard new. A subject at its own limit replaces its oldest message, which must give enough room."""
        same, most = self.under(publish.subject), self.limit("max_msgs_per_subject")
        size = self.size(publish.subject, publish.headers, publish.body)
        replaces = 0 < most <= len(same)
        if replaces and self.allows("discard_new_per_subject") and not publish.header("Nats-Rollup"):
            raise Refused(10077, "maximum messages per subject exceeded")
        if 0 < self.limit("max_msgs") <= len(self.messages) and not replaces:
            raise Refused(10077, "maximum messages exceeded")
        fits = self.limit("max_bytes") <= 0 or self.bytes + size <= self.limit("max_bytes")
        if not fits and not (replaces and self.size_of(same[0]) >= size):
            raise Refused(10077, "maximum bytes exceeded")

    # --- counters ---

    def check_increment(self, publish: Publish) -> None:
        """What is wrong with the header, if there is one."""
        written = publish.header("Nats-Incr")
        if not written:
            return
        if re.fullmatch(r"[+-]?[0-9]+", written) is None:
            raise Refused(10171)
        if not self.allows("allow_msg_counter"):
            raise Refused(10168)
        if publish.body:
            raise Refused(10170)
        if publish.header("Nats-Rollup") or any(
            value and name.startswith("Nats-Expected-") for name, value in publish.headers
        ):
            raise Refused(10171)

    def increment(self, publish: Publish) -> int:
        if not publish.header("Nats-Incr"):
            raise Refused(10169)
        return int(publish.header("Nats-Incr"))

    def total(self, subject: str) -> int:
        last = self.last_under(subject)
        return int(json.loads(self.messages[last].body)["val"]) if last else 0

    def counted(self, publish: Publish, total: int) -> Publish:
        """What is stored of an increment."""
        made = Publish(publish.subject, publish.headers, b'{"val":"%d"}' % total)
        self.check_size(made)
        return made

    # --- storing ---

    def with_raised_ttl(self, publish: Publish) -> Publish:
        """A message lives at least as long as the marker that would follow it."""
        least = self.config.get("subject_delete_marker_ttl", 0) // SECOND_NS
        if self.limit("max_msgs_per_subject") == 1 or not 0 < ttl_of(publish.header("Nats-TTL")) < least:
            return publish
        return Publish(
            publish.subject, (*without(publish.headers, "Nats-TTL"), ("Nats-TTL", str(least))), publish.body
        )

    def store(self, publish: Publish) -> int:
        """A message that was judged; its sequence."""
        publish = self.with_raised_ttl(publish)
        self._append(publish)
        seq = self.last_seq
        rollup = publish.header("Nats-Rollup").lower()
        if rollup and self.rolls_up():
            for other in self.under(publish.subject if rollup == "sub" else ""):
                if other != seq:
                    del self.messages[other]
        self.last_msg_id = publish.header("Nats-Msg-Id")
        if self.last_msg_id:
            self.ids[self.last_msg_id] = (seq, self.now_ns)
        return seq

    def _append(self, publish: Publish) -> None:
        ttl = ttl_of(publish.header("Nats-TTL"))
        ends_ns = NEVER if ttl == NEVER else self.now_ns + ttl * SECOND_NS if ttl else 0
        self.last_seq += 1
        self.last_ts_ns = self.now_ns
        self.messages[self.last_seq] = Message(publish.subject, publish.headers, publish.body, self.now_ns, ends_ns)
        self._shorten(publish.subject, self.limit("max_msgs_per_subject"))
        self._evict()

    def _shorten(self, subject: str, most: int) -> None:
        """A subject keeps its last ones, whatever the discard policy."""
        if most > 0:
            for seq in self.under(subject)[:-most]:
                del self.messages[seq]

    def _evict(self) -> None:
        """Discard old."""
        if self.discards_new:
            return
        while 0 < self.limit("max_msgs") < len(self.messages) or 0 < self.limit("max_bytes") < self.bytes:
            del self.messages[self.first_seq]

    # --- time ---

    def advance(self, ns: int) -> None:
        """Time passes, and the server looks at what has ended once, at the end of it."""
        self.now_ns += ns
        self._expire_aged()
        own = sorted((message.ends_ns, seq) for seq, message in self.messages.items() if message.ends_ns > 0)
        for ends_ns, seq in own:
            if ends_ns <= self.now_ns and seq in self.messages:
                self._expire(seq)
        self.atomic.forget_idle()
        self.fast.forget_idle()

    def _expire_aged(self) -> None:
        age_ns = self.config.get("max_age", 0)
        for seq, message in sorted(self.messages.items()) if age_ns else []:
            aged = message.ends_ns != NEVER and message.ts_ns + age_ns <= self.now_ns
            if aged and seq in self.messages:      # a marker may have taken the place of older ones
                self._expire(seq)

    def _expire(self, seq: int) -> None:
        """The last message of a subject leaves a marker, which is no reason for another one."""
        message, ttl_ns = self.messages[seq], self.config.get("subject_delete_marker_ttl", 0)
        if ttl_ns and self.under(message.subject) == [seq] and not message.is_marker():
            text = f"{ttl_ns // SECOND_NS}s"
            reason = (("Nats-Marker-Reason", "MaxAge"), ("Nats-TTL", text), ("Nats-Rollup", "sub"))
            self._append(Publish(message.subject, reason))
            self.last_msg_id = ""
        self.messages.pop(seq, None)

    # --- restarts ---

    def restart(self) -> None:
        """Ids are found again in the messages that are there; batches under way are forgotten."""
        self.ids.clear()
        self.last_msg_id = ""
        for seq in sorted(self.messages):
            message = self.messages[seq]
            msg_id = Publish("", message.headers).header("Nats-Msg-Id")
            if msg_id and message.ts_ns + self.config["duplicate_window"] > self.now_ns:
                self.ids[msg_id] = (seq, message.ts_ns)
                if seq == self.last_seq:
                    self.last_msg_id = msg_id
        self.atomic, self.fast = AtomicBatches(self), FastBatches(self)
