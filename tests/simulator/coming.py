"""Streams that come and go, as in the tests with real crashes: the same steps and rules, in a simulated world."""

from __future__ import annotations

from random import Random
from typing import Any

from ..crash.churn import NAMES, Churn, Found
from ..crash.model import Violation as Broken
from .history import Violation
from .world import World


class Coming(Churn):
    """`sent_at`, `answered_at`: by number of the step."""

    def __init__(self, world: World, rng: Random) -> None:
        super().__init__(rng)
        self.w = world
        self.sent_at: list[int] = []
        self.answered_at: dict[int, int] = {}
        self._waiting: dict[int, int] = {}
        self._refused: set[tuple[str, int]] = set()
        """Names and lives of which a step was refused by a disk that failed, or was full."""
        self._doubtful: set[int] = set()
        """Steps that were sent when it was full."""

    def act(self) -> None:
        self.sent_at.append(self.w.now)
        self._send(self, self._rng.choice(NAMES))  # type: ignore[arg-type]
        if self.w.is_full:
            self._doubtful.add(len(self.steps) - 1)

    def inbox(self, name: str) -> str:
        """As its own wire: nobody needs the name."""
        return name

    def publish(self, subject: str, body: bytes, reply: str) -> None:
        """The same: the step that was made last goes out."""
        self._waiting[self.w.publish(subject.encode(), body)] = len(self.steps) - 1

    def listen(self) -> None:
        for number in [number for number in self._waiting if number in self.w.taken]:
            step, (answer,) = self._waiting.pop(number), self.w.taken.pop(number)
            if b'"error"' in answer.body:
                if self.w.failed or step in self._doubtful or self.steps[step][::2] in self._refused:
                    self._refused.add(self.steps[step][::2])
                    continue
                raise Violation(f"{self.steps[step]} is answered {answer.body!r}")
            if self.steps[step][::2] not in self._refused:     # else what was asked of it means nothing
                self.answered_at[step] = answer.at

    def check(self, world: World, cut: int) -> None:
        then = Churn(Random(0))
        then.steps = [step for step, at in zip(self.steps, self.sent_at, strict=True) if at <= cut]
        try:
            then.verify(found_in(world), {step for step, at in self.answered_at.items() if at <= cut})
        except Broken as broken:
            raise Violation(str(broken)) from None


def found_in(world: World) -> dict[str, Found]:
    found = {}
    for name in NAMES:
        stream: Any = world.engine.streams.get(name)
        if stream is not None:
            life, _, updated = stream.config.description.partition(" ")
            found[name] = Found(int(life), stream.state()["messages"], len(stream.consumers), bool(updated))
    return found


