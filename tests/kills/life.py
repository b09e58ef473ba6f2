"""One store directory, killed so many times: what is in it, and each moment of a kill, come from a seed.

    start -> compare what the last crash left -> load -> kill -> ...        python -m tests.kills.life --help

A kill comes at an answer, at a moment of the start, at a system call on the store (before it, after it, or in the
middle of a write), or while an orderly stop is under way. At the end everything that a consumer is owed must come, and
an orderly stop must change nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from millpond.base.cgroup import MemoryGroup

from ..crash.model import Violation
from . import servers
from .coming import Coming
from .holders import Holders
from .link import Gone, Hangs, Link
from .oom import Crowded
from .ordered import Ordered, keys_config, locks_config, log_config
from .queue import Queue
from .servers import Deadline, Server

SLOW_S: Final = 2.0
"""A start that takes longer is counted."""
WHOLE_EVERY: Final = 10
"""After one crash in so many, large streams are read as a whole, too."""
EXECUTED_EVERY: Final = 10
"""One start in so many is that of the executable."""
CALLS: Final = (
    ("w", "/log.", 300), ("s", "/log.", 300), ("z", "/log.", 10), ("n", "/log.", 10), ("w", "/consumers.", 100),
    ("s", "/consumers.", 100), ("n", "/consumers.", 3), ("w", "/repacked", 10), ("sn", "/repacked", 20),
    ("w", "/stream.", 10), ("sn", "/stream.", 10), ("w", "/witness", 10), ("n", "/released", 3),
    ("s", "/streams/", 300), ("n", "/streams/", 30), ("wszn", "/streams/", 1000),
)  # fmt: skip
"""Calls to die at: their kinds, a part of the path, and which one at most."""
STOP_S: Final = 0.05
START_S: Final = 0.1
Lane = Ordered | Queue | Holders | Coming
ARCHIVE: Final = b"archive."
WORK: Final = b"work."


@dataclass
class Tally:
    """What a life was, for the summary."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    """Where in a system call, by kind and file."""
    meanwhile: Counter[str] = field(default_factory=Counter)
    """What was under way at a kill."""
    answers: int = 0
    compared: int = 0
    starts: int = 0
    slow_starts: int = 0
    longest_start_s: float = 0.0
    cpu_s: float = 0.0
    violation: str = ""

    @property
    def count(self) -> int:
        return sum(self.kills.values())


def hurry() -> None:
    """Before the server's modules are loaded: small segments, with summaries, that are scrubbed at once."""
    from millpond.base import limits

    changes = {
        "SEGMENT_BYTES_SMALL": 64 * 1024, "SEGMENT_BYTES_LARGE": 256 * 1024, "SUMMARY_SEGMENT_BYTES_LEAST": 1,
        "SCRUB_FIRST_S": 0.02, "SCRUB_PAUSE_S": 0.02, "SCRUB_SHARE_OF": 2, "SCRUB_BYTES_PER_S": 1 << 30,
        "TESTIMONY_S": 0.02, "CHECKPOINT_STEP_BYTES": 2048, "REPACK_PAUSE_S": 0.1,
    }  # fmt: skip
    for name, value in changes.items():
        assert hasattr(limits, name), name
        setattr(limits, name, value)


