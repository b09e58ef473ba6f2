"""`$JS.API.ACCOUNT.PURGE.<account>`: all that an account has of JetStream goes, or what it has left on the disk.

    a share of its streams is deleted  ->  when they are gone, the next share  ->  what could not be read at the start
    is removed, a step at a time  ->  done

An account that has no streams here any more, or never had, has at most files; they go in the same way. One purge of an
account at a time: who asks meanwhile waits, for there may be new streams. Whoever begins or ends to serve the account
ends its purge: the files are somebody else's from there on.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from functools import partial

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream.engine import Engine
from millpond.jetstream.offline import Offline
from millpond.jetstream.storage import Storage
from millpond.jetstream.stream import Stream
from millpond.server.logs import log
from millpond.store.committer import tell_all

Done = Callable[[str], None]
"""Called when nothing is left, with "", or with the reason why something is."""


class AccountPurge:
    """Of one account. engine: what serves its streams, None: nothing does. rest: removes what is left besides, and
    tells what became of it. `done` is called once, unless it is dropped before."""

    def __init__(
        self, engine: Engine | None, rest: Callable[[Done], None], account: str, loop: AbstractEventLoop, done: Done
    ) -> None:
        self._engine = engine
        self._rest = rest
        self._account = account
        self._loop = loop
        self._done: Done | None = done
        self._doomed: list[Stream | Offline] = []
        if engine is not None:
            self._doomed = [*engine.streams.values(), *engine.offline.values()]
        self._under_way = 0

    def step(self) -> None:
        """Do a share of the work; the next ones follow by themselves."""
        if self._done is None:
            return
        try:
            self._delete_share() if self._doomed else self._rest(self._removed)
        except ApiError as error:
            self._fail(str(error))

    def drop(self) -> None:
        """Nothing more is done, and nobody is told."""
        self._done = None

    def end(self, reason: str) -> None:
        """Nothing more is done."""
        done, self._done = self._done, None
        if done is not None:
            done(reason)

    def _fail(self, failure: str) -> None:
        if self._done is not None:
            log.error("what account %s has cannot be removed: %s", self._account, failure)
            self.end(failure)

    def _delete_share(self) -> None:
        """Streams with their consumers. Those that somebody else has deleted meanwhile are none any more."""
        engine, left = self._engine, limits.DELETIONS_PER_STEP
        assert engine is not None, "it has streams"
        self._under_way = 1                              # this call: some are gone before it ends
        while self._doomed and left > 0:
            each = self._doomed.pop()
            left -= len(each.consumers) + (1 if each.config.storage == "memory" else limits.FILES_PER_DELETION)
            if isinstance(each, Stream) and engine.streams.get(each.name) is each:
                self._under_way += 1
                engine.delete_stream(each, self._deleted)
            elif isinstance(each, Offline) and engine.offline.get(each.config.name) is each:
                self._under_way += 1
                engine.delete_offline(each, self._deleted)
        self._deleted("")

    def _deleted(self, failure: str) -> None:
        if failure:
            self._fail(failure)
            return
        self._under_way -= 1
        if not self._under_way and self._done is not None:
            self._loop.call_soon(self.step)

    def _removed(self, failure: str) -> None:
        if failure:
            self._fail(failure)
        else:
            self.end("")


class Purges:
    """Of one server. `engine(account)`: what serves its streams in this moment; `rest(account, done)`: removes what is
    left besides."""

    def __init__(
        self, engine: Callable[[str], Engine | None], rest: Callable[[str, Done], None], loop: AbstractEventLoop,
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._rest = rest
        self._loop = loop
        self._wake = wake
        self._running: dict[str, AccountPurge] = {}
        self._waiting: dict[str, list[Done]] = {}

    def add(self, account: str, done: Done) -> None:
        """Purge it, after a purge that is under way: those who wait for that are answered together."""
        if account in self._running:
            self._waiting.setdefault(account, []).append(done)
        else:
            self._start(account, [done])

    def _start(self, account: str, askers: list[Done]) -> None:
        def ended(reason: str) -> None:
            tell_all(askers, reason)
            del self._running[account]               # who has asked again just now waits
            self._wake()
            waiting = self._waiting.pop(account, [])
            if waiting:
                self._start(account, waiting)

        rest = partial(self._rest, account)
        purge = AccountPurge(self._engine(account), rest, account, self._loop, ended)
        self._running[account] = purge
        purge.step()

    def reconfigured(self, account: str) -> None:
        """Somebody begins to serve it, or serves it no longer."""
        waiting = self._waiting.pop(account, [])
        if account in self._running:
            self._running[account].end("account was reconfigured")
        tell_all(waiting, "account was reconfigured")

    def close(self) -> None:
        """The server stops: what is left stays, and nobody is there to be told."""
        self._waiting.clear()
        for purge in self._running.values():
            purge.drop()
        self._running.clear()


def remove_leftovers(storage: Storage, wake: Callable[[], object], loop: AbstractEventLoop, done: Done) -> None:
    """Remove all that is in the storage of an account whose streams do not run. `wake` has its committer run."""

    def in_steps(step: Callable[[], bool]) -> None:
        if step():
            loop.call_soon(in_steps, step)
        else:
            wake()

    def removed(failure: str) -> None:
        if failure:
            log.error("what an account has left cannot be removed: %s", failure)
        storage.when_released(partial(done, failure))

    try:
        storage.remove_all(removed, in_steps)
    except OSError as error:
        removed(str(error))
    wake()
