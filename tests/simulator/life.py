"""One account's life from a seed: a stream that is modelled, and all that goes on beside it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from millpond.testing.disk_image import DiskImage
from stream_model import Stream
from stream_model_rules import Operation, Publish, Update, api_request, block, understood
from stream_model_steps import Chooser, configuration

from .backups import Backups
from .coming import Coming
from .history import LIMITS, Found, History, Sent, Violation
from .queue import Queue
from .readers import Readers
from .world import FOLDER, World

STEP_NS = 1_000_000
HALF_NS = 500_000_000
QUARTER_NS = 250_000_000
NO_ROOM = 10047


class Larger(Chooser):
    """Some messages are so large that a segment ends soon."""

    def body(self) -> bytes:
        return super().body() + b"x" * self.rng.choice((0, 0, 0, 0, 0, 0, 0, 900, 2500))


class Past(NamedTuple):
    """What a life goes on from."""

    history: History | None = None
    readers: Readers | None = None
    queue: Queue | None = None


class Life:
    """The world `w` with stream `S`, driven and remembered. `past` None: the stream is to be created.

    `start`: what is on its disk for certain when its own part of the trace begins. `before`: the life that was killed,
    and when, if this one comes after a kill: until `ready` what is left is judged as what was left of that one.
    """

    def __init__(
        self, world: World, rng: Random, start: DiskImage, past: Past | None = None
    ) -> None:
        history, readers, queue = past or Past()
        self.w, self.rng, self.start = world, rng, start
        self.before: tuple[Life, int] | None = None
        self.begins, self.ready = len(world.found_trace), world.now
        self.created_at: int | None = 0 if history is not None else None
        self._open: dict[int, Sent] = {}
        self.queue, self.coming = queue, Coming(world, rng) if history is None else None
        self.backups = Backups(world, rng) if history is None and rng.random() < 0.3 else None
        self._full_for = 0
        if history is None:
            self.queue = Queue(world, rng)
            config = {**configuration(rng, "file"), "compression": rng.choice(["none", "s2"])}
            history = History(Stream(config, world.clock.wall_ns))
            number = world.request("STREAM.CREATE.S", config)
            self._drive_until(lambda: number in world.taken)
            (answer,) = world.taken.pop(number)
            assert understood(answer.body) == {"success": True}, answer
            self.created_at = answer.at
            self.slot = slot_of(world, "S")
            history.states[0].config = history.model.config
            self.queue.create()
        self.history = history
        self.chooser = Larger(rng, rng.random() < 0.7)
        self.readers = Readers(world, rng, self.history.delivered) if readers is None else readers

    def _drive_until(self, done: Callable[[], bool]) -> None:
        for _ in range(1000):
            if done():
                return
            self.w.step()
        raise Violation("nothing is answered any more")

    # --- what is done ---

    def run(self, steps: int, fills: bool = False) -> None:
        """`fills`: the disk becomes full at times."""
        for _ in range(steps):
            if fills and not self._full_for and self.rng.random() < 0.1:
                self.settle()
                self._full_for = self.rng.randint(1, 4)
                self.w.disk.free = self.rng.choice((0, 0, 5000, 20000))
            if not self._full_for:
                self._pass_time()
            if self.rng.random() < 0.03:
                self.w.stalled = self.rng.randint(5, 40)
            for _ in range(self.rng.choice((1, 1, 2, 4, 8))):
                self._act()
            for _ in range(self.rng.choice((0, 1, 1, 2, 5))):
                self.w.step()
            if self.rng.random() < 0.2:
                self.w.pack()
            self._listen()
            if self.w.failed:
                break
            if self._full_for:
                self._full_for -= 1
                if not self._full_for:
                    self._make_room()
        if self._full_for and not self.w.failed:
            self._make_room()
        self.settle()
        self.history.over()

    def _act(self) -> None:
        operations = self.chooser.next(self.history.model)
        if not self.w.is_full:
            for operation in operations:
                self._send(operation)
            if self.rng.random() < 0.5:
                self.readers.act()
        elif len(operations) == 1 and not is_batched(operations[0]) and self._is_answered(operations[0]):
            self._try(operations[0])
        if self.queue is not None and self.rng.random() < 0.4:
            self.queue.act()
        if self.coming is not None and self.rng.random() < 0.15:
            self.coming.act()
        if self.backups is not None:
            self.backups.act()

    def _is_answered(self, operation: Operation) -> bool:
        return not (isinstance(operation, Publish) and self.history.model.allows("no_ack"))

    def _try(self, operation: Operation) -> None:
        """On a full disk: what is refused for want of room has done nothing, and removals may wait for room."""
        before = self.history.model.clone()
        before.config = self.history.model.config
        number = self._send(operation)
        self._turns()
        refused = [understood(one.body).get("refused") for one in self.w.taken.get(number, [])]
        expected = [one.get("refused") for one in self._open[number].expected]
        if refused == [NO_ROOM] or (self.w.failed and refused != expected and any(refused)):
            del self._open[number], self.w.taken[number]
            self.history.take_back(before)

    def _turns(self) -> None:
        """As long as the disk has something to do."""
        for _ in range(2):
            self.w.settle()

    def _make_room(self) -> None:
        self._full_for, self.w.disk.free = 0, None
        for _ in range(8):
            self.history.advance(QUARTER_NS, self.w.now)
            self.w.advance(QUARTER_NS)
            self.w.probe()
            self._listen()
            if not self.w.is_full:
                return
        raise Violation("there is room again, and nothing is taken")

    def _pass_time(self) -> None:
        """What ends by then is known only when nothing is under way."""
        if self.rng.random() < 0.7:
            return
        self.settle()
        if self.w.failed:
            return
        for ns in (STEP_NS, self.rng.choice((0, 0, 1, 4, 20)) * HALF_NS + STEP_NS):
            self.history.advance(ns, self.w.now)
            self.w.advance(ns)
        self._listen()

    def _send(self, operation: Operation) -> int:
        at = self.w.now
        if isinstance(operation, Publish):
            tail = f".{operation.place}.$FI".encode() if operation.place else b""
            number = self.w.publish(operation.subject.encode(), operation.body, block(operation.headers), tail)
        else:
            config = self.history.model.config
            if isinstance(operation, Update):
                config = {**config, **dict(operation.changes)}
            number = self.w.request(*api_request(operation, config))
        self._open[number] = self.history.apply(operation, at)
        return number

    def settle(self) -> None:
        self._turns()
        self._listen(everything=True)

    def _listen(self, everything: bool = False) -> None:
        for number in list(self._open):
            sent = self._open[number]
            taken = self.w.taken.get(number, [])
            if everything or len(taken) >= len(sent.expected):
                at = taken[-1].at if taken else self.w.now
                self.history.answer(sent, [understood(one.body) for one in taken], at, self.w.failed)
                self.w.taken.pop(number, None)
                del self._open[number]
        for other in (self.readers, self.queue, self.coming, self.backups):
            if other is not None:
                other.listen()


def is_batched(operation: Operation) -> bool:
    return isinstance(operation, Publish) and bool(operation.place or operation.header("Nats-Batch-Id"))


def slot_of(world: World, name: str) -> str:
    """The path of a stream's directory, as in the trace."""
    return str(world.engine._shelves[name].slot)[len(str(FOLDER)) :]


