"""What is done, and how much of the time each part gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from . import ours, side_by_side
from .servers import OURS, Kind, reference
from .table import Row

Progress = Callable[[str], None]
Act = Callable[[float, int, Progress], Row]
"""(seconds, seed, progress)"""


class Part(NamedTuple):
    """`share`: of the time, in minutes of twenty."""

    name: str
    share: float
    act: Act


SHARES: Final = {
    "simulated": 2.5, "traced": 1.25, "kills": 1.75, "oom": 1.0, "full": 1.0, "stalled": 0.25, "failing": 0.5,
    "damage": 1.75, "repairs": 1.0, "syscalls": 1.5,
}  # fmt: skip
ACTS: Final = {
    "kill": (side_by_side.kills, 0.5), "cut": (side_by_side.power_cuts, 0.9), "flip": (side_by_side.flips, 0.7),
    "disk": (side_by_side.full_disks, 0.3),
}  # fmt: skip
"""On each server; flipped bits and full disks not twice on the same one with another sync."""


def _campaign(name: str) -> Act:
    return lambda seconds, seed, progress: ours.run(name, seconds, seed, progress)


def _beside(act: Callable[[Kind, float, int, Progress], Row], kind: Kind) -> Act:
    return lambda seconds, seed, progress: act(kind, seconds, seed, progress)


def parts() -> list[Part]:
    """In their order."""
    found = [Part(name, share, _campaign(name)) for name, share in SHARES.items()]
    found.append(Part("faults", 2.0, ours.seeded_faults))
    for name, (act, share) in ACTS.items():
        for kind in [OURS, *reference()]:
            if name in ("kill", "cut") or not kind.name.endswith("always"):
                found.append(Part(name, share, _beside(act, kind)))
    return found
