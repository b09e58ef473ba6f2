"""Subjects that hold one message each, which may end on its own: locks, and last values with a TTL.

    locks   max_msgs_per_subject 1, discard new per subject, max_age: who is first has it, until it is released or ends
    values  max_msgs_per_subject 1, the new one replaces the old one; Nats-TTL

Nobody outside knows to the millisecond when a message was stored: after it was sent, before it was acknowledged. What
is missing must have had time enough to end; what is there though its time is over is waited for. One operation of a
subject is under way at a time.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from ..crash.model import SUBJECT_FULL, Violation
from .link import SCARCE, Link, frame
from .ordered import asked, body, common, same_config
from .read import Found, find

SECOND_NS: Final = 10**9
ENDED_S: Final = 60.0
NEVER: Final = float("inf")


@dataclass
class Held:
    """A message. `life_s`: seconds, NEVER: until it is removed."""

    body: bytes
    life_s: float
    sent_at: float
    seq: int = 0
    acked_at: float = NEVER

    def may_have_ended(self, now: float) -> bool:
        return self.sent_at + self.life_s <= now

    def must_have_ended(self, now: float) -> bool:
        return self.acked_at + self.life_s < now


@dataclass
class Subject:
    held: Held | None = None
    wanted: Held | None = None
    """Its publish is under way."""
    removing: bool = False
    """A deletion or a purge is under way."""


class Holders:
    """The stream HOLD. `tail` begins the subjects of its answers."""

    def __init__(self, rng: Random, tail: bytes, window: int, keys: int) -> None:
        self.name, self.tail, self._rng = "HOLD", tail, rng
        self.locks = rng.random() < 0.6
        self._age_s = rng.choice((1, 5)) if self.locks else rng.choice((0, 5))
        self.config: dict[str, Any] = {
            **common("HOLD", rng), "max_msgs_per_subject": 1, "max_age": self._age_s * SECOND_NS,
            "duplicate_window": SECOND_NS,
        }  # fmt: skip
        if self.locks:
            self.config |= {"discard": "new", "discard_new_per_subject": True}
        else:
            self.config["allow_msg_ttl"] = True
        self._window = window
        self.answers = self.compared = 0
        self.scarce = False
        self._subjects = [Subject() for _ in range(keys)]
        self._free = list(range(keys))
        self._last_seq = 0

    def create(self, link: Link) -> None:
        asked(link, "STREAM.CREATE.HOLD", self.config)

    # --- load ---

    def fill(self, link: Link) -> None:
        self._rng.shuffle(self._free)
        while self._free and len(self._subjects) - len(self._free) < self._window:
            number = self._free.pop()
            subject, tail = self._subjects[number], b"%b%d" % (self.tail, number)
            chance = self._rng.random()
            if subject.held is not None and chance < 0.5:
                subject.removing = True
                if chance < 0.25:
                    asked_for = json.dumps({"filter": f"hold.{number}"}).encode()
                    link.send(frame(b"$JS.API.STREAM.PURGE.HOLD", asked_for, tail))
                else:
                    asked_for = json.dumps({"seq": subject.held.seq, "no_erase": chance < 0.4}).encode()
                    link.send(frame(b"$JS.API.STREAM.MSG.DELETE.HOLD", asked_for, tail))
                continue
            life, headers = self._age_s or NEVER, b""
            if not self.locks and self._rng.random() < 0.6:
                ttl = self._rng.choice((b"1s", b"3s", b"never"))
                life, headers = {b"1s": 1.0, b"3s": 3.0, b"never": NEVER}[ttl], b"Nats-TTL: " + ttl + b"\r\n"
            subject.wanted = Held(body(self._rng), life, time.time())
            link.send(frame(b"hold.%d" % number, subject.wanted.body, tail, headers))

    def take(self, tail: bytes, reply: bytes, headers: bytes, payload: bytes) -> None:
        number, answer = int(tail), json.loads(payload)
        subject, now = self._subjects[number], time.time()
        code = answer["error"]["err_code"] if "error" in answer else 0
        if self.scarce and SCARCE in payload:
            subject.wanted = None                  # as if it had not been asked; it is not asked again
            return
        if subject.removing:
            ended = subject.held is not None and subject.held.may_have_ended(now)
            if code and not ended:
                raise Violation(f"HOLD: a removal of {number} was answered {answer}")
            subject.held, subject.removing = None, False
        else:
            self._judged(number, subject, answer, code, now)
        self._free.append(number)
        self.answers += 1

    def _judged(self, number: int, subject: Subject, answer: dict[str, Any], code: int, now: float) -> None:
        wanted, held, subject.wanted = subject.wanted, subject.held, None
        assert wanted is not None, f"HOLD: {number} was answered twice: {answer}"
        if code:
            if code != SUBJECT_FULL or not self.locks or held is None:
                raise Violation(f"HOLD: a publish on {number} was answered {answer}; there is {held}")
            return
        if self.locks and held is not None and not held.may_have_ended(now):
            raise Violation(f"HOLD: {number} was taken twice: {answer}; there is {held}")
        if answer["seq"] <= self._last_seq:
            raise Violation(f"HOLD: sequence {answer['seq']} comes after {self._last_seq}")
        wanted.seq, wanted.acked_at = answer["seq"], now
        self._last_seq, subject.held = wanted.seq, wanted

    # --- after a crash ---

    def verify(self, link: Link, whole: bool) -> None:
        """Raises Violation, or Gone (then it is asked again)."""
        until = time.monotonic() + ENDED_S
        while True:
            began = time.time()
            found = find(link, "HOLD", still=False)
            if found is None:
                raise Violation("HOLD: the stream is gone")
            settled, overdue = self._settled(found, began, time.time())
            if not overdue:
                break
            if time.monotonic() > until:
                raise Violation(f"HOLD: {overdue[:10]} do not end")
        same_config(self.config, found.config)
        if found.last_seq < self._last_seq:
            raise Violation(f"HOLD: ends at {found.last_seq}, {self._last_seq} was answered")
        self._last_seq, self._subjects = found.last_seq, settled
        self._free = list(range(len(settled)))
        self.scarce = False
        self.compared += len(found.messages)

    def _settled(self, found: Found, began: float, now: float) -> tuple[list[Subject], list[int]]:
        """What is there now, and what should not be there any more."""
        there: dict[int, tuple[int, bytes]] = {}
        for seq, (name, content) in found.messages.items():
            number = int(name.removeprefix("hold."))
            if number in there:
                raise Violation(f"HOLD: {name} holds {there[number][0]} and {seq}")
            there[number] = seq, content
        settled, overdue = [], []
        for number, subject in enumerate(self._subjects):
            held = self._one(number, subject, there.get(number), now)
            if held is not None and held.must_have_ended(began):
                overdue.append(number)
            settled.append(Subject(held))
        return settled, overdue

    def _one(self, number: int, subject: Subject, there: tuple[int, bytes] | None, now: float) -> Held | None:
        held, wanted = subject.held, subject.wanted
        if there is None:
            gone = held is None or held.may_have_ended(now) or subject.removing
            if wanted is not None and not self.locks and wanted.may_have_ended(now):
                gone = True
            if not gone:
                raise Violation(f"HOLD: {number} is lost: {held}; under way {wanted}, {subject.removing}")
            return None
        seq, content = there
        if held is not None and (seq, content) == (held.seq, held.body):
            return held
        if wanted is None or content != wanted.body or seq <= self._last_seq:
            raise Violation(f"HOLD: {number} holds {seq} {content!r:.60}; there was {held}, under way {wanted}")
        if self.locks and held is not None and not held.may_have_ended(now):
            raise Violation(f"HOLD: {number} was taken twice: {wanted}; there was {held}")
        return Held(wanted.body, wanted.life_s, wanted.sent_at, seq, now)