def found_in(world: World, torn_before: bool = False) -> Found | None:
    """None: there is no such stream. `torn_before`: not the first power cut, and what one tore is damage to the next
    start."""
    if world.storage.unrecovered:
        raise Violation(f"{world.storage.unrecovered} cannot be recovered")
    stream = world.engine.streams.get("S")
    if stream is None:
        return None
    store = stream.store
    messages = messages_of(store)
    wrong = store.check()
    if wrong:
        raise Violation(f"the store finds itself wrong: {wrong}")
    state = stream.state()
    if state["messages"] != len(messages):
        raise Violation(f"counts {state['messages']} messages of {len(messages)}")
    if (store.lost or store.damage) and not torn_before:
        raise Violation(f"a power cut is no damage: {store.damage}, {store.lost} lost")
    config = {name: getattr(stream.config, name) for name in LIMITS}
    return Found(messages, state["first_seq"], state["last_seq"], config)


def messages_of(store: Any, readable: bool = True) -> dict[int, dict[str, Any]]:
    """`readable`: each of them can be read, or that is a violation."""
    found, seq = {}, store.next_message(1)
    while seq:
        message = store.load_message(seq)
        if message is not None:
            found[seq] = dict(message)
        elif readable:
            raise Violation(f"{seq} is counted, and cannot be read")
        seq = store.next_message(seq + 1)
    return found
