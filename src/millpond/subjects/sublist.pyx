"""Subscriptions by subject: a trie of tokens, and a bounded cache of results in front of it.

A node of the trie holds the list of interests in its filter. The cache maps literal subjects to `Match` objects; an entry is good while its
generation is the sublist's. It is a table of fixed size: a newer subject takes the place of an older one, but
only when it is asked for twice. A subject that is used once, as most replies are, is looked up in the trie and
makes no `Match`, which would cost more than the message.

Cached Matches hold references to interests, also to some that have gone: together at most REFS_MAX, and none
from before the last change once a new Match is kept.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from millpond.structures.hashing cimport hash_text, same_text
from millpond.subjects cimport trie
from millpond.subjects.tokens cimport has_empty_token
from millpond.subjects.trie cimport Node, Walk

from millpond.base import limits

cdef enum:
    CACHE_SLOTS = 1024

cdef uint64_t KEY = int.from_bytes(os.urandom(8), "little")
cdef uint64_t REFS_MAX = limits.MATCH_CACHE_REFS_MAX


cdef inline PyObject* _cached(Sublist sublist, CacheSlot* slot, uint32_t h, const char* s, uint32_t n) noexcept:
    if (slot.match != NULL and slot.hash == h and slot.subject_len == n and same_text(slot.subject, s, n)
            and (<Match>slot.match).generation == sublist.generation):
        return slot.match
    return NULL


cdef bint _add_plain(Node* node, Found* found) noexcept:
    cdef list interests = <list>node.interests
    cdef Py_ssize_t i, n = PyList_GET_SIZE(interests)
    cdef PyObject* interest
    if found.count + n > FOUND_MAX:
        return False
    for i in range(n):
        interest = PyList_GET_ITEM(interests, i)
        if PyBytes_GET_SIZE((<Interest>interest).queue):
            return False
        found.plain[found.count] = interest
        found.count += 1
    return True


cdef bint _collect_plain(Node* root, const char* s, uint32_t n, Found* found) except -1:
    """All interests in a subject, into `found`. False: there are too many, or queue groups."""
    cdef Walk walk
    cdef Node* node
    cdef bint enough = True
    trie.begin(&walk, root, s, n)
    try:
        while enough:
            node = trie.advance(&walk)
            if node == NULL:
                break
            enough = _add_plain(node, found)
    finally:
        trie.finish(&walk)
    return enough


cdef class Interest:
    """Base of everything that can be put into a Sublist."""

    def __cinit__(self):
        self._at = -1

    def __init__(self, bytes subject, bytes queue=b""):
        self.subject = subject
        self.queue = queue


cdef class Match:
    """The interests in one literal subject."""


cdef int _sort_into(Match match, list interests) except -1:
    cdef Interest interest
    for interest in interests:
        match.refs += 1
        if not interest.queue:
            match.plain.append(interest)
            continue
        if match._by_queue is None:
            match._by_queue = {}
        if interest.queue not in match._by_queue:
            match._by_queue[interest.queue] = []
            match.groups.append(match._by_queue[interest.queue])
        (<list>match._by_queue[interest.queue]).append(interest)
    return 0


cdef class Sublist:
    """One account's subscriptions."""

    def __cinit__(self):
        self._trie = trie.new_node()
        self._cache = <CacheSlot*>calloc(CACHE_SLOTS, sizeof(CacheSlot))
        self._used = <uint16_t*>calloc(CACHE_SLOTS, sizeof(uint16_t))
        if self._cache == NULL or self._used == NULL:
            raise MemoryError("no memory for the subject cache")
        self.generation = 1

    def __dealloc__(self):
        if self._cache != NULL and self._used != NULL:
            self.forget()
        free(self._cache)
        free(self._used)
        trie.free_tree(self._trie)

    cdef int insert(self, Interest interest) except -1:
        cdef Node* node
        cdef list interests
        assert interest._at < 0, "an interest is in one sublist, once"
        node = trie.grow(self._trie, PyBytes_AS_STRING(interest.subject), <uint32_t>PyBytes_GET_SIZE(interest.subject))
        if node.interests == NULL:
            interests = []
            Py_INCREF(interests)
            node.interests = <PyObject*>interests
        interests = <list>node.interests
        interest._at = PyList_GET_SIZE(interests)
        interests.append(interest)
        self.generation += 1
        self.stats.subscriptions += 1
        self.stats.inserts += 1
        return 0

    cdef bint remove(self, Interest interest) except -1:
        cdef const char* s = PyBytes_AS_STRING(interest.subject)
        cdef uint32_t n = <uint32_t>PyBytes_GET_SIZE(interest.subject)
        cdef Node* node = trie.find(self._trie, s, n)
        cdef list interests
        cdef Interest last
        if interest._at < 0 or node == NULL or node.interests == NULL:
            return False
        interests = <list>node.interests
        if interest._at >= PyList_GET_SIZE(interests) or interests[interest._at] is not interest:
            return False
        last = interests.pop()
        if last is not interest:
            interests[interest._at] = last
            last._at = interest._at
        interest._at = -1
        if not interests:
            node.interests = NULL
            Py_DECREF(interests)
            trie.prune(self._trie, s, n)
        self.generation += 1
        self.stats.subscriptions -= 1
        self.stats.removes += 1
        return True

    cdef Match match(self, const char* subject, uint32_t subject_len):
        cdef uint32_t h = hash_text(subject, subject_len, KEY)
        cdef CacheSlot* slot = &self._cache[h & (CACHE_SLOTS - 1)]
        cdef PyObject* cached = _cached(self, slot, h, subject, subject_len)
        cdef Match match
        self.stats.matches += 1
        if cached != NULL:
            self.stats.cache_hits += 1
            return <Match>cached
        match = self._build(subject, subject_len)
        if subject_len <= CACHE_SUBJECT_MAX:
            self._keep(slot, h, subject, subject_len, match)
        return match

    cdef int _keep(self, CacheSlot* slot, uint32_t h, const char* subject, uint32_t subject_len,
                   Match match) except -1:
        if self._used_count and (<Match>self._cache[self._used[0]].match).generation != self.generation:
            self.forget()                    # all of them are of one generation
        if slot.match != NULL:
            self._refs -= (<Match>slot.match).refs
        if self._refs + match.refs > REFS_MAX:
            self.forget()
            if match.refs > REFS_MAX:
                return 0
        if slot.match == NULL:
            self._used[self._used_count] = <uint16_t>(slot - self._cache)
            self._used_count += 1
            self.stats.cached += 1
        else:
            Py_DECREF(<object>slot.match)
        Py_INCREF(match)
        slot.match = <PyObject*>match
        self._refs += match.refs
        slot.hash, slot.subject_len = h, subject_len
        memcpy(slot.subject, subject, subject_len)
        return 0

    cdef int forget(self) except -1:
        cdef CacheSlot* slot
        while self._used_count:
            self._used_count -= 1
            slot = &self._cache[self._used[self._used_count]]
            Py_DECREF(<object>slot.match)
            slot.match = NULL
        self._refs = 0
        self.stats.cached = 0
        return 0

    cdef Match resolve(self, const char* subject, uint32_t subject_len, Found* found):
        cdef uint32_t h = hash_text(subject, subject_len, KEY)
        cdef CacheSlot* slot = &self._cache[h & (CACHE_SLOTS - 1)]
        cdef PyObject* cached = _cached(self, slot, h, subject, subject_len)
        cdef uint64_t missed = <uint64_t>h << 32 | <uint32_t>self.generation
        found.count = 0
        if cached != NULL:
            self.stats.matches += 1
            self.stats.cache_hits += 1
            return <Match>cached
        if slot.missed != missed:
            slot.missed = missed
            if has_empty_token(subject, subject_len) or _collect_plain(self._trie, subject, subject_len, found):
                self.stats.matches += 1
                return None
            found.count = 0
        return self.match(subject, subject_len)

    cdef Match _build(self, const char* subject, uint32_t subject_len):
        cdef Match match = Match.__new__(Match)
        cdef Walk walk
        cdef Node* node
        match.plain, match.groups = [], []
        match.generation = self.generation
        if has_empty_token(subject, subject_len):
            return match
        trie.begin(&walk, self._trie, subject, subject_len)
        try:
            while True:
                node = trie.advance(&walk)
                if node == NULL:
                    break
                _sort_into(match, <list>node.interests)
        finally:
            trie.finish(&walk)
        match._by_queue = None
        return match

    cdef bint has_interest(self, const char* subject, uint32_t subject_len) except -1:
        cdef Found found
        cdef Match match = self.resolve(subject, subject_len, &found)
        if match is None:
            return found.count > 0
        return PyList_GET_SIZE(match.plain) > 0 or PyList_GET_SIZE(match.groups) > 0

    cdef bint overlaps(self, const char* filter, uint32_t filter_len) except -1:
        return filter_len > 0 and trie.overlaps(self._trie, filter, filter_len)

    # --- Python's door: tests and monitoring ---

    def add(self, Interest interest):
        """Insert one interest."""
        self.insert(interest)

    def discard(self, Interest interest):
        """Remove one interest; False when it was not there."""
        return bool(self.remove(interest))

    def find(self, bytes subject):
        """The Match of a literal subject."""
        return self.match(subject, <uint32_t>len(subject))

    def plain(self, bytes subject):
        """What `resolve` collected without a Match; None when it made one."""
        cdef Found found
        cdef Match match = self.resolve(subject, <uint32_t>len(subject), &found)
        return None if match is not None else [<Interest>found.plain[i] for i in range(found.count)]

    def has_overlap(self, bytes filter):
        """Is there a subscription that shares a subject with `filter`?"""
        return bool(self.overlaps(filter, <uint32_t>len(filter)))

    def statistics(self):
        """Counters since the start, as in /subsz."""
        return self.stats

    def fanout(self):
        """(largest, sum) of the receivers of the cached subjects, as in /subsz."""
        cdef Py_ssize_t most = 0, total = 0, size
        cdef Match match
        cdef uint32_t i
        for i in range(self._used_count):
            match = <Match>self._cache[self._used[i]].match
            size = len(match.plain) + len(match.groups)
            most, total = max(most, size), total + size
        return most, total

    def interests(self):
        """Every interest, in no order."""
        found = []
        trie.gather(self._trie, found)
        return found

    @property
    def refs(self):
        """Interests that the cache holds, counted once for each Match they are in."""
        return self._refs
