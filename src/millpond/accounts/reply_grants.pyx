"""Permission to answer, kept without an object per message.

A table of sets with GRANT_WAYS places each. A reply subject is known by a keyed 64-bit hash: nobody who picks
subjects can make two of them meet. Where a set is full of grants that still count, the table doubles; at its
greatest size the set's oldest grant is given up.
"""

import os

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from millpond.base import limits

cdef extern from "millpond/structures/siphash.h" nogil:
    void siphash128(const char* text, size_t size, const uint64_t* key, uint64_t* out)

cdef enum:
    GRANT_WAYS = 8
    SETS_FIRST = 4

cdef uint32_t SETS_MAX = limits.REPLY_GRANTS_MAX // GRANT_WAYS
cdef uint64_t[2] KEY = [int.from_bytes(os.urandom(8), "little"), int.from_bytes(os.urandom(8), "little")]


cdef inline uint64_t _key(const char* subject, uint32_t subject_len) noexcept nogil:
    cdef uint64_t[2] out
    siphash128(subject, subject_len, KEY, out)
    return out[0] if out[0] else 1


cdef class ReplyGrants:
    """`uses_max` times and `expire_ns` long for each subject; below 0: no bound."""

    def __init__(self, int64_t uses_max, int64_t expire_ns):
        self._uses_max, self._expire_ns = uses_max, expire_ns

    def __dealloc__(self):
        free(self._grants)

    cdef int grant(self, const char* subject, uint32_t subject_len, int64_t now_ns) except -1:
        cdef uint64_t key = _key(subject, subject_len)
        cdef Grant* place = self._find(key)
        cdef Grant* ways
        cdef int i
        while place == NULL:
            if self._sets:
                ways = &self._grants[<uint32_t>(key & (self._sets - 1)) * GRANT_WAYS]
                for i in range(GRANT_WAYS):
                    if self._is_over(&ways[i], now_ns):
                        place = &ways[i]
                        break
                    if self._sets == SETS_MAX and (place == NULL or ways[i].granted_ns < place.granted_ns):
                        place = &ways[i]
            if place == NULL:
                self._grow()
        place.key, place.granted_ns, place.used = key, now_ns, 0
        return 0

    cdef bint use(self, const char* subject, uint32_t subject_len, int64_t now_ns) except -1:
        cdef Grant* found = self._find(_key(subject, subject_len))
        if found == NULL:
            return False
        if self._is_over(found, now_ns):
            found.key = 0
            return False
        found.used += 1
        return True

    cdef Grant* _find(self, uint64_t key) noexcept:
        cdef Grant* ways
        cdef int i
        if self._sets:
            ways = &self._grants[<uint32_t>(key & (self._sets - 1)) * GRANT_WAYS]
            for i in range(GRANT_WAYS):
                if ways[i].key == key:
                    return &ways[i]
        return NULL

    cdef bint _is_over(self, Grant* grant, int64_t now_ns) noexcept:
        if grant.key == 0 or 0 <= self._uses_max <= grant.used:
            return True
        return 0 <= self._expire_ns < now_ns - grant.granted_ns

    cdef int _grow(self) except -1:
        """Twice as many sets; a set's grants go to its own number or to that plus the old count."""
        cdef uint32_t before = self._sets, i, j, home
        cdef uint32_t sets = before * 2 if before else SETS_FIRST
        cdef Grant* old = self._grants
        cdef Grant* grown = <Grant*>calloc(sets * GRANT_WAYS, sizeof(Grant))
        cdef uint32_t[2] filled
        assert sets <= SETS_MAX, "a full table gives up its oldest grants"
        if grown == NULL:
            raise MemoryError("no memory for reply grants")
        for i in range(before):
            filled[0] = filled[1] = 0
            for j in range(GRANT_WAYS):
                home = <uint32_t>(old[i * GRANT_WAYS + j].key & (sets - 1))
                if old[i * GRANT_WAYS + j].key:
                    grown[home * GRANT_WAYS + filled[home != i]] = old[i * GRANT_WAYS + j]
                    filled[home != i] += 1
        self._grants, self._sets = grown, sets
        free(old)
        return 0

    # --- Python's door, for tests ---

    def add(self, bytes subject, int64_t now_ns):
        """Grant one."""
        self.grant(subject, <uint32_t>len(subject), now_ns)

    def take(self, bytes subject, int64_t now_ns):
        """Use one."""
        return bool(self.use(subject, <uint32_t>len(subject), now_ns))

    @property
    def places(self):
        """How many grants there is room for."""
        return self._sets * GRANT_WAYS
