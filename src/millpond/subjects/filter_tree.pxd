# Many filters that are asked together.
from libc.stdint cimport uint32_t
from millpond.subjects.trie cimport Node

cdef class FilterTree:
    cdef Node* _root
    cdef int add(self, bytes filter) except -1           # twice is once
    cdef int discard(self, bytes filter) except -1
    # Does a literal subject without empty tokens fall under any of them?
    cdef bint matches(self, const char* subject, uint32_t subject_len) except *
    # Is there a subject that `filter` and any of them match?
    cdef bint overlaps(self, bytes filter) except *
    # Does any of them, other than `filter` itself, match all that `filter` matches?
    cdef bint covers(self, bytes filter) except *
