"""Has what was committed written down beside the files, for the day when one of them is missing (store/witness.pyx)."""

from __future__ import annotations

import asyncio

from millpond.base import limits
from millpond.store.committer import Committer


class Testimonies:
    """Soon after a commit, once for all that come meanwhile, and a few files in each turn. `close()` ends that."""

    def __init__(self, committer: Committer, loop: asyncio.AbstractEventLoop) -> None:
        self._committer, self._loop = committer, loop
        self._next: asyncio.Handle | None = None
        committer.on_owing = self._later

    def _later(self) -> None:
        if self._next is None:
            self._next = self._loop.call_later(limits.TESTIMONY_S, self._testify)

    def _testify(self) -> None:
        self._next = None
        if self._committer.py_stands_still():
            self._later()
        elif self._committer.testify(limits.TESTIMONIES_PER_STEP):
            self._next = self._loop.call_soon(self._testify)

    def close(self) -> None:
        self._committer.on_owing = None
        if self._next is not None:
            self._next.cancel()
            self._next = None
