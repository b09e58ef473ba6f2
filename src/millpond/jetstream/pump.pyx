"""JetStream's two phases of a turn.

Commit writes what the intake gathered and lets streams answer. Pump visits every ready consumer once per
turn, in the order in which they became ready; who has more to deliver goes to the end of the rotation, so
one full consumer cannot starve the others; one whose receiver is behind waits for that, and nobody else does. Push
consumers that nobody listens to are watched: they are asked to look again in the turn in which subscriptions have
changed.
"""

import logging

from libc.stdint cimport int64_t, uint32_t

from millpond.broker.router cimport Router
from millpond.broker.turn cimport Phase
from millpond.jetstream.follower cimport Follower
from millpond.store.committer cimport Committer

from millpond.base import limits

cdef uint32_t MESSAGES_BUDGET = limits.PUMP_MESSAGES_PER_CONSUMER
cdef uint32_t BYTES_BUDGET = limits.PUMP_BYTES_PER_CONSUMER


log = logging.getLogger("millpond")


cdef class Settler(Sink):
    """Override `settle`."""

    cdef int settle(self) except -1:
        raise NotImplementedError(type(self).__name__)


cdef int _settle(Settler stream) except -1:
    """One stream's failure is its own."""
    try:
        stream.settle()
    except Exception:
        log.exception("answers of %r failed", stream)
    return 0


cdef int _deliver(Follower member) except -1:
    """One consumer's failure is its own: it is logged and the rotation goes on."""
    try:
        return member.pump(MESSAGES_BUDGET, BYTES_BUDGET)
    except Exception:
        log.exception("consumer %s failed to deliver", member.name)
        return 0


cdef int _step(Phase member) except -1:
    """So is the failure of longer work."""
    try:
        return member.run()
    except Exception:
        log.exception("a step of %s failed", type(member).__name__)
        return 0


cdef class CommitPhase(Phase):
    """Runs the group commit, then every stream that owes answers."""

    def __init__(self, Committer committer):
        self.committer = committer
        self._streams = []

    cdef int add(self, Settler stream) except -1:
        self._streams.append(stream)
        return 0

    cdef int run(self) except -1:
        cdef bint again = self.committer is not None and self.committer.run()
        if not self._streams:
            return again
        cdef list streams = self._streams
        self._streams = []
        for stream in streams:
            _settle(<Settler>stream)
        return 1 if again or self._streams else 0

    cdef bint waits_longer(self, int64_t ns) noexcept:
        return self.committer is not None and self.committer.waits_longer(ns)


cdef class Pump(Phase):
    """Rotation over what is ready to deliver."""

    def __init__(self):
        self._ready = []
        self._queued = set()
        self._watched = {}

    cdef int add(self, object consumer) except -1:
        cdef object key = id(consumer)
        if key not in self._queued:
            self._queued.add(key)
            self._ready.append(consumer)
        return 0

    cdef int watch(self, object follower, Router router) except -1:
        self._router = router
        self._watched[follower] = None
        return 0

    cdef int forget(self, object follower) except -1:
        self._watched.pop(follower, None)
        return 0

    cdef int _tell_watched(self) except -1:
        if self._generation != self._router.sublist.generation:
            self._generation = self._router.sublist.generation
            for member in list(self._watched):
                (<Follower>member).interest_changed()
        return 0

    cdef int run(self) except -1:
        if self._watched:
            self._tell_watched()
        if not self._ready or self._is_full():
            return 0                     # a full output empties in a later turn, which comes here again
        cdef list ready = self._ready
        cdef int more
        cdef Py_ssize_t waiting = 0
        self._ready, self._queued = [], set()
        for member in ready:
            if self._is_full() or (isinstance(member, Follower) and (<Follower>member).must_wait()):
                waiting += 1
                self.add(member)
                continue
            if isinstance(member, Follower):
                (<Follower>member).queued = False
                more = _deliver(<Follower>member)
            else:
                more = _step(<Phase?>member)
            if more:
                self.add(member)
        return 1 if len(self._ready) > waiting else 0

    cdef bint _is_full(self) noexcept:
        return self.output is not None and self.output.is_over_share()
