"""One stream's life from a seed, the power cuts in it, and the lives that go on after some of these."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from millpond.testing.disk_image import SURVIVALS, DiskImage
from millpond.testing.simulated_disk import GONE, MOVED, NAME
from stream_model import Stream
from stream_model_rules import START_NS, Operation, Publish, Update, api_request, block, understood
from stream_model_steps import Chooser, configuration

from .coming import Coming
from .history import LIMITS, Found, History, Sent, Unknown, Violation
from .queue import Queue
from .readers import Readers
from .world import Files, World

STEP_NS = 1_000_000
HALF_NS = 500_000_000
DEPTH_MAX = 3
"""So many cuts follow each other."""


class Larger(Chooser):
    """Some messages are so large that a segment ends soon."""

    def body(self) -> bytes:
        return super().body() + b"x" * self.rng.choice((0, 0, 0, 0, 0, 0, 0, 900, 2500))


class Life:
    """The world `w` with stream `S`, driven and remembered. `history` None: the stream is to be created."""

    def __init__(
        self, world: World, rng: Random, history: History | None = None, readers: Readers | None = None,
        queue: Queue | None = None,
    ) -> None:  # fmt: skip
        self.w, self.rng = world, rng
        self.created_at: int | None = 0 if history is not None else None
        self._open: dict[int, Sent] = {}
        self.queue, self.coming = queue, Coming(world, rng) if history is None else None
        if history is None:
            self.queue = Queue(world, rng)
            config = {**configuration(rng, "file"), "compression": rng.choice(["none", "s2"])}
            history = History(Stream(config, world.clock.wall_ns))
            number = world.request("STREAM.CREATE.S", config)
            self._drive_until(lambda: number in world.taken)
            (answer,) = world.taken.pop(number)
            assert understood(answer.body) == {"success": True}, answer
            self.created_at = answer.at
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

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._pass_time()
            for _ in range(self.rng.choice((1, 1, 2, 4, 8))):
                for operation in self.chooser.next(self.history.model):
                    self._send(operation)
                if self.rng.random() < 0.5:
                    self.readers.act()
                if self.queue is not None and self.rng.random() < 0.4:
                    self.queue.act()
                if self.coming is not None and self.rng.random() < 0.15:
                    self.coming.act()
            for _ in range(self.rng.choice((0, 1, 1, 2, 5))):
                self.w.step()
            if self.rng.random() < 0.2:
                self.w.pack()
            self._listen()
            if self.w.failed:
                break
        self.settle()

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

    def _send(self, operation: Operation) -> None:
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

    def settle(self) -> None:
        for _ in range(2):
            self.w.settle()
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
        for other in (self.readers, self.queue, self.coming):
            if other is not None:
                other.listen()


def found_in(world: World, torn_before: bool = False) -> Found | None:
    """None: there is no such stream. `torn_before`: not the first power cut, and what one tore is damage to the next
    start."""
    if world.storage.unrecovered:
        raise Violation(f"{world.storage.unrecovered} cannot be recovered")
    stream = world.engine.streams.get("S")
    if stream is None:
        return None
    store = stream.store
    messages, seq = {}, store.next_message(1)
    while seq:
        message = store.load_message(seq)
        if message is None:
            raise Violation(f"{seq} is counted, and cannot be read")
        messages[seq] = dict(message)
        seq = store.next_message(seq + 1)
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


@dataclass(frozen=True)
class Cut:
    """`at`: length of the trace by then. `depth`: how many cuts there were, with this one."""

    at: int
    rng: Random
    where: str
    depth: int


@dataclass
class Figures:
    cuts: int = 0
    seeds: int = 0
    operations: int = 0
    steps: int = 0
    nested: int = 0
    failures: int = 0
    unknown: int = 0
    survivals: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)


class Campaign:
    """Cuts in lives from seeds. `folder`: of a memory file system, or it is slow."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.figures = folder, Figures()
        self._places = 0

    def _place(self) -> Path:
        self._places += 1
        place = self.folder / str(self._places)
        place.mkdir(parents=True)
        return place

    def life(self, seed: int, cuts: int, steps: int = 25) -> None:
        """Raises Violation, which says where."""
        rng = Random(seed)
        place = self._place()
        world = World(place, rng, {"": None}, START_NS)
        life = Life(world, rng)
        if rng.random() < 0.2:
            world.fail(rng.choice(("sync", "sync", "write")), rng.randrange(40), errno.EIO)
        life.run(steps)
        self.figures.failures += world.failed
        self._count(life)
        self._stop(world)
        self.figures.seeds += 1
        self._cut(life, rng, cuts, f"seed {seed}", 1)

    def _stop(self, world: World) -> None:
        world.stop()
        shutil.rmtree(world.folder)

    def _count(self, life: Life) -> None:
        self.figures.operations += len(life.history.sent)
        self.figures.steps += len(life.w.disk.trace)
        stream = life.w.engine.streams.get("S")
        if stream is not None:
            figures = stream.store.figures()
            self.figures.seen.update({"packed": figures["packed"], "summaries": figures["summaries"],
                                      "copied bytes": figures["copied_bytes"]})  # fmt: skip
        for step in life.w.disk.trace:
            name = step[1] if isinstance(step[1], str) else ""
            if step[0] in (NAME, GONE, MOVED) and "/log." in step[-1 if step[0] == MOVED else 1]:
                self.figures.seen[("segments", "removed", "renamed")[(NAME, GONE, MOVED).index(step[0])]] += 1
            self.figures.seen["released"] += step[0] in (NAME, MOVED) and name.endswith("stream.1")

    def _cut(self, life: Life, rng: Random, cuts: int, where: str, depth: int) -> None:
        world = life.w
        trace = world.disk.trace
        contents = {path: data for path, data in world.before.items() if data is not None}
        disk = DiskImage(world.found, contents, Random(rng.random()))
        places = sorted(rng.randint(0, len(trace)) for _ in range(cuts))
        fed = 0
        for cut in places:
            while fed < cut:
                disk.feed(trace[fed])
                fed += 1
            survival = rng.choice(SURVIVALS)
            self.figures.cuts += 1
            self.figures.survivals[survival] += 1
            self._one(life, disk.image(rng, survival), Cut(
                cut, Random(rng.random()), f"{where}, cut {cut} of {len(trace)}, {survival}", depth,
            ))  # fmt: skip

    def _one(self, life: Life, files: Files, cut: Cut) -> None:
        place = self._place()
        now_ns = life.history.model.now_ns
        try:
            world = World(place, cut.rng, files, now_ns)
            try:
                next_life = self._check(life, world, cut)
            finally:
                self._stop(world)
        except Violation as violation:
            raise Violation(f"{cut.where}: {violation}") from violation
        except Exception as error:
            raise Violation(f"{cut.where}: {error!r}") from error
        if next_life is not None:
            self.figures.nested += 1
            self._cut(next_life, cut.rng, cut.rng.randint(1, 5), cut.where, cut.depth + 1)

    def _check(self, life: Life, world: World, cut: Cut) -> Life | None:
        """The life that goes on from there; None: none does."""
        goes_on = cut.depth < DEPTH_MAX and cut.rng.random() < 0.1
        closely = not goes_on and cut.rng.random() < 0.2
        found = found_in(world, cut.depth > 1)
        if life.coming is not None:
            life.coming.check(world, cut.at)
        if life.queue is not None:
            life.queue.check(world, cut.at, closely)
        if found is None:
            if life.created_at is not None and life.created_at <= cut.at:
                raise Violation("the stream's creation was answered, and it is not there")
            return None
        life.history.check(found, cut.at)
        life.readers.check(world, cut.at)
        if closely:
            life.readers.check_delivery(world, cut.at, found.messages)
        return self._again(life, world, cut, found) if goes_on else None

    def _again(self, life: Life, world: World, cut: Cut, found: Found) -> Life | None:
        rng = cut.rng
        try:
            history = life.history.goes_on(found, world.clock.wall_ns)
        except Unknown:
            self.figures.unknown += 1
            return None
        queue = life.queue.go_on(world, rng, cut.at) if life.queue is not None else None
        again = Life(world, rng, history, life.readers.go_on(world, rng, history.delivered, cut.at), queue)
        again.run(rng.choice((0, 1, 5)))
        self._count(again)
        return again
