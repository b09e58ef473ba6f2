"""A stream with consumers whose acknowledgements are confirmed: a work queue, one with interest, or one with limits.

After a crash: what was acknowledged to publishers is there, but for what consumers have settled; what a consumer was
given is there (or settled); what was confirmed to a consumer never comes again; and a consumer counts what it owes.
At the end of a life everything that was not settled comes, and nothing else.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from ..crash.model import Violation
from .link import SCARCE, Link, frame
from .ordered import asked, body, common, same_config
from .read import Found, find

BATCH: Final = 48
PULL_NS: Final = 150_000_000
BACKLOG: Final = 600
LIMIT: Final = 800
"""max_msgs of the one with limits."""
DRAIN_ROUNDS: Final = 200


class Reader:
    """One pull consumer. `given`: what it got, by sequence; `acked`: what it acknowledged; `sure`: confirmed."""

    def __init__(self, name: str, ack_wait_ns: int) -> None:
        self.name = name
        self.config = {
            "durable_name": name, "name": name, "ack_policy": "explicit", "deliver_policy": "all",
            "ack_wait": ack_wait_ns, "max_ack_pending": 20_000,
        }  # fmt: skip
        self.given: dict[int, bytes] = {}
        self.acked: set[int] = set()
        self.sure: set[int] = set()
        self.asked_for: dict[int, int] = {}
        """Confirmation -> sequence."""
        self.left = 0
        self.pulls = 0


class Queue:
    """The stream WORK. `tail` begins the subjects of its answers."""

    def __init__(self, rng: Random, tail: bytes, window: int) -> None:
        self.name, self.tail, self._rng, self._window = "WORK", tail, rng, window
        self.retention = rng.choice(("workqueue", "workqueue", "interest", "limits"))
        self.config: dict[str, Any] = {**common("WORK", rng), "retention": self.retention}
        if self.retention == "limits":
            self.config["max_msgs"] = LIMIT
        wait_ns = rng.choice((200_000_000, 2_000_000_000))
        self.readers = [Reader(name, wait_ns) for name in ("C", "D")[: 2 if self.retention == "interest" else 1]]
        self.answers = self.compared = 0
        self.published: dict[int, tuple[str, bytes]] = {}
        self.doubtful: set[int] = set()
        """Evicted by publishes that a crash undid: they are there again, and consumers may have heard it."""
        self.draining = self.scarce = self._refused = False
        self._sent = self._acked = 0               # sequences
        self._confirmations = 0

    def create(self, link: Link) -> None:
        asked(link, "STREAM.CREATE.WORK", self.config)
        for reader in self.readers:
            asked(link, f"CONSUMER.CREATE.WORK.{reader.name}", {"stream_name": "WORK", "config": reader.config})

    # --- load ---

    def fill(self, link: Link) -> None:
        idle = self.draining or self._refused
        while not idle and self._sent - self._acked < self._window and len(self.published) < BACKLOG + LIMIT:
            self._sent += 1
            subject, payload = f"work.{self._rng.randrange(3)}", body(self._rng)
            self.published[self._sent] = subject, payload
            link.send(frame(subject.encode(), payload, b"%bp%d" % (self.tail, self._sent)))
            if self.retention == "limits":
                self.published.pop(self._sent - LIMIT - self._window, None)
        for number, reader in enumerate(self.readers):
            if reader.left == 0:
                reader.left, reader.pulls = BATCH, reader.pulls + 1
                pull = b'{"batch":%d,"expires":%d}' % (BATCH, PULL_NS)
                subject = b"$JS.API.CONSUMER.MSG.NEXT.WORK." + reader.name.encode()
                link.publish(subject, pull, b"%bd%d.%d" % (self.tail, number, reader.pulls))
        self._link = link

    def take(self, tail: bytes, reply: bytes, headers: bytes, payload: bytes) -> None:
        kind, rest = tail[:1], tail[1:]
        if kind == b"p":
            self._published(int(rest), payload)
        elif kind == b"d":
            number, pull = rest.split(b".")
            if int(pull) == self.readers[int(number)].pulls:
                self.readers[int(number)].left = 0             # it has ended
        else:
            number, confirmation = rest.split(b".")
            if payload:
                raise Violation(f"WORK: an acknowledgement was answered {payload[:200]!r}")
            reader = self.readers[int(number)]
            reader.sure.add(reader.asked_for.pop(int(confirmation)))
            self.answers += 1

    def _published(self, seq: int, payload: bytes) -> None:
        if self.scarce and SCARCE in payload:
            self._refused = True                   # as all that follow
            return
        if payload != b'{"stream":"WORK","seq":%d}' % seq and json.loads(payload).get("seq") != seq:
            raise Violation(f"WORK: message {seq} was answered {payload[:200]!r}")
        if seq != self._acked + 1:
            raise Violation(f"WORK: message {seq} is answered after {self._acked}")
        self._acked = seq
        self.answers += 1

    def given(self, reply: bytes, payload: bytes) -> None:
        """A message comes under its own subject; `reply` says whose it is."""
        words = reply.split(b".")
        number, seq = (b"C", b"D").index(words[3]), int(words[5])
        reader = self.readers[number]
        reader.left = max(0, reader.left - 1)
        if seq in reader.sure:
            raise Violation(f"WORK: {reader.name} gets {seq} again although its acknowledgement was confirmed")
        known = reader.given.get(seq)
        if known is None:
            known = self.published[seq][1] if seq in self.published else payload if self.retention == "limits" else None
            reader.given[seq] = payload
        if known != payload:
            raise Violation(f"WORK: {reader.name} gets {seq} with another content than it has")
        chance = 0.0 if self.draining else self._rng.random()
        if chance < 0.85:
            reader.acked.add(seq)
            self._confirmations += 1
            reader.asked_for[self._confirmations] = seq
            kind = b"+ACK" if chance < 0.8 else b"+TERM"
            self._link.publish(reply, kind, b"%ba%d.%d" % (self.tail, number, self._confirmations))
        elif chance < 0.92:
            self._link.publish(reply, b"-NAK")

    # --- after a crash ---

    def verify(self, link: Link, whole: bool) -> None:
        """Raises Violation, or Gone (then it is asked again)."""
        found = find(link, "WORK")
        if found is None:
            raise Violation("WORK: the stream is gone")
        same_config(self.config, found.config)
        if not self._acked <= found.last_seq <= self._sent:
            raise Violation(f"WORK: ends at {found.last_seq}; answered were {self._acked}, sent {self._sent}")
        self._compare(found)
        for reader in self.readers:
            self._verify_reader(link, reader, found)
        self.compared += len(found.messages)
        self.published = dict(found.messages)
        if self.retention == "limits":
            self.doubtful |= {seq for seq in found.messages if seq <= self._sent - LIMIT}
        self._sent = self._acked = found.last_seq
        self.scarce = self._refused = False
        for reader in self.readers:
            reader.left = 0
            reader.asked_for.clear()
            for seen in (reader.given, reader.acked, reader.sure) if self.retention != "limits" else ():
                for seq in [seq for seq in seen if seq not in found.messages and seq < found.last_seq - LIMIT]:
                    seen.pop(seq) if isinstance(seen, dict) else seen.discard(seq)

    def settled(self) -> tuple[set[int], set[int]]:
        """What no consumer needs any more: for certain, and perhaps."""
        if self.retention == "limits":
            return set(), set()
        sure, perhaps = (set.intersection(*sets) for sets in (
            [reader.sure for reader in self.readers], [reader.acked for reader in self.readers]
        ))  # fmt: skip
        return sure, perhaps

    def _compare(self, found: Found) -> None:
        sure, perhaps = self.settled()
        for seq, message in found.messages.items():
            if self.published.get(seq) != message:
                raise Violation(f"WORK: message {seq} is {message!r:.80}, was {self.published.get(seq)!r:.80}")
            if seq in sure:
                raise Violation(f"WORK: message {seq} is there, and all have acknowledged it")
        least = found.last_seq - LIMIT + 1 if self.retention == "limits" else 1
        lost = [
            seq for seq in self.published
            if least <= seq <= found.last_seq and seq not in found.messages and seq not in perhaps
        ]  # fmt: skip
        if lost:
            raise Violation(f"WORK: {lost[:20]} are lost; it has {found.first_seq}..{found.last_seq}")

    def _verify_reader(self, link: Link, reader: Reader, found: Found) -> None:
        last = max(reader.given, default=0)
        if last > found.last_seq:
            raise Violation(f"WORK: {reader.name} was given {last}, and the stream ends at {found.last_seq}")
        info = asked(link, f"CONSUMER.INFO.WORK.{reader.name}")
        owed = info["num_pending"] + info["num_ack_pending"]
        there = set(found.messages)
        if self.retention != "limits" and not len(there - reader.acked) <= owed <= len(there - reader.sure):
            raise Violation(
                f"WORK: {reader.name} owes {owed} messages, and {len(there - reader.sure)} are there that it did not "
                f"confirm, {len(there - reader.acked)} that were not acknowledged"
            )

    def drain(self, link: Link) -> None:
        """Everything that was not acknowledged comes again, until nothing is left."""
        self.draining = True
        for _ in range(DRAIN_ROUNDS):
            self.fill(link)
            link.until(lambda: all(reader.left == 0 for reader in self.readers))
            link.until(lambda: not any(reader.asked_for for reader in self.readers))
            infos = [asked(link, f"CONSUMER.INFO.WORK.{reader.name}") for reader in self.readers]
            if all((info["num_pending"], info["num_ack_pending"]) == (0, 0) for info in infos):
                break
        else:
            raise Violation(f"WORK: does not get empty: {infos}")
        there = find(link, "WORK")
        if there is None or (self.retention != "limits" and there.messages):
            raise Violation(f"WORK: everything was acknowledged, and there is {there and list(there.messages)[:20]}")
        for reader in self.readers:
            missing = (set(self.published) & set(there.messages)) - reader.acked - self.doubtful
            if missing:
                raise Violation(f"WORK: {reader.name} never got {sorted(missing)[:20]}")
