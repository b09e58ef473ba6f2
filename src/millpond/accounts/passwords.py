"""Passwords: compared in constant time, and bcrypt hashes in a thread of their own (reference 02.1).

A bcrypt comparison takes a tenth of a second by design, and lets go of the interpreter meanwhile. A thread for every
two cores does them, the first one from the first hash on that is to be verified; so does the import of bcrypt.

Who tries many passwords keeps nobody else waiting: client addresses have their turns, and in each of them its users.

    address 10.0.0.7    user a: 1 2 3 4 5 6 ...      1 of the first address, 9 of the second, 8 of the first,
                        user b: 8                    2 of the first ...
    address 10.0.0.8    user b: 9

There is room for PASSWORDS_WAITING_MAX; when it is full, the address with most of them gives up its last one.
Clients that show the same password of the same user share one comparison, so that many may come back at once.
"""

from __future__ import annotations

import os
import re
from _operator import _compare_digest as same_secret  # hmac's own, without the 4 MiB of OpenSSL behind it
from collections.abc import Callable
from typing import Any, Final

import msgspec

from millpond.base import limits

BCRYPT: Final = re.compile(r"\$2[abxy]\$\d{2}\$.*")

Post = Callable[..., object]
"""`post(function, *arguments)`: has the loop's thread call it."""
Done = Callable[[bool | None], None]
IPV6_NETWORK_GROUPS: Final = 4
"""The first 64 bits of an address of IPv6 are a network; whoever has one has all addresses in it."""


class Attempt(msgspec.Struct, frozen=True):
    """A password that can only be verified by bcrypt. `identity` is the answer if it is right."""

    identity: Any
    hashed: str
    password: str

    def __repr__(self) -> str:
        return "Attempt(...)"


def is_hash(secret: str) -> bool:
    """Is this stored secret a bcrypt hash?"""
    return BCRYPT.fullmatch(secret) is not None


def same(secret: str, given: str) -> bool:
    """Two texts, in time that says nothing about where they differ."""
    return same_secret(secret.encode("utf-8", "surrogatepass"), given.encode("utf-8", "surrogatepass"))


def verify(hashed: str, password: str) -> bool:
    """bcrypt's verdict; False also for a hash that is none."""
    import bcrypt

    # The variants differ in old faults of other programs; all are read as the one without.
    hashed_bytes = b"$2b$" + hashed[4:].encode("utf-8", "surrogatepass")
    try:
        return bcrypt.checkpw(password.encode("utf-8", "surrogatepass")[: limits.BCRYPT_BYTES_MAX], hashed_bytes)
    except ValueError:
        return False


class Job:
    """A password that waits to be compared."""

    __slots__ = ("attempt", "begun", "done", "origin")

    def __init__(self, attempt: Attempt, origin: str, done: Done) -> None:
        self.attempt, self.origin, self.done = attempt, origin, done
        self.begun = False
        """A thread is at it, or was."""

    @property
    def secret(self) -> tuple[str, str]:
        """What is compared."""
        return self.attempt.hashed, self.attempt.password


class Line:
    """Jobs in a fair order: whose turn it is comes first in each of the two tables."""

    def __init__(self) -> None:
        self._origins: dict[str, dict[str, dict[Job, None]]] = {}
        self._counts: dict[str, int] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, job: Job) -> None:
        """To the end of its own user's, of its own address."""
        self._origins.setdefault(job.origin, {}).setdefault(job.attempt.hashed, {})[job] = None
        self._counts[job.origin] = self._counts.get(job.origin, 0) + 1
        self._size += 1

    def next(self) -> Job | None:
        """Out of the line, and its address and its user go to the end of theirs."""
        if not self._origins:
            return None
        origin, users = next(iter(self._origins.items()))
        user, jobs = next(iter(users.items()))
        job = next(iter(jobs))
        self._origins[origin] = self._origins.pop(origin)
        users[user] = users.pop(user)
        self.drop(job)
        return job

    def drop(self, job: Job) -> None:
        """Out of the line, wherever it is."""
        users = self._origins[job.origin]
        jobs = users[job.attempt.hashed]
        del jobs[job]
        if not jobs:
            del users[job.attempt.hashed]
        self._size -= 1
        self._counts[job.origin] -= 1
        if not users:
            del self._origins[job.origin], self._counts[job.origin]

    def crowded(self) -> str:
        """The address that has most jobs."""
        return max(self._counts, key=self._counts.__getitem__)

    def last_of(self, origin: str) -> Job:
        """What came last, of the user whose turn comes last."""
        return next(reversed(next(reversed(self._origins[origin].values()))))


