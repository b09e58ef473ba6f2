"""Stores of every kind, made by the real code, and what is true about them.

`made` leaves two directories: `early`, a copy from the middle of the life of its streams, and `late`. The late one was
stopped in order, or is what a kill at a quiet moment leaves.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .rooms import Rooms

Message = tuple[int, bytes, bytes, bytes]
"""Time, subject, header block, payload."""

CONFIGS: dict[str, dict[str, Any]] = {
    "PLAIN": {},
    "PACKED": {"compression": "s2"},
    "KEYS": {"max_msgs_per_subject": 2},
    "WORK": {"retention": "workqueue"},
    "BATCHES": {"allow_atomic": True},
    "SMALL": {},
}
CONSUMERS = {"PLAIN": 3, "KEYS": 1, "WORK": 1, "SMALL": 1}

@dataclass
class Truth:
    """One stream. `ever`: every message that it had at some time; `live`: those it has."""

    config: dict[str, Any]
    ever: dict[int, Message] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)
    last_seq: int = 0
    consumers: dict[str, dict[str, Any]] = field(default_factory=dict)
    erased: set[int] = field(default_factory=set)


def contents(store: Any) -> dict[int, Message]:
    """Every message that can be read."""
    found: dict[int, Message] = {}
    seq = store.next_message(0)
    while seq:
        message = store.load_message(seq)
        if message is not None:
            found[seq] = message["ts_ns"], message["subject"], message["hdr"], message["body"]
        seq = store.next_message(seq + 1)
    return found


def consumers(stream: Any) -> dict[str, dict[str, Any]]:
    """What a consumer has delivered and what was acknowledged, by name."""
    states = {name: consumer.state for name, consumer in stream.consumers.items()}
    return {name: {**state.info(), "pending": state.pending()} for name, state in states.items()}


class Maker:
    """Fills the streams of a directory. `scale`: 1 makes a store of about 300 KiB."""

    def __init__(self, directory: Path, seed: int, scale: float) -> None:
        self.rng, self.scale, self.directory = random.Random(seed), scale, directory
        self.rooms = Rooms(directory)
        self.truths: dict[str, Truth] = {}
        for name, config in CONFIGS.items():
            asked = {"name": name, "subjects": [f"{name.lower()}.>"], "storage": "file", **config}
            self.rooms.request(f"STREAM.CREATE.{name}", asked)
            self.truths[name] = Truth(asked)
            for number in range(CONSUMERS.get(name, 0)):
                durable = {"durable_name": f"c{number}", "ack_policy": "explicit", "ack_wait": 10**15}
                request = {"stream_name": name, "config": durable}
                self.rooms.request(f"CONSUMER.CREATE.{name}.c{number}", request)

    def _note(self, name: str) -> None:
        """What was stored since the last time was there."""
        store, truth = self.rooms.engine.streams[name].store, self.truths[name]
        last = store.state_dict()["last_seq"]
        for seq in range(truth.last_seq + 1, last + 1):
            message = store.load_message(seq)
            assert message is not None, f"{name} has not kept {seq}"
            truth.ever[seq] = message["ts_ns"], message["subject"], message["hdr"], message["body"]
        truth.last_seq = last

    def part(self) -> None:
        """A share of a store's life."""
        for _ in range(6):
            for name in CONFIGS:
                self._publish(name)
                self.rooms.turns()
            self._remove()
            self._consume()
            self.rooms.turns()
            self.rooms.seal()

    def _body(self) -> bytes:
        rng = self.rng
        return (b"%016x" % rng.getrandbits(64)) * rng.choice((1, 4, 10, 30)) + bytes(rng.randrange(9))

    def _publish(self, name: str) -> None:
        count = 3 if name == "SMALL" else max(2, int(18 * self.scale))
        token = name.lower().encode()
        for number in range(count):
            self.rooms.clock.advance(0.001)
            subject = token + b".%d" % self.rng.randrange(12)
            if name == "BATCHES":
                more = {"Nats-Batch-Commit": "1"} if number == count - 1 else {}
                headers = {"Nats-Batch-Id": f"b{len(self.truths[name].ever)}", "Nats-Batch-Sequence": str(number + 1)}
                self.rooms.publish(subject, self._body(), b"re.b", **headers, **more)
            elif self.rng.random() < 0.2:
                self.rooms.publish(subject, self._body(), X_Kind="one")
            else:
                self.rooms.publish(subject, self._body())
            if name != "BATCHES" or number == count - 1:
                self._note(name)

    def _remove(self) -> None:
        for name in ("PLAIN", "PACKED", "SMALL"):
            live = sorted(contents(self.rooms.engine.streams[name].store))
            if len(live) > 10:
                for secure in (False, True):
                    seq = self.rng.choice(live[2:-2])
                    live.remove(seq)
                    self.rooms.request(f"STREAM.MSG.DELETE.{name}", {"seq": seq, "no_erase": not secure})
                    if secure:
                        self.truths[name].erased.add(seq)
        if self.rng.random() < 0.5:
            self.rooms.request("STREAM.PURGE.PLAIN", {"filter": f"plain.{self.rng.randrange(12)}"})
        first = self.rooms.engine.streams["PACKED"].store.state_dict()["first_seq"]
        self.rooms.request("STREAM.PURGE.PACKED", {"seq": first + self.rng.randrange(6)})

    def _consume(self) -> None:
        for name, count in CONSUMERS.items():
            for number in range(count):
                self.rooms.answers.clear()
                subject = f"$JS.API.CONSUMER.MSG.NEXT.{name}.c{number}"
                asked = json.dumps({"batch": 6, "no_wait": True}).encode()
                self.rooms.router.publish(subject.encode(), asked, b"re.n")
                self.rooms.turns()
                acks = [reply for reply, _, _ in self.rooms.answers if reply.startswith(b"$JS.ACK")]
                for reply in acks[:-1]:            # one stays pending
                    self.rooms.publish(reply, b"+ACK")
                self.rooms.turns()

    def finish(self, stop: bool) -> None:
        self.rooms.turns()
        self.rooms.seal()
        for name, truth in self.truths.items():
            stream = self.rooms.engine.streams[name]
            truth.live = set(contents(stream.store))
            assert truth.last_seq == stream.store.state_dict()["last_seq"]
            truth.consumers = consumers(stream)
        if stop:
            self.rooms.close()


def made(root: Path, seed: int = 1, scale: float = 1.0, stop: bool = True) -> dict[str, Truth]:
    """`root/early`, `root/late`, and the truth about the late one."""
    running = root / "running"
    maker = Maker(running, seed, scale)
    maker.part()
    shutil.copytree(running, root / "early")
    maker.part()
    maker.finish(stop)
    shutil.copytree(running, root / "late")
    if not stop:
        maker.rooms.close()
    shutil.rmtree(running)
    return maker.truths
