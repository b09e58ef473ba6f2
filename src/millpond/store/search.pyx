"""The first or the last message under filters, in steps.

    rows that are near ──> every subject: where may a message be that matches? ──> rows from there on

A wildcard that matches much is found among the rows that are near. A rare one costs its stream's subjects, not its
messages. What the subjects say is a bound and no answer: messages that leave between two steps only make it wider
than it had to be, and what comes lies behind the range that is searched.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from millpond.store.api cimport Filters, Store, SubjectWalk

from millpond.base import limits

cdef enum:
    ROWS_NEAR = 1024                 # searched before the subjects are asked, besides one row per subject

cdef uint64_t STEP_LOOKS = limits.SEARCH_STEP_ROWS
cdef uint64_t EVERYTHING = 0xFFFFFFFFFFFFFFFF


cdef class Search:
    """See the head of this file."""

    def __init__(self, Store store, Filters filters):
        self._store, self._filters = store, filters

    cdef void begin(self, uint64_t from_seq, uint64_t to_seq, bint down) noexcept:
        self.found, self._down = 0, down
        self._low = max(from_seq, self._store.state.first_seq)
        self._high = min(to_seq, self._store.state.last_seq)
        self._near = ROWS_NEAR + self._store.state.num_subjects
        self._lowest, self._highest = EVERYTHING, 0
        memset(&self._subjects, 0, sizeof(SubjectWalk))

    cdef bint is_short(self) noexcept:
        cdef uint64_t looks = ROWS_NEAR + 2 * self._store.state.num_subjects
        return self._filters.all or self._filters.literal or min(looks, self._store.state.messages) <= STEP_LOOKS

    cdef bint step(self, uint64_t* looks) noexcept:
        cdef uint64_t used
        while self._low <= self._high:
            if looks[0] == 0:
                return True
            if self._near:
                used = self._look(min(looks[0], self._near))
                if self.found:
                    self._low = self._high + 1
            else:
                used = self._ask_subjects(looks[0])
            looks[0] -= min(used, looks[0])
        return False

    cdef uint64_t _look(self, uint64_t rows) noexcept:
        """How many rows that took, at most."""
        cdef uint64_t resume = 0, low = self._low, high = self._high
        if self._down:
            self.found = self._store.search_down(high, low, self._filters, rows, &resume)
            self._high = resume
        else:
            self.found = self._store.search(low, high, self._filters, rows, &resume)
            self._low = resume or high + 1
        if self._near != EVERYTHING:
            self._near -= rows
        if not self.found:
            return rows
        return min(rows, high - self.found + 1 if self._down else self.found - low + 1)

    cdef uint64_t _ask_subjects(self, uint64_t looks) noexcept:
        cdef uint64_t used = self._store.bounds_part(self._filters, self._low, self._high, &self._subjects, looks,
                                                     &self._lowest, &self._highest)
        if self._subjects.done:
            self._low, self._high, self._near = self._lowest, self._highest, EVERYTHING
        return used

    # --- Python's door ---

    def begin_between(self, uint64_t from_seq, uint64_t to_seq, bint down=False):
        """begin()"""
        self.begin(from_seq, to_seq, down)

    def go_on(self, uint64_t looks):
        """step(); (is there more, looks that are left)"""
        more = self.step(&looks)
        return more, looks