class PasswordVerifier:
    """All but the comparisons happens in the loop's thread. `post` brings answers back there."""

    def __init__(self, post: Post, threads: int = 0, waiting_max: int = limits.PASSWORDS_WAITING_MAX) -> None:
        self._post = post
        self._threads_max = threads or max(1, (os.cpu_count() or 1) // 2)
        self._waiting_max = waiting_max
        self._threads = self._running = 0
        self._work: Any = None
        self._line = Line()
        self._same: dict[tuple[str, str], dict[Job, None]] = {}
        self._compares: set[tuple[str, str]] = set()

    def verify(self, attempt: Attempt, ip: str, done: Done) -> Job | None:
        """`done(right)` later, and `done(None)` when it had to give way; None: there is no room for it."""
        job = Job(attempt, origin_of(ip), done)
        if len(self._line) >= self._waiting_max:
            crowded = self._line.crowded()
            if crowded == job.origin:
                return None
            last = self._line.last_of(crowded)
            self.give_up(last)
            last.done(None)
        self._same.setdefault(job.secret, {})[job] = None
        if job.secret in self._compares:
            job.begun = True  # the answer is on its way
        else:
            self._line.add(job)
            self._begin()
        return job

    def give_up(self, job: Job) -> None:
        """Nobody waits for it any more; `done` is not called."""
        same = self._same.get(job.secret, {})
        if job not in same:
            return
        del same[job]
        if not job.begun:
            self._line.drop(job)
        if not same:
            del self._same[job.secret]

    def _begin(self) -> None:
        while self._running < self._threads_max and (job := self._line.next()) is not None:
            for other in self._same[job.secret]:
                if other is not job:
                    self._line.drop(other)
                other.begun = True
            self._compares.add(job.secret)
            if self._threads == self._running:
                self._start_thread()
            self._running += 1
            self._work.put(job.attempt)

    def _start_thread(self) -> None:
        from queue import SimpleQueue
        from threading import Thread

        if self._work is None:
            self._work = SimpleQueue()
        self._threads += 1
        Thread(target=self._run, args=(self._work,), name="millpond-passwords", daemon=True).start()

    def _run(self, work: Any) -> None:
        while (attempt := work.get()) is not None:
            try:
                self._post(self._compared, attempt, verify(attempt.hashed, attempt.password))
            except RuntimeError:  # the loop is closed
                return

    def _compared(self, attempt: Attempt, right: bool) -> None:
        secret = attempt.hashed, attempt.password
        same = self._same.pop(secret, {})
        self._compares.discard(secret)
        self._running -= 1
        self._begin()
        for job in same:
            job.done(right)

    def close(self) -> None:
        """The threads end behind what they do now."""
        for _ in range(self._threads):
            self._work.put(None)
        self._threads = 0
        self._work = None
        self._line, self._same = Line(), {}


def origin_of(ip: str) -> str:
    """The address, or the network of an IPv6 one."""
    if ":" not in ip:
        return ip
    from ipaddress import ip_address

    try:
        return ":".join(ip_address(ip.partition("%")[0]).exploded.split(":")[:IPV6_NETWORK_GROUPS])
    except ValueError:
        return ip