class Life:
    """`server` is made by the caller; `answers_max`: so many answers before a kill, at most.

    crowd: what makes somebody else kill it; it is always the executable then, and dies under load only.
    """

    def __init__(self, seed: int, server: Server, *, answers_max: int, crowd: Callable[[], None] | None = None) -> None:
        self._rng = rng = Random(seed)
        self._server, self._kill_it = server, crowd or server.kill
        self._answers_max = answers_max
        self._crowded = crowd is not None
        self.tally = Tally(seed)
        large = rng.random() < 0.1
        window = rng.choice((16, 64, 256))
        lanes: list[Callable[[bytes], Lane]] = [
            lambda tail: Ordered(log_config(rng, large), rng, tail, window, keys=rng.choice((5, 200))),
            lambda tail: Ordered(keys_config(rng), rng, tail, window, keys=rng.choice((5, 40, 400))),
            lambda tail: Ordered(locks_config(rng), rng, tail, window, keys=40),
            lambda tail: Queue(rng, tail, window),
            lambda tail: Holders(rng, tail, window, keys=rng.choice((20, 100))),
            lambda tail: Coming(rng, tail, names=rng.choice((1, 4))),
        ]
        chosen = sorted(rng.sample(range(len(lanes)), rng.randrange(2, len(lanes) + 1)))
        self._lanes = [lanes[which](b"%d." % place) for place, which in enumerate(chosen)]
        self._coming = [lane for lane in self._lanes if isinstance(lane, Coming)]
        self._queues = [lane for lane in self._lanes if isinstance(lane, Queue)]
        self._left = 0
        self._link: Link | None = None
        self._crashes = 0

    def run(self, kills: int) -> None:
        """Raises Violation at the first broken promise."""
        server = self._server
        server.spawn(forked=not self._crowded)
        server.until_ready()
        self._connect()
        for lane in self._lanes:
            lane.create(self._linked)
        server.kill()
        self._over("at the creation")
        while self.tally.count < kills:
            self._once()
        self._end()
        for lane in self._lanes:
            self.tally.answers += lane.answers
            self.tally.compared += lane.compared

    # --- one kill ---

    def _once(self) -> None:
        rng, server = self._rng, self._server
        way = "answer" if self._crowded else rng.choices(("answer", "start", "call", "stop"), (40, 15, 35, 10))[0]
        if way == "call" and not servers.can_die_at():
            way = "answer"
        executed = self._crowded or (way != "call" and rng.randrange(EXECUTED_EVERY) == 0)
        deadline = self._deadline() if way == "call" else None
        server.spawn(forked=not executed, deadline=deadline)
        if way == "start":
            time.sleep(rng.uniform(0, START_S * (4 if executed else 1)))
            server.kill()
            self._over("during the start")
            return
        try:
            self._serve()
            self._left = self._answers_max if way == "call" else int(self._answers_max ** rng.random())
            self._load(way)
        except Gone:
            pass
        else:
            raise AssertionError("a load ends when the server is gone")
        how = "for want of memory" if self._crowded else "at an answer"
        self._over({"answer": how, "stop": "during a stop", "call": "at a system call"}[way], deadline)

    def _deadline(self) -> Deadline:
        kinds, part, most = self._rng.choice(CALLS)
        return Deadline(kinds, part, int(most ** self._rng.random()), self._rng.choice((0, 1, 2)))

    def _over(self, how: str, deadline: Deadline | None = None) -> None:
        """The server is dead; counts how."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if not self._server.pid:                   # it did not get ready
            ended_by: int = signal.SIGKILL
        else:
            ended_by = self._server.reap()
        self._crashes += 1
        if how == "at a system call" and not self._reached:
            how = "at an answer"
        self.tally.kills[how if ended_by == signal.SIGKILL else "stopped in order before its kill"] += 1
        if how == "at a system call" and deadline is not None:
            self.tally.calls[f"{'/'.join(servers.KINDS[kind] for kind in deadline.kinds)} {deadline.part}"] += 1
        for coming in self._coming:
            self.tally.meanwhile.update(coming.under_way())

    @property
    def _linked(self) -> Link:
        assert self._link is not None
        return self._link

    def _connect(self) -> None:
        self._link = Link(self._server.port, self._take)

    def _serve(self) -> None:
        """Started, and as it should be. Raises Gone."""
        self._reached = True
        self._server.until_ready()
        took, tally = self._server.start_s, self.tally
        tally.starts += 1
        tally.slow_starts += took > SLOW_S
        tally.longest_start_s = max(tally.longest_start_s, took)
        self._connect()
        for lane in self._lanes:
            lane.verify(self._linked, self._crashes % WHOLE_EVERY == 0)

    def _load(self, way: str) -> None:
        """Until it is killed: raises Gone."""
        while True:
            for lane in self._lanes:
                lane.fill(self._linked)
            self._linked.turn()
            if self._left <= 0:
                self._left = 1 << 60
                self._reached = False
                if way == "stop":
                    self._server.terminate()
                    self._linked.until_quiet(self._rng.uniform(0, STOP_S))
                for lane in self._lanes:
                    lane.scarce = self._crowded
                self._kill_it()

    def _take(self, tail: bytes, reply: bytes, headers: bytes, body: bytes) -> None:
        self._left -= 1
        if tail.startswith(ARCHIVE):
            self._coming[0].archived(int(tail.removeprefix(ARCHIVE)), reply, headers, body)
            return
        if tail.startswith(WORK):
            self._queues[0].given(reply, body)
            return
        place, _, rest = tail.partition(b".")
        self._lanes[int(place)].take(rest, reply, headers, body)

    # --- the end ---

    def _end(self) -> None:
        """What is owed is delivered; an orderly stop changes nothing."""
        for number in range(2):
            self._server.spawn(forked=number == 0 and not self._crowded)
            self._serve()
            for queue in self._queues if number == 0 else []:
                queue.drain(self._linked)
            for lane in self._lanes:
                lane.verify(self._linked, True)
            self._linked.close()
            self._link = None
            self._server.terminate()
            if self._server.reap():
                raise Violation("the server did not stop in order")


def live(
    seed: int, kills: int, folder: Path, *, answers_max: int, sync: str, group: MemoryGroup | None = None
) -> Tally:
    """One life in `folder`, which is removed unless something was found there. group: killed for want of memory."""
    folder.mkdir(parents=True)
    server = Server(folder, sync) if group is None else Crowded(folder, sync, group)
    life = Life(seed, server, answers_max=answers_max, crowd=server.crowd if isinstance(server, Crowded) else None)
    tally, before = life.tally, server.oom_kills() if isinstance(server, Crowded) else 0
    try:
        life.run(kills)
        if isinstance(server, Crowded):
            server.check(before + tally.kills["for want of memory"])
        shutil.rmtree(folder)
    except (Violation, Hangs) as found:
        tally.violation = f"{found}\n(kill {tally.count}, in {folder})"
    except Exception:
        tally.violation = f"the campaign itself failed after kill {tally.count}, in {folder}:\n{traceback.format_exc()}"
    finally:
        server.close()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    tally.cpu_s = sum(one.ru_utime + one.ru_stime for one in used)
    return tally


def variant(seed: int) -> dict[str, Any]:
    """What has to be known before the server's modules are loaded, and its flags."""
    rng = Random(seed ^ 0x5EED)
    return {"hurried": rng.random() < 0.6, "sync": rng.choice(("always", "always", "interval", "never"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--answers", type=int, default=2000, help="before a kill, at most")
    parser.add_argument("--group", default="", help="VERSION:DIRECTORY of a memory group to be killed in")
    options = parser.parse_args()
    chosen = variant(options.seed)
    version, _, directory = options.group.partition(":")
    group = MemoryGroup(int(version), directory) if directory else None
    if chosen["hurried"]:
        hurry()
    servers.load()
    folder = options.folder / f"life-{options.seed}"
    tally = live(options.seed, options.kills, folder, answers_max=options.answers, sync=chosen["sync"], group=group)
    print(json.dumps(vars(tally)), flush=True)
    return 1 if tally.violation else 0


if __name__ == "__main__":
    sys.exit(main())
