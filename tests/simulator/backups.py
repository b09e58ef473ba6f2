"""A stream `B` that is backed up while it is written to, deleted, and restored, and what a power cut must leave of it.

- It is there when its creation, or its restore, was answered and its deletion not yet sent; it is not there when its
  deletion was answered, and nothing that brings it back was sent.
- A restored one holds every message of the snapshot as it was, or it is not there at all.
- Of what was published into it everything answered is there, and nothing that was not sent.
- A snapshot holds what was there when it was asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from millpond.store.backup.archive import ArchiveReader

from .history import Violation
from .queue import bodies
from .world import World

LATE = 1 << 60
"""Of what has not happened yet."""
CHUNK_BYTES = 2048
PATIENCE_NS = 2 * 10**9


@dataclass
class Era:
    """From one creation, or restore, of the stream to its deletion. `sent`: sequence -> (body, when, answered when)."""

    number: int
    base: dict[int, bytes]
    asked: int
    """When its creation was sent, or the last chunk of its restore."""
    there: int = LATE
    deletion_sent: int = LATE
    deleted: int = LATE
    sent: dict[int, tuple[bytes, int, int]] = field(default_factory=dict)

    def last_seq(self) -> int:
        return max((*self.base, *self.sent), default=0)


class Backups:
    """Goes around: create, publish, take a snapshot and publish meanwhile, delete, restore, publish."""

    def __init__(self, world: World, rng: Random) -> None:
        self.w, self.rng = world, rng
        self.eras: list[Era] = []
        self.over = False
        self._waits: dict[str, int] = {}
        self._publishes: dict[int, tuple[Era, int]] = {}
        self._expected: dict[int, bytes] = {}
        self._chunks: list[bytes] = []
        self._acks: list[bytes] = []
        self._began_ns = 0
        self._into = b""
        self._archive = b""
        self._given = 0
        self._next = self._create
        world.hear(b"archive", self._chunk)

    # --- what is done ---

    def act(self) -> None:
        """The next step, when what it waits for has been answered."""
        if not self.over and not self._waits and not self.w.is_full and self.rng.random() < 0.6:
            self._next()

    def _ask(self, what: str, number: int) -> None:
        self._waits[what] = number

    def _config(self, era: Era) -> dict[str, Any]:
        return {"name": "B", "subjects": ["b"], "storage": "file", "description": str(era.number)}

    def _create(self) -> None:
        self.eras.append(Era(len(self.eras), {}, self.w.now))
        self._ask("create", self.w.request("STREAM.CREATE.B", self._config(self.eras[-1])))
        self._next = self._fill

    def _fill(self) -> None:
        for _ in range(self.rng.choice((1, 3, 12))):
            self._publish()
        self._next = self._snapshot

    def _publish(self) -> None:
        era = self.eras[-1]
        seq = era.last_seq() + 1
        body = b"%d of era %d " % (seq, era.number) + b"x" * self.rng.choice((0, 0, 100, 1500))
        era.sent[seq] = body, self.w.now, LATE
        self._publishes[self.w.publish(b"b", body)] = era, seq

    def _snapshot(self) -> None:
        era = self.eras[-1]
        self._expected = {**era.base, **{seq: body for seq, (body, _, _) in era.sent.items()}}
        self._chunks = []
        self._began_ns = self.w.clock.mono_ns
        asked = {"deliver_subject": "archive", "chunk_size": CHUNK_BYTES}
        self._ask("snapshot", self.w.request("STREAM.SNAPSHOT.B", asked))
        self._waits["archive"] = -1
        for _ in range(self.rng.choice((0, 2))):
            self._publish()
        self._next = self._delete

    def _chunk(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        if body:
            self._chunks.append(body)
        if reply:
            self._acks.append(reply)
        if not body:
            self._waits.pop("archive", None)
            self._archive = b"".join(self._chunks)
            if b"204" not in hdr and hdr:
                self._fail(f"the snapshot ended with {hdr!r}")
            elif (found := contents(self._archive)) != self._expected:
                self._fail(f"the snapshot has {sorted(found)}, and should have {sorted(self._expected)}")

    def _fail(self, why: str) -> None:
        """Who is not heard of for seconds is given up."""
        self.over = True
        if not self.w.failed and self.w.clock.mono_ns - self._began_ns < PATIENCE_NS:
            raise Violation(f"B: {why}")

    def _delete(self) -> None:
        self.eras[-1].deletion_sent = self.w.now
        self._ask("delete", self.w.request("STREAM.DELETE.B"))
        self._next = self._restore

    def _restore(self) -> None:
        self.eras.append(Era(len(self.eras), dict(self._expected), LATE))
        self._ask("restore", self.w.request("STREAM.RESTORE.B", {"config": self._config(self.eras[-1])}))
        self._given, self._began_ns = 0, self.w.clock.mono_ns
        self._next = self._give

    def _give(self) -> None:
        chunk = self._archive[self._given : self._given + CHUNK_BYTES]
        self._given += len(chunk)
        if not chunk:
            self.eras[-1].asked = self.w.now
            self._next = self._fill
        self._ask("chunk" if chunk else "restored", self.w.publish(self._into, chunk))

    def listen(self) -> None:
        taken, acks, self._acks = self.w.taken, self._acks, []
        for ack in acks:
            self.w.router.publish(ack, b"")
        for number in [number for number in self._publishes if number in taken]:
            (era, seq), (answer,) = self._publishes.pop(number), taken.pop(number)
            if json.loads(answer.body) == {"stream": "B", "seq": seq}:
                body, at, _ = era.sent[seq]
                era.sent[seq] = body, at, answer.at
            else:
                self._fail(f"publish {seq} is answered {answer.body!r}")
        for what in [what for what, number in self._waits.items() if number in taken]:
            answer = taken.pop(self._waits.pop(what))[0]
            self._answered(what, json.loads(answer.body) if answer.body else {}, answer.at)

    def _answered(self, what: str, answer: dict[str, Any], at: int) -> None:
        if "error" in answer:
            self._fail(f"{what} is answered {answer}")
        elif what in ("create", "restored"):
            self.eras[-1].there = at
        elif what == "delete":
            self.eras[-1].deleted = at
        elif what == "restore":
            self._into = answer["deliver_subject"].encode()

    # --- after a cut ---

    def check(self, world: World, cut: int) -> None:
        eras = [era for era in self.eras if era.asked <= cut]
        certain = max((i for i, era in enumerate(eras) if era.there <= cut or era.deleted <= cut), default=-1)
        possible = {era.number for era in eras[max(0, certain):] if era.deleted > cut}
        absent = certain < 0 or eras[certain].deletion_sent <= cut
        stream: Any = world.engine.streams.get("B")
        if stream is None:
            if not absent:
                raise Violation(f"B: era {eras[certain].number} was answered, and is not there")
            return
        number = int(stream.config.description)
        if number not in possible:
            raise Violation(f"B: era {number} is there, and one of {sorted(possible)} should be, or none: {absent}")
        self._check_messages(next(era for era in eras if era.number == number), bodies(stream.store), cut)

    def _check_messages(self, era: Era, found: dict[int, bytes], cut: int) -> None:
        sent = {seq: body for seq, (body, at, _) in era.sent.items() if at <= cut}
        must = {seq for seq, (_, _, answered) in era.sent.items() if answered <= cut} | era.base.keys()
        possible = {**era.base, **sent}
        wrong = [seq for seq, body in found.items() if possible.get(seq) != body]
        if wrong or must - found.keys():
            lost = sorted(must - found.keys())
            raise Violation(f"B: era {era.number}: {wrong} were not published so, {lost} are lost")


def contents(archive: bytes) -> dict[int, bytes]:
    """The messages of an archive."""
    reader = ArchiveReader()
    reader.feed(archive)
    reader.end()
    found: dict[int, bytes] = {}
    if not reader.begins():
        raise Violation(f"B: the snapshot cannot be read: {reader.failure}")
    while (head := reader.next_name()) is not None:
        name, _, content = reader.next_document()
        if name == b"b":
            found[head[1]] = content
    return found
