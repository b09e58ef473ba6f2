"""Passwords: compared in constant time, and bcrypt hashes in a thread of their own (reference 02.1).

A bcrypt comparison takes a tenth of a second by design, and lets go of the interpreter meanwhile. One thread does
them, in order: whoever tries many passwords takes one core at most, but those behind wait as well. It starts with
the first hash that is to be verified, and so does the import of bcrypt.
"""

from __future__ import annotations

import re
from _operator import _compare_digest as same_secret  # hmac's own, without the 4 MiB of OpenSSL behind it
from collections.abc import Callable
from typing import Any, Final

import msgspec

from millpond.base import limits

BCRYPT: Final = re.compile(r"\$2[abxy]\$\d{2}\$.*")

Post = Callable[..., object]
"""`post(function, *arguments)`: has the loop's thread call it."""


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


class PasswordVerifier:
    """One thread. `post` brings answers back; nothing else is shared with it."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._work: Any = None

    def verify(self, attempt: Attempt, is_gone: Callable[[], bool], done: Callable[[bool], None]) -> None:
        """`done(right)` in the loop's thread, later; nothing is done for somebody who is gone."""
        if self._work is None:
            from queue import SimpleQueue
            from threading import Thread

            self._work = SimpleQueue()
            Thread(target=self._run, args=(self._work,), name="millpond-passwords", daemon=True).start()
        self._work.put((attempt, is_gone, done))

    def _run(self, work: Any) -> None:
        while (item := work.get()) is not None:
            attempt, is_gone, done = item
            if not is_gone():
                try:
                    self._post(done, verify(attempt.hashed, attempt.password))
                except RuntimeError:  # the loop is closed
                    return

    def close(self) -> None:
        """The thread ends behind what it does now."""
        if self._work is not None:
            self._work.put(None)
            self._work = None
