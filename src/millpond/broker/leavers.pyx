"""A session that ends with a million subscriptions takes seconds to forget; nobody shall wait for that.

They are closed at once: nothing is delivered to them any more. Their places in the trie go in portions.
"""

from millpond.base import limits

cdef int AT_ONCE = limits.SUBSCRIPTIONS_REMOVED_PER_TURN


cdef class Leavers(Phase):
    """All accounts'."""

    def __init__(self, Turn turn):
        self._turn = turn
        self._waiting = []
        turn.add_pump(self)

    cdef int add(self, Router router, dict subs) except -1:
        """Takes the dictionary over. Few subscriptions are gone when this returns."""
        self._waiting.append((router, subs))
        if len(subs) <= AT_ONCE and len(self._waiting) == 1:
            self.run()
        else:
            self._turn.wake()
        return 0

    cdef int run(self) except -1:
        cdef int left = AT_ONCE
        cdef Router router
        cdef dict subs
        while self._waiting:
            router, subs = self._waiting[len(self._waiting) - 1]
            while subs:
                if left == 0:
                    return 1
                left -= 1
                router.drop(subs.popitem()[1])
            self._waiting.pop()
            router.sublist.forget()                   # cached Matches may hold some of them
        return 0
