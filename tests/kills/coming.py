"""Streams that come and go: made, filled, changed, backed up, deleted, restored. One step of a name at a time.

After a crash each name is as it was before the step that was under way, or behind it; of messages that were under way,
the first ones are there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from ..crash.model import Violation
from .link import SCARCE, Link, frame
from .ordered import asked, body
from .read import find

MESSAGES_MAX: Final = 30
CHUNK_BYTES: Final = 8 * 1024
CONSUMER: Final = {"durable_name": "C", "name": "C", "ack_policy": "explicit"}


@dataclass
class State:
    """A stream. `messages`: sequence -> body."""

    life: str
    messages: dict[int, bytes] = field(default_factory=dict)
    consumer: bool = False

    def copy(self) -> State:
        return State(self.life, dict(self.messages), self.consumer)


@dataclass
class Name:
    """`verb`: what is under way; `then`: what there is behind it (None: nothing)."""

    name: str
    lives: int = 0
    now: State | None = None
    verb: str = ""
    then: State | None = None
    left: int = 0
    answered: int = 0
    kept: State | None = None
    archive: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    sink: bytes = b""

    @property
    def subject(self) -> bytes:
        return self.name.lower().encode()


class Coming:
    """`tail` begins the subjects of its answers."""

    def __init__(self, rng: Random, tail: bytes, names: int) -> None:
        self.name, self.tail, self._rng = "COMING", tail, rng
        self._names = [Name(f"COMES{number}") for number in range(names)]
        self._compress = rng.choice(("none", "s2"))
        self.answers = self.compared = 0
        self.scarce = False

    def create(self, link: Link) -> None:
        """Nothing is there at first."""

    def under_way(self) -> list[str]:
        return [name.verb for name in self._names if name.verb]

    # --- load ---

    def fill(self, link: Link) -> None:
        self._link = link
        for number, name in enumerate(self._names):
            if not name.verb:
                self._begin(number, name, b"%b%d." % (self.tail, number))

    def _begin(self, number: int, name: Name, tail: bytes) -> None:
        now, rng, link = name.now, self._rng, self._link
        if now is None:
            name.verb = "restore" if name.kept is not None and rng.random() < 0.6 else "create"
        else:
            name.verb = rng.choice(("publish", "publish", "consume", "update", "snapshot", "delete"))
        name.then, name.left, name.answered = now.copy() if now else None, 1, 0
        api, request = f"STREAM.{name.verb.upper()}.{name.name}", None
        if name.verb == "create":
            name.lives += 1
            name.then = State(f"{name.lives}")
            request = self._config(name, name.then)
        elif name.verb == "restore":
            assert name.kept is not None
            name.then, request = name.kept.copy(), {"config": self._config(name, name.kept)}
        elif name.verb == "delete":
            name.then = None
        elif name.verb == "update":
            assert name.then is not None
            name.then.life = name.then.life.partition(" ")[0] + f" {rng.randrange(1000)}"
            request = self._config(name, name.then)
        elif name.verb == "consume":
            assert name.then is not None
            name.then.consumer = True
            api, request = f"CONSUMER.CREATE.{name.name}.C", {"stream_name": name.name, "config": CONSUMER}
        elif name.verb == "snapshot":
            name.chunks = []
            sid = b"%d" % (10 + number)
            link.send(b"UNSUB %b\r\nSUB archive.%d %b\r\n" % (sid, number, sid))
            request = {"deliver_subject": f"archive.{number}", "chunk_size": CHUNK_BYTES}
        else:
            self._publish(name, tail)
            return
        link.send(frame(f"$JS.API.{api}".encode(), json.dumps(request).encode() if request else b"", tail + b"a"))

    def _publish(self, name: Name, tail: bytes) -> None:
        assert name.then is not None
        name.left = self._rng.randrange(1, MESSAGES_MAX)
        first = max(name.then.messages, default=0) + 1
        for seq in range(first, first + name.left):
            name.then.messages[seq] = body(self._rng)
            self._link.send(frame(name.subject, name.then.messages[seq], tail + b"%d" % seq))

    def _config(self, name: Name, state: State) -> dict[str, Any]:
        return {
            "name": name.name, "subjects": [name.subject.decode()], "storage": "file", "num_replicas": 1,
            "allow_direct": True, "description": state.life, "compression": self._compress,
        }  # fmt: skip

    def archived(self, number: int, reply: bytes, headers: bytes, payload: bytes) -> None:
        """A chunk of a snapshot; the last one is empty."""
        name = self._names[number]
        if reply:
            self._link.publish(reply, b"")
        if payload:
            name.chunks.append(payload)
            return
        if name.verb != "snapshot" or headers.startswith(b"NATS/1.0 4"):
            raise Violation(f"{name.name}: the snapshot ended with {headers!r}")
        name.archive, name.kept = b"".join(name.chunks), name.now.copy() if name.now else None
        self._done(name)

    def take(self, tail: bytes, reply: bytes, headers: bytes, payload: bytes) -> None:
        number, what = tail.split(b".")
        name = self._names[int(number)]
        if self.scarce and SCARCE in payload:
            return                                 # nothing more is done with it
        if what == b"c":                           # a chunk of a restore was taken
            if payload:
                raise Violation(f"{name.name}: a chunk was answered {payload[:200]!r}")
            self._next_chunk(name, tail)
            return
        answer = json.loads(payload)
        if "error" in answer:
            raise Violation(f"{name.name}: {name.verb} was answered {answer}")
        if name.verb == "restore" and what == b"a":
            name.sink = answer["deliver_subject"].encode()
            name.chunks = [name.archive[at : at + CHUNK_BYTES] for at in range(0, len(name.archive), CHUNK_BYTES)]
            self._next_chunk(name, tail)
        elif name.verb == "publish":
            if answer["seq"] != int(what):
                raise Violation(f"{name.name}: message {int(what)} was answered {answer}")
            name.answered = int(what)
            name.left -= 1
            if not name.left:
                self._done(name)
        elif name.verb != "snapshot":
            self._done(name)

    def _next_chunk(self, name: Name, tail: bytes) -> None:
        number = tail.split(b".")[0]
        if name.chunks:
            self._link.send(frame(name.sink, name.chunks.pop(0), b"%b%b.c" % (self.tail, number)))
        else:
            self._link.send(frame(name.sink, b"", b"%b%b.end" % (self.tail, number)))

    def _done(self, name: Name) -> None:
        name.now, name.verb = name.then, ""
        self.answers += 1

    # --- after a crash ---

    def verify(self, link: Link, whole: bool) -> None:
        """Raises Violation, or Gone (then it is asked again)."""
        for name in self._names:
            found = self._found(link, name)
            for state in self._possible(name):
                if state == found:
                    break
            else:
                said = [(one and (one.life, len(one.messages), one.consumer)) for one in self._possible(name)]
                there = found and (found.life, len(found.messages), found.consumer)
                raise Violation(f"{name.name}: {there} is there; {name.verb} was under way: one of {said} should be")
            name.now, name.verb = found, ""
        self.scarce = False

    def _possible(self, name: Name) -> list[State | None]:
        if name.verb != "publish":
            return [name.now, name.then] if name.verb else [name.now]
        assert name.now is not None and name.then is not None
        new = [seq for seq in name.then.messages if seq not in name.now.messages]
        found: list[State | None] = []
        for end in range(len([seq for seq in new if seq <= name.answered]), len(new) + 1):
            state = name.now.copy()
            state.messages.update({seq: name.then.messages[seq] for seq in new[:end]})
            found.append(state)
        return found

    def _found(self, link: Link, name: Name) -> State | None:
        there = find(link, name.name)
        if there is None:
            return None
        self.compared += len(there.messages)
        state = State(there.config["description"], {seq: content for seq, (_, content) in there.messages.items()})
        state.consumer = bool(asked(link, f"STREAM.INFO.{name.name}")["state"]["consumer_count"])
        return state
