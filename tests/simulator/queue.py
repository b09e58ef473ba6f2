"""A stream `Q` that keeps a message until its consumers have acknowledged it, and what a power cut must leave of it.

- What was published and answered is there, unless each of its consumers was sent an acknowledgement.
- What all of them have confirmed is gone, and comes no more.
- A message id that was answered is a duplicate as long as its message is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .history import Violation
from .readers import ACK_WAIT_S, LATE, SECOND_NS
from .world import World


@dataclass
class Published:
    body: bytes
    msg_id: bytes
    sent: int
    answered: int = LATE


@dataclass
class Worker:
    """`sent`, `confirmed`: sequence -> when its acknowledgement was."""

    name: str
    delivered: dict[int, bytes] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    confirmed: dict[int, int] = field(default_factory=dict)

    def until(self, cut: int) -> Worker:
        sent, confirmed = ({seq: 0 for seq, at in acks.items() if at <= cut} for acks in (self.sent, self.confirmed))
        return Worker(self.name, {}, sent, confirmed)


class Queue:
    """It is there, and so are its consumers, before anything else happens."""

    def __init__(self, world: World, rng: Random) -> None:
        self.w, self.rng = world, rng
        self.published: dict[int, Published] = {}
        self.last_seq = 0
        self.workers: list[Worker] = []
        self.created = LATE
        self._publishes: dict[int, int] = {}
        self._pulls: dict[int, Worker] = {}
        self._acks: dict[int, tuple[Worker, int]] = {}

    def create(self) -> None:
        retention, names = self.rng.choice((("workqueue", ["W0"]), ("interest", ["W0", "W1"])))
        config = {"name": "Q", "subjects": ["q.>"], "storage": "file", "retention": retention}
        assert "error" not in self.w.ask("STREAM.CREATE.Q", config)
        for name in names:
            consumer = {"durable_name": name, "name": name, "ack_policy": "explicit", "max_ack_pending": -1,
                        "ack_wait": ACK_WAIT_S * SECOND_NS}  # fmt: skip
            assert "error" not in self.w.ask(f"CONSUMER.CREATE.Q.{name}", {"stream_name": "Q", "config": consumer})
            self.workers.append(Worker(name))
        self.created = self.w.now

    def act(self) -> None:
        chance, worker = self.rng.random(), self.rng.choice(self.workers)
        if chance < 0.4:
            self._publish()
            if self.w.is_full:                     # the next one's sequence depends on whether this one is refused
                self.w.settle()
                self.listen()
        elif chance < 0.6:
            self._pulls[self.w.pull("Q", worker.name, self.rng.choice((1, 5)))] = worker
        elif worker.delivered:
            seq = self.rng.choice(sorted(worker.delivered))
            ack = worker.delivered.pop(seq)
            if self.rng.random() < 0.1:
                self.w.router.publish(ack, b"-NAK")
                return
            worker.sent.setdefault(seq, self.w.now)
            if self.rng.random() < 0.2:
                self.w.router.publish(ack, b"")
            else:
                self._acks[self.w.publish(ack, b"")] = worker, seq

    def _publish(self) -> None:
        seq = self.last_seq = self.last_seq + 1
        body, msg_id = b"%d of Q" % seq, b"q%d" % seq if self.rng.random() < 0.4 else b""
        self.published[seq] = Published(body, msg_id, self.w.now)
        self._publishes[self._send(body, msg_id)] = seq

    def _send(self, body: bytes, msg_id: bytes, world: World | None = None) -> int:
        hdr = b"NATS/1.0\r\nNats-Msg-Id: " + msg_id + b"\r\n\r\n" if msg_id else b""
        return (world or self.w).publish(b"q.a", body, hdr)

    def listen(self) -> None:
        taken = self.w.taken
        for number in [number for number in self._publishes if number in taken]:
            seq, (answer,) = self._publishes.pop(number), taken.pop(number)
            if json.loads(answer.body) != {"stream": "Q", "seq": seq}:
                if self.w.is_full and b"10047" in answer.body and seq == self.last_seq:
                    del self.published[seq]        # nothing was done
                    self.last_seq -= 1
                    continue
                if self.w.failed:
                    continue
                raise Violation(f"Q: publish {seq} is answered {answer.body!r}")
            self.published[seq].answered = answer.at
        for number in [number for number in self._acks if number in taken]:
            worker, seq = self._acks.pop(number)
            worker.confirmed[seq] = taken.pop(number)[0].at
        for number, worker in self._pulls.items():
            for message in taken.pop(number, ()):
                if message.reply:
                    self._delivered(worker, int(message.reply.split(b".")[5]), message.reply, message.at)

    def _delivered(self, worker: Worker, seq: int, ack: bytes, at: int) -> None:
        if worker.confirmed.get(seq, LATE) < at:
            raise Violation(f"Q: {seq} comes to {worker.name} again, its acknowledgement was confirmed")
        worker.delivered[seq] = ack
        self.published[seq].answered = min(at, self.published[seq].answered)

    # --- after a cut ---

    def check(self, world: World, cut: int, closely: bool) -> None:
        stream = world.engine.streams.get("Q")
        if stream is None or len(stream.consumers) < len(self.workers):
            if self.created <= cut:
                raise Violation("Q or a consumer of it is not there, and their creation was answered")
            return
        if closely:                                # what the journal has and the log does not is removed
            world.settle()
        found = bodies(stream.store)
        for seq, body in found.items():
            if seq not in self.published or self.published[seq].sent > cut or self.published[seq].body != body:
                raise Violation(f"Q: {seq} is {body!r}, which was never published")
        for seq, published in self.published.items():
            if published.answered <= cut and seq not in found and not self._all(seq, cut, "sent"):
                raise Violation(f"Q: {seq} was answered, is not acknowledged by all, and is lost")
            if closely and seq in found and self._all(seq, cut, "confirmed"):
                raise Violation(f"Q: {seq} was confirmed by all, and is there again")
        for worker in self.workers:
            state = stream.consumers[worker.name].state
            pending, delivered = {row[0] for row in state.pending()}, state.info()["delivered"]["stream_seq"]
            again = [seq for seq, at in worker.confirmed.items() if at <= cut and (seq in pending or seq > delivered)]
            last_seq = stream.state()["last_seq"]
            if again or delivered > last_seq:
                raise Violation(f"Q: {worker.name} is at {delivered} of {last_seq}, {again} come again")
        if closely:
            self._check_ids(world, cut, found)
            self._check_deliveries(world, cut, found)

    def _all(self, seq: int, cut: int, what: str) -> bool:
        return all(getattr(worker, what).get(seq, LATE) <= cut for worker in self.workers)

    def _check_ids(self, world: World, cut: int, found: dict[int, bytes]) -> None:
        for seq, published in self.published.items():
            if published.msg_id and published.answered <= cut and seq in found:
                number = self._send(b"again", published.msg_id, world)
                world.settle()
                answer = json.loads(world.taken.pop(number)[0].body)
                if answer != {"stream": "Q", "seq": seq, "duplicate": True}:
                    raise Violation(f"Q: the message id of {seq} is taken again: {answer}")

    def _check_deliveries(self, world: World, cut: int, found: dict[int, bytes]) -> None:
        world.advance((ACK_WAIT_S + 1) * SECOND_NS)
        for worker in self.workers:
            number = world.pull("Q", worker.name, 1000)
            world.settle()
            got = {int(one.reply.split(b".")[5]) for one in world.taken.pop(number, ()) if one.reply}
            missing = sorted(found.keys() - got - {seq for seq, at in worker.sent.items() if at <= cut})
            again = sorted(got & {seq for seq, at in worker.confirmed.items() if at <= cut})
            if missing or again:
                raise Violation(f"Q: {missing} do not come to {worker.name}, {again} come again")

    def go_on(self, world: World, rng: Random, cut: int) -> Queue | None:
        stream = world.engine.streams.get("Q")
        if stream is None or self.created > cut:
            return None
        queue = Queue(world, rng)
        queue.created, queue.last_seq = 0, stream.state()["last_seq"]
        queue.workers = [worker.until(cut) for worker in self.workers]
        known = {**self.published}
        for seq, body in bodies(stream.store).items():
            queue.published[seq] = Published(body, known[seq].msg_id, 0, 0)
        return queue


def bodies(store: Any) -> dict[int, bytes]:
    """All messages of a store."""
    found, seq = {}, store.next_message(1)
    while seq:
        message = store.load_message(seq)
        if message is None:
            raise Violation(f"{seq} is counted, and cannot be read")
        found[seq] = message["body"]
        seq = store.next_message(seq + 1)
    return found
