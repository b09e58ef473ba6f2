"""A session that ends with a million subscriptions takes seconds to forget; nobody shall wait for that.

They are closed at once: nothing is delivered to them any more. Their places in the trie go in portions.
"""

from millpond.base import limits

cdef int AT_ONCE = limits.SUBSCRIPTIONS_REMOVED_PER_TURN


cdef class Leavers(Phase):
    """One account's."""

    def __init__(self, Sublist sublist, Turn turn):
        self._sublist = sublist
        self._turn = turn
        self._waiting = []
        turn.add_pump(self)

    cdef int add(self, dict subs) except -1:
        """Takes the dictionary over. Few subscriptions are gone when this returns."""
        self._waiting.append(subs)
        if len(subs) <= AT_ONCE and len(self._waiting) == 1:
            self.run()
        else:
            self._turn.wake()
        return 0

    cdef int run(self) except -1:
        cdef int left = AT_ONCE
        cdef dict subs
        while self._waiting:
            subs = self._waiting[len(self._waiting) - 1]
            while subs:
                if left == 0:
                    return 1
                left -= 1
                self._sublist.remove(subs.popitem()[1])
            self._waiting.pop()
            self._sublist.forget()                   # cached Matches may hold some of them
        return 0
