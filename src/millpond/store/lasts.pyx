"""The last message of each subject under filters, as of a sequence, in steps.

    every subject (or those that the filters name) ──> downwards through the messages, for subjects that go on behind it

What comes between two steps lies behind that sequence. Of what leaves, a part may be in the answer.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from millpond.store.api cimport Filters, Store, SubjectWalk

from millpond.base import limits

cdef uint64_t STEP_LOOKS = limits.SEARCH_STEP_ROWS
cdef uint64_t EVERYTHING = 0xFFFFFFFFFFFFFFFF


cdef class Lasts:
    """None above `up_to_seq`. More than `most` subjects (0: any number) are too many."""

    def __init__(self, Store store, Filters filters, uint64_t up_to_seq, uint64_t most):
        self._store, self._filters, self._up_to_seq, self._most = store, filters, up_to_seq, most
        self._found, self._later, self._at = set(), set(), up_to_seq
        memset(&self._walk, 0, sizeof(SubjectWalk))

    cdef bint is_short(self) noexcept:
        if self._filters.literal or self._filters.literals:
            return <uint64_t>len(self._filters.subjects) <= STEP_LOOKS
        return self._store.state.num_subjects <= STEP_LOOKS

    cdef bint step(self, uint64_t* looks) except -1:
        if not self._walk.done:
            if not self._store.lasts_of_part(self._filters, self._up_to_seq, &self._walk, looks, self._found,
                                             self._later, self._most):
                return False
            if not self._walk.done:
                return True
        if self._later and self._at:
            if looks[0] == 0:
                return True
            self._at = self._store.lasts_down(self._later, self._at, looks[0], self._found)
            looks[0] = 0
            if self._at:
                return True
        self.seqs = sorted(self._found)
        return False

    def go_on(self, uint64_t looks):
        """step()"""
        return self.step(&looks)


def last_of_each(Store store, subjects=(), uint64_t up_to_seq=0, uint64_t most=0):
    """Last sequence of each subject, in one step; None when there are more subjects than `most`. For tools and tests."""
    cdef Lasts lasts = Lasts(store, Filters(subjects), up_to_seq or store.state.last_seq, most)
    cdef uint64_t looks = EVERYTHING
    more = lasts.step(&looks)
    assert not more
    return lasts.seqs
