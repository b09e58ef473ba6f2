"""Subscriptions by subject: a trie of tokens in C, and a bounded cache of results in front of it.

A node holds the interests that end there and its children: one for '*', one for '>', the literal ones in an
open-addressing table. The cache maps literal subjects to `Match` objects; an entry is good while its
generation is the sublist's. It is a table of fixed size: a newer subject takes the place of an older one, but
only when it is asked for twice. A subject that is used once, as most replies are, is looked up in the trie and
makes no `Match`, which would cost more than the message.

    "a.*.c"   root --a--> node --*--> node --c--> node [interest]
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy
from millpond.structures.hashing cimport hash_text, same_text
from millpond.subjects.tokens cimport has_empty_token

cdef enum:
    CACHE_SLOTS = 1024
    CACHE_SUBJECT_MAX = 128

cdef struct Node:
    PyObject* interests          # list, or NULL
    Node* star
    Node* full
    Edge* edges                  # open addressing, power of two
    uint32_t edge_slots
    uint32_t edge_count

cdef struct Edge:
    char* token                  # NULL = free
    uint32_t token_len
    uint32_t hash
    Node* node

cdef struct CacheSlot:
    PyObject* match
    uint32_t hash
    uint32_t subject_len
    uint64_t missed              # the hash and generation of the last subject that was not here
    char[CACHE_SUBJECT_MAX] subject


cdef inline uint32_t _end(const char* s, uint32_t n, uint32_t start) noexcept nogil:
    cdef const char* dot = <const char*>memchr(s + start, b".", n - start) if start < n else NULL
    return n if dot == NULL else <uint32_t>(dot - s)


cdef Node* _new_node() except NULL:
    cdef Node* node = <Node*>calloc(1, sizeof(Node))
    if node == NULL:
        raise MemoryError("no memory for a subscription")
    return node


cdef void _free_node(Node* node) noexcept:
    cdef uint32_t i
    if node == NULL:
        return
    if node.interests != NULL:
        Py_DECREF(<object>node.interests)
    _free_node(node.star)
    _free_node(node.full)
    for i in range(node.edge_slots):
        if node.edges[i].token != NULL:
            free(node.edges[i].token)
            _free_node(node.edges[i].node)
    free(node.edges)
    free(node)


cdef bint _is_empty(Node* node) noexcept:
    return node.interests == NULL and node.star == NULL and node.full == NULL and node.edge_count == 0


cdef Edge* _find_edge(Node* node, const char* token, uint32_t n, uint32_t h) noexcept nogil:
    cdef uint32_t i
    if node.edge_slots == 0:
        return NULL
    i = h & (node.edge_slots - 1)
    while node.edges[i].token != NULL:
        if node.edges[i].hash == h and node.edges[i].token_len == n and same_text(node.edges[i].token, token, n):
            return &node.edges[i]
        i = (i + 1) & (node.edge_slots - 1)
    return NULL


cdef void _place_edge(Edge* edges, uint32_t slots, Edge edge) noexcept nogil:
    cdef uint32_t i = edge.hash & (slots - 1)
    while edges[i].token != NULL:
        i = (i + 1) & (slots - 1)
    edges[i] = edge


cdef int _resize_edges(Node* node, uint32_t slots) except -1:
    cdef Edge* edges = <Edge*>calloc(slots, sizeof(Edge))
    cdef uint32_t i
    if edges == NULL:
        raise MemoryError("no memory for a subscription")
    for i in range(node.edge_slots):
        if node.edges[i].token != NULL:
            _place_edge(edges, slots, node.edges[i])
    free(node.edges)
    node.edges, node.edge_slots = edges, slots
    return 0


cdef Node* _child(Node* node, const char* token, uint32_t n, bint last) except NULL:
    """The child for one token of a filter, made when it is not there."""
    cdef Edge edge
    cdef Edge* found
    if n == 1 and token[0] == b"*":
        if node.star == NULL:
            node.star = _new_node()
        return node.star
    if n == 1 and token[0] == b">" and last:
        if node.full == NULL:
            node.full = _new_node()
        return node.full
    edge.hash = hash_text(token, n)
    found = _find_edge(node, token, n, edge.hash)
    if found != NULL:
        return found.node
    if 4 * (node.edge_count + 1) > 3 * node.edge_slots:
        _resize_edges(node, node.edge_slots * 2 if node.edge_slots else 2)
    edge.node = _new_node()
    edge.token = <char*>malloc(n if n else 1)
    if edge.token == NULL:
        free(edge.node)
        raise MemoryError("no memory for a subscription")
    memcpy(edge.token, token, n)
    edge.token_len = n
    _place_edge(node.edges, node.edge_slots, edge)
    node.edge_count += 1
    return edge.node


cdef void _drop_edge(Node* node, Edge* gone) noexcept:
    """Takes an edge out and closes the gap that linear probing would trip over."""
    cdef uint32_t mask = node.edge_slots - 1, hole, i, home
    free(gone.token)
    free(gone.node.edges)
    free(gone.node)
    hole = <uint32_t>(gone - node.edges)
    i = hole
    node.edge_count -= 1
    while True:
        node.edges[hole].token = NULL
        while True:
            i = (i + 1) & mask
            if node.edges[i].token == NULL:
                return
            home = node.edges[i].hash & mask
            if (hole < home <= i) if hole <= i else (home <= i or home > hole):
                continue
            break
        node.edges[hole] = node.edges[i]
        hole = i


cdef int _collect(Node* node, const char* s, uint32_t n, uint32_t start, list out) except -1:
    """Adds the interests of every filter below `node` that matches s[start:]."""
    cdef uint32_t end
    cdef Edge* edge
    if node.full != NULL:
        out.append(<object>node.full.interests)
    end = _end(s, n, start)
    edge = _find_edge(node, s + start, end - start, hash_text(s + start, end - start))
    if edge != NULL:
        _collect_next(edge.node, s, n, end, out)
    if node.star != NULL:
        _collect_next(node.star, s, n, end, out)
    return 0


cdef int _collect_next(Node* node, const char* s, uint32_t n, uint32_t end, list out) except -1:
    if end == n:
        if node.interests != NULL:
            out.append(<object>node.interests)
        return 0
    return _collect(node, s, n, end + 1, out)


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


cdef bint _collect_plain(Node* node, const char* s, uint32_t n, uint32_t start, Found* found) noexcept:
    """Like `_collect`, into `found`. False: there are too many, or queue groups."""
    cdef uint32_t end = _end(s, n, start)
    cdef Edge* edge
    if node.full != NULL and not _add_plain(node.full, found):
        return False
    if node.edge_count:
        edge = _find_edge(node, s + start, end - start, hash_text(s + start, end - start))
        if edge != NULL and not _collect_plain_next(edge.node, s, n, end, found):
            return False
    return node.star == NULL or _collect_plain_next(node.star, s, n, end, found)


cdef bint _collect_plain_next(Node* node, const char* s, uint32_t n, uint32_t end, Found* found) noexcept:
    if end == n:
        return node.interests == NULL or _add_plain(node, found)
    return _collect_plain(node, s, n, end + 1, found)


cdef bint _overlaps(Node* node, const char* s, uint32_t n, uint32_t start) noexcept:
    """Is there a filter below `node` that shares a subject with the filter s[start:]?"""
    cdef uint32_t end = _end(s, n, start), i
    cdef bint last = end == n
    cdef Edge* edge
    if node.full != NULL:
        return True
    if end - start == 1 and s[start] == b">" and last:
        return node.star != NULL or node.edge_count > 0
    if node.star != NULL and _overlaps_next(node.star, s, n, end):
        return True
    if end - start == 1 and s[start] == b"*":
        for i in range(node.edge_slots):
            if node.edges[i].token != NULL and _overlaps_next(node.edges[i].node, s, n, end):
                return True
        return False
    edge = _find_edge(node, s + start, end - start, hash_text(s + start, end - start))
    return edge != NULL and _overlaps_next(edge.node, s, n, end)


cdef bint _overlaps_next(Node* node, const char* s, uint32_t n, uint32_t end) noexcept:
    if end == n:
        return node.interests != NULL
    return _overlaps(node, s, n, end + 1)


cdef int _walk(Node* node, list out) except -1:
    """Adds all interests below `node`. Depth is bounded by the tokens of a control line."""
    cdef uint32_t i
    if node.interests != NULL:
        out.extend(<list>node.interests)
    if node.star != NULL:
        _walk(node.star, out)
    if node.full != NULL:
        _walk(node.full, out)
    for i in range(node.edge_slots):
        if node.edges[i].token != NULL:
            _walk(node.edges[i].node, out)
    return 0


cdef class Interest:
    """Base of everything that can be put into a Sublist."""

    def __init__(self, bytes subject, bytes queue=b""):
        self.subject = subject
        self.queue = queue


cdef class Match:
    """The interests in one literal subject."""


cdef class Sublist:
    """One account's subscriptions."""

    def __cinit__(self):
        self._trie = _new_node()
        self._cache = calloc(CACHE_SLOTS, sizeof(CacheSlot))
        if self._cache == NULL:
            raise MemoryError("no memory for the subject cache")
        self.generation = 1

    def __dealloc__(self):
        cdef CacheSlot* slots = <CacheSlot*>self._cache
        cdef int i
        _free_node(<Node*>self._trie)
        if slots != NULL:
            for i in range(CACHE_SLOTS):
                if slots[i].match != NULL:
                    Py_DECREF(<object>slots[i].match)
            free(slots)

    cdef int insert(self, Interest interest) except -1:
        cdef Node* node = <Node*>self._trie
        cdef const char* s = PyBytes_AS_STRING(interest.subject)
        cdef uint32_t n = <uint32_t>PyBytes_GET_SIZE(interest.subject), start = 0, end
        cdef list interests
        while True:
            end = _end(s, n, start)
            node = _child(node, s + start, end - start, end == n)
            if end == n:
                break
            start = end + 1
        if node.interests == NULL:
            interests = []
            Py_INCREF(interests)
            node.interests = <PyObject*>interests
        (<list>node.interests).append(interest)
        self.generation += 1
        self.stats.subscriptions += 1
        self.stats.inserts += 1
        return 0

    cdef bint remove(self, Interest interest) except -1:
        cdef bint found = self._remove(<Node*>self._trie, interest, 0)
        if found:
            self.generation += 1
            self.stats.subscriptions -= 1
            self.stats.removes += 1
        return found

    cdef bint _remove(self, void* at, Interest interest, uint32_t start) except -1:
        cdef Node* node = <Node*>at
        cdef Node* child
        cdef Edge* edge = NULL
        cdef const char* s = PyBytes_AS_STRING(interest.subject)
        cdef uint32_t n = <uint32_t>PyBytes_GET_SIZE(interest.subject), end = _end(s, n, start)
        cdef bint star = end - start == 1 and s[start] == b"*"
        cdef bint full = end - start == 1 and s[start] == b">" and end == n
        if star or full:
            child = node.star if star else node.full
        else:
            edge = _find_edge(node, s + start, end - start, hash_text(s + start, end - start))
            child = edge.node if edge != NULL else NULL
        if child == NULL:
            return False
        if end == n:
            if not self._take_out(child, interest):
                return False
        elif not self._remove(child, interest, end + 1):
            return False
        if _is_empty(child):
            if edge != NULL:
                _drop_edge(node, edge)
            else:
                _free_node(child)
                if star:
                    node.star = NULL
                else:
                    node.full = NULL
        return True

    cdef bint _take_out(self, void* at, Interest interest) except -1:
        cdef Node* node = <Node*>at
        cdef Py_ssize_t i
        cdef list interests
        if node.interests == NULL:
            return False
        interests = <list>node.interests
        for i in range(len(interests)):
            if interests[i] is interest:
                interests[i] = interests[len(interests) - 1]
                interests.pop()
                if not interests:
                    node.interests = NULL
                    Py_DECREF(interests)
                return True
        return False

    cdef Match match(self, const char* subject, uint32_t subject_len):
        cdef uint32_t h = hash_text(subject, subject_len)
        cdef CacheSlot* slot = &(<CacheSlot*>self._cache)[h & (CACHE_SLOTS - 1)]
        cdef PyObject* cached = _cached(self, slot, h, subject, subject_len)
        cdef Match match
        self.stats.matches += 1
        if cached != NULL:
            self.stats.cache_hits += 1
            return <Match>cached
        match = self._build(subject, subject_len)
        if subject_len <= CACHE_SUBJECT_MAX:
            if slot.match != NULL:
                Py_DECREF(<object>slot.match)
            else:
                self.stats.cached += 1
            Py_INCREF(match)
            slot.match = <PyObject*>match
            slot.hash, slot.subject_len = h, subject_len
            memcpy(slot.subject, subject, subject_len)
        return match

    cdef Match resolve(self, const char* subject, uint32_t subject_len, Found* found):
        cdef uint32_t h = hash_text(subject, subject_len)
        cdef CacheSlot* slot = &(<CacheSlot*>self._cache)[h & (CACHE_SLOTS - 1)]
        cdef PyObject* cached = _cached(self, slot, h, subject, subject_len)
        cdef uint64_t missed = <uint64_t>h << 32 | <uint32_t>self.generation
        found.count = 0
        if cached != NULL:
            self.stats.matches += 1
            self.stats.cache_hits += 1
            return <Match>cached
        if slot.missed != missed:
            slot.missed = missed
            if has_empty_token(subject, subject_len) or _collect_plain(
                    <Node*>self._trie, subject, subject_len, 0, found):
                self.stats.matches += 1
                return None
            found.count = 0
        return self.match(subject, subject_len)

    cdef Match _build(self, const char* subject, uint32_t subject_len):
        cdef Match match = Match.__new__(Match)
        cdef list found = []
        cdef Interest interest
        cdef dict groups = None
        match.plain, match.groups = [], []
        match.generation = self.generation
        if not has_empty_token(subject, subject_len):
            _collect(<Node*>self._trie, subject, subject_len, 0, found)
        for interests in found:
            for interest in <list>interests:
                if not interest.queue:
                    match.plain.append(interest)
                    continue
                if groups is None:
                    groups = {}
                if interest.queue not in groups:
                    groups[interest.queue] = []
                    match.groups.append(groups[interest.queue])
                (<list>groups[interest.queue]).append(interest)
        return match

    cdef bint has_interest(self, const char* subject, uint32_t subject_len) except -1:
        cdef Found found
        cdef Match match = self.resolve(subject, subject_len, &found)
        if match is None:
            return found.count > 0
        return PyList_GET_SIZE(match.plain) > 0 or PyList_GET_SIZE(match.groups) > 0

    cdef bint overlaps(self, const char* filter, uint32_t filter_len) except -1:
        return filter_len > 0 and _overlaps(<Node*>self._trie, filter, filter_len, 0)

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
        cdef CacheSlot* slots = <CacheSlot*>self._cache
        cdef Py_ssize_t most = 0, total = 0, size
        cdef Match match
        cdef int i
        for i in range(CACHE_SLOTS):
            if slots[i].match != NULL:
                match = <Match>slots[i].match
                size = len(match.plain) + len(match.groups)
                most, total = max(most, size), total + size
        return most, total

    def interests(self):
        """Every interest, in no order."""
        found = []
        _walk(<Node*>self._trie, found)
        return found
