"""What may become of each call, and the plan of one run: which call is refused, with what, and for how long."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

REFUSALS: Final = {
    "open": (errno.EIO, errno.EMFILE), "make": (errno.EIO, errno.ENOSPC, errno.EMFILE),
    "mkdir": (errno.EIO, errno.ENOSPC), "rmdir": (errno.EIO,),
    "unlink": (errno.EIO,), "rename": (errno.EIO, errno.ENOSPC),
    "read": (errno.EIO,), "look": (errno.EIO, errno.EMFILE), "free": (errno.EIO,),
    "write": (errno.EIO, errno.ENOSPC), "size": (errno.EIO, errno.ENOSPC), "reserve": (errno.EIO, errno.ENOSPC),
    "sync": (errno.EIO, errno.ENOSPC),
}  # fmt: skip
"""By the kinds of `numbered_disk`. What is interrupted, or done in part, never comes through the door (test_door)."""
LASTING: Final = (errno.ENOSPC, errno.EMFILE)
"""These may last: a disk stays full, descriptors stay used up."""
STEPS_OF_LASTING: Final = 4


class Call(NamedTuple):
    number: int
    kind: str
    path: str

    @property
    def file(self) -> str:
        """Which one, in words that are the same for all slots."""
        name = self.path.rpartition("/")[2]
        if name.startswith("log."):
            return "segment"
        return "slot" if name.isdigit() else name or "root"


class Fault(NamedTuple):
    """Call `number` is refused with `error`; `lasting`: so are others that may have that error, for some steps."""

    number: int
    error: int
    lasting: bool = False

    def __str__(self) -> str:
        return f"{errno.errorcode[self.error]}{' lasting' if self.lasting else ''} at call {self.number}"


def possible(call: Call) -> list[Fault]:
    found = []
    for error in REFUSALS[call.kind]:
        found.append(Fault(call.number, error))
        if error in LASTING:
            found.append(Fault(call.number, error, True))
    return found


class Plan:
    """Give it to a `Server`, which asks it before each call. `calls`: those that were made."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault, self.calls = fault, list[Call]()
        self.fired: Call | None = None
        self.refused: list[Call] = []
        self.active = False
        """It lasts."""
        self._steps_left = STEPS_OF_LASTING
        self._blind = False

    def __call__(self, number: int, kind: str, path: str) -> int:
        if self._blind:
            return 0
        call = Call(number, kind, path)
        self.calls.append(call)
        if self.fault is None or (self.fired is not None and not self.active):
            return 0
        if self.fired is None:
            if number != self.fault.number:
                return 0
            self.fired, self.active = call, self.fault.lasting
        elif self.fault.error not in REFUSALS[kind]:
            return 0
        self.refused.append(call)
        return self.fault.error

    def step(self) -> None:
        """A step of the script begins."""
        if self.active:
            self._steps_left -= 1
            self.active = self._steps_left > 0

    @contextmanager
    def blind(self) -> Iterator[None]:
        """What the judge reads is no part of the script."""
        self._blind = True
        try:
            yield
        finally:
            self._blind = False

    def heal(self) -> None:
        self.active = False

    def spoils(self, slot: str) -> bool:
        """May what lies in this slot refuse everything until a restart?"""
        return self.fault is not None and any(
            f"{call.path}/".startswith(f"{slot}/") and (self.fault.error == errno.EIO or call.kind == "sync")
            for call in self.refused
        )

    def __str__(self) -> str:
        if self.fault is None:
            return "no fault"
        where = f": {self.fired.kind} {self.fired.path}" if self.fired is not None else ""
        return f"{self.fault} ({os.strerror(self.fault.error)}){where}"
