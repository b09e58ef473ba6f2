"""The cuts in lives from seeds, and the lives that go on after some of these.

    life ──trace──> a cut at a moment ──power──> one of the images that it may leave ──> recovered, judged ──> a life
                                      ──kill──> what is in memory, not on disk ──────> recovered, judged ──> goes on:
                                                                                 what is uncertain stays so, and is cut
                                      ──damage──> an image some of whose certain writes are wrong ──> recovered, judged
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from millpond.testing.disk_image import SURVIVALS, DiskImage
from millpond.testing.simulated_disk import GONE, MOVED, NAME, UNSYNCED, WRITE
from stream_model_rules import START_NS

from .damage import judge, spoil
from .history import Found, Unknown, Violation
from .life import Life, Past, found_in
from .seen import Seen, SeenWorld, recovered
from .world import Files, Killed, World

DEPTH_MAX = 3
"""So many cuts follow each other."""
PAGE_BYTES = 4096
FAULTS = (
    *[("sync", errno.EIO)] * 6, ("write", errno.EIO), ("open", errno.EMFILE), ("name", errno.ENOSPC),
    ("reserve", errno.EIO),
)  # fmt: skip


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
    kills: int = 0
    damages: int = 0
    seeds: int = 0
    operations: int = 0
    steps: int = 0
    nested: int = 0
    failures: int = 0
    filled: int = 0
    unknown: int = 0
    spared: int = 0
    """Slots that were as some cut before had left them."""
    survivals: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)

    def add(self, other: Figures) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def told(self) -> str:
        """What there was of each kind."""
        kinds = ", ".join(f"{count} {name}" for name, count in sorted((self.survivals + self.seen).items()))
        return (f"{self.kills} kills, {self.damages} with a wrong write, {self.failures} failed, "
                f"{self.filled} became full; "
                f"{self.spared} slots known; {self.steps} steps of the disk; {kinds}")  # fmt: skip


class Campaign:
    def __init__(self) -> None:
        self.figures = Figures()

    def life(self, seed: int, cuts: int, steps: int = 25) -> None:
        """Raises Violation, which says where."""
        rng = Random(seed)
        world = World(rng, {"": None}, START_NS)
        try:
            life = Life(world, rng, DiskImage({"": None}, {}, Random(rng.random())))
            if rng.random() < 0.2:
                kind, error = rng.choice(FAULTS)
                world.fail(kind, rng.randrange(40 if kind in ("sync", "write") else 8), error)
            fills = not world.disk.fault and rng.random() < 0.15
            life.run(steps, fills)
        except Violation as violation:
            raise Violation(f"seed {seed}, before any cut: {violation}") from violation
        self.figures.failures += world.failed
        self.figures.filled += fills
        self._count(life)
        world.stop()
        self.figures.seeds += 1
        self._cut(life, rng, cuts, f"seed {seed}", 1)

    def _count(self, life: Life) -> None:
        self.figures.operations += len(life.history.sent)
        self.figures.steps += len(life.w.disk.trace) - life.begins
        stream = life.w.engine.streams.get("S")
        if stream is not None:
            figures = stream.store.figures()
            self.figures.seen.update({"packed": figures["packed"], "summaries": figures["summaries"],
                                      "copied bytes": figures["copied_bytes"]})  # fmt: skip
        for step in life.w.disk.trace[life.begins :]:
            name = step[1] if isinstance(step[1], str) else ""
            if step[0] in (NAME, GONE, MOVED) and "/log." in step[-1 if step[0] == MOVED else 1]:
                self.figures.seen[("segments", "removed", "renamed")[(NAME, GONE, MOVED).index(step[0])]] += 1
            self.figures.seen["released"] += step[0] in (NAME, MOVED) and name.endswith("stream.1")

    # --- cuts ---

    def _moments(self, life: Life, rng: Random, cuts: int) -> list[int]:
        """Half of them behind what failed, or right behind what was read after a kill."""
        end, found = len(life.w.disk.trace), []
        for _ in range(cuts):
            begin, last = life.begins, end
            if life.w.failed and rng.random() < 0.5:
                begin = life.w.failed_at
            elif life.before is not None and rng.random() < 0.5:
                last = min(end, life.ready + 40)
            found.append(rng.randint(begin, last))
        return sorted(found)

    def _cut(self, life: Life, rng: Random, cuts: int, where: str, depth: int) -> None:
        trace, disk, fed = life.w.disk.trace, life.start, life.begins
        first, seen = disk.copy(Random(rng.random())) if depth == 1 else None, Seen()
        for at in self._moments(life, rng, cuts):
            while fed < at:
                disk.feed(trace[fed])
                fed += 1
            self.figures.cuts += 1
            chance, chosen = rng.random(), Random(rng.random())
            name = f"{where}, cut {at} of {len(trace)}, "
            if chance < (0.6 if life.w.failed else 0.2) and not names_in_doubt(trace[:at]):
                self._kill(life, disk, Cut(at, chosen, name + "kill", depth))
            elif chance < 0.25 and first is not None and not life.w.failed:
                self._damage(life, first, Cut(at, chosen, name, depth))
            else:
                survival = rng.choice(SURVIVALS)
                self.figures.survivals[survival] += 1
                self._power(life, disk.image(chosen, survival), Cut(at, chosen, name + survival, depth), seen)
        self.figures.spared += seen.spared

    def _power(self, life: Life, files: Files, cut: Cut, seen: Seen) -> None:
        if cut.rng.random() < 0.75 and self._glance(life, files, cut, seen):
            return

        def start() -> tuple[World, DiskImage | None]:
            return World(cut.rng, files, life.history.model.now_ns), None

        self._one(life, start, cut)

    def _glance(self, life: Life, files: Files, cut: Cut, seen: Seen) -> bool:
        """Only what was not recovered before is. False: all of it has to be."""
        judged, at = judge_of(life, cut.at)
        left, slots, known = seen.partly(files)
        try:
            found: Any = SeenWorld(known)
            if slots:
                world = World(cut.rng, left, life.history.model.now_ns)
                try:
                    found = recovered(world, slots, known, seen, cut.depth > 1)
                finally:
                    world.stop()
            if found is None:
                return False
            stream = found.engine.streams.get("S")
            self._judge(judged, at, found, stream and stream.found, False)
        except Violation as violation:
            raise Violation(f"{cut.where}: {violation}") from violation
        except Exception as error:
            raise Violation(f"{cut.where}: {error!r}") from error
        return True

    def _kill(self, life: Life, disk: DiskImage, cut: Cut) -> None:
        """Perhaps in the middle of a write."""
        self.figures.kills += 1
        trace, disk = life.w.disk.trace, disk.copy(Random(cut.rng.random()))
        before = trace[: cut.at]
        if cut.at < len(trace) and trace[cut.at][0] == WRITE and cut.rng.random() < 0.5:
            _, file, offset, data = trace[cut.at]
            pages = range(PAGE_BYTES - offset % PAGE_BYTES, len(data), PAGE_BYTES)
            if pages:
                before.append((WRITE, file, offset, data[: cut.rng.choice(pages)]))
                disk.feed(before[-1])

        def start() -> tuple[World, DiskImage | None]:
            files, known = disk.memory()
            return World(cut.rng, files, life.history.model.now_ns, Killed(known, before)), disk

        self._one(life, start, cut)

    def _one(self, life: Life, start: Callable[[], tuple[World, DiskImage | None]], cut: Cut) -> None:
        try:
            world, disk = start()
            try:
                next_life = self._check(life, world, disk, cut)
            finally:
                world.stop()
        except Violation as violation:
            raise Violation(f"{cut.where}: {violation}") from violation
        except Exception as error:
            raise Violation(f"{cut.where}: {error!r}") from error
        if next_life is not None:
            self.figures.nested += 1
            self._cut(next_life, cut.rng, cut.rng.randint(1, 5), cut.where, cut.depth + 1)

    def _check(self, life: Life, world: World, disk: DiskImage | None, cut: Cut) -> Life | None:
        """The life that goes on from there; None: none does."""
        judged, at = judge_of(life, cut.at)
        killed = bool(world.found_trace)
        goes_on = cut.depth < DEPTH_MAX and cut.rng.random() < (0.6 if killed else 0.4)
        closely = not goes_on
        found = found_in(world, cut.depth > 1)
        self._judge(judged, at, world, found, closely)
        if found is None:
            return None
        if closely:
            judged.readers.check_delivery(world, at, found.messages)
            return None
        if disk is None:                           # everything that is there is certain
            contents = {path: data for path, data in world.before.items() if data is not None}
            disk = DiskImage(world.found, contents, Random(cut.rng.random()))
        return self._again(judged, world, disk, at, Going(cut, found, killed))

    def _judge(self, judged: Life, at: int, world: Any, found: Found | None, closely: bool) -> None:
        if judged.coming is not None:
            judged.coming.check(world, at)
        if judged.backups is not None:
            judged.backups.check(world, at)
        if judged.queue is not None:
            judged.queue.check(world, at, closely)
        if found is None:
            if judged.created_at is not None and judged.created_at <= at:
                raise Violation("the stream's creation was answered, and it is not there")
            return
        judged.history.check(found, at)
        judged.readers.check(world, at)

    def _again(self, life: Life, world: World, disk: DiskImage, at: int, going: Going) -> Life | None:
        rng = going.cut.rng
        try:
            history = life.history.goes_on(going.found, world.clock.wall_ns)
        except Unknown:
            self.figures.unknown += 1
            return None
        queue = life.queue.go_on(world, rng, at) if life.queue is not None else None
        readers = life.readers.go_on(world, rng, history.delivered, at)
        again = Life(world, rng, disk, Past(history, readers, queue))
        if going.killed:
            again.before = life, at
        again.run(rng.choice((0, 1, 5)))
        self._count(again)
        return again

    # --- damage ---

    def _damage(self, life: Life, first: DiskImage, cut: Cut) -> None:
        """Some write that was certain is not as it was: lost, at another place, or changed since."""
        disk = first.copy(Random(cut.rng.random()))
        spoiled = spoil(life.w.disk.trace[: cut.at], life.slot, cut.rng)
        if spoiled is None:
            return
        self.figures.damages += 1
        for step in spoiled.trace:
            disk.feed(step)
        cut = Cut(cut.at, cut.rng, cut.where + spoiled.what, cut.depth)
        files = disk.image(cut.rng, cut.rng.choice(SURVIVALS))
        try:
            judge(life, lambda: World(cut.rng, files, life.history.model.now_ns), cut.at)
        except Violation as violation:
            raise Violation(f"{cut.where}: {violation}") from violation
        except Exception as error:
            raise Violation(f"{cut.where}: {error!r}") from error


def judge_of(life: Life, at: int) -> tuple[Life, int]:
    """Whose promises what is left must keep, and as of when: of who was killed, until what was found is looked at."""
    while life.before is not None and at < life.ready:
        life, at = life.before
    return life, at


def names_in_doubt(trace: list[Any]) -> bool:
    """Has the sync of a directory failed? Pages are written again after a kill; a name cannot be."""
    return any(step[0] == UNSYNCED and isinstance(step[1], str) for step in trace)


@dataclass(frozen=True)
class Going:
    """What a life goes on from."""

    cut: Cut
    found: Any
    killed: bool
