"""A tree of tokens: one child for '*', one for '>', the literal ones in an open-addressing table.

    "a.*.c"   root --a--> node --*--> node --c--> node [interests]

The hash of tokens is keyed with a random number: whoever picks the tokens cannot make them collide.
"""

import os

from cpython.ref cimport Py_DECREF, PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcpy
from millpond.structures.hashing cimport hash_text, same_text

cdef enum:
    EDGES_FIRST = 2
    EDGES_KEPT = 16              # a table this small does not shrink

cdef uint64_t KEY = int.from_bytes(os.urandom(8), "little")


cdef inline uint32_t _end(const char* s, uint32_t n, uint32_t start) noexcept nogil:
    cdef const char* dot = <const char*>memchr(s + start, b".", n - start) if start < n else NULL
    return n if dot == NULL else <uint32_t>(dot - s)


cdef inline bint _is(const char* token, uint32_t n, char what) noexcept nogil:
    return n == 1 and token[0] == what


cdef Node* new_node() except NULL:
    cdef Node* node = <Node*>calloc(1, sizeof(Node))
    if node == NULL:
        raise MemoryError("no memory for a subscription")
    return node


cdef inline Node* _doom(Node* node, Node* doomed) noexcept:
    """Puts a node in front of those to be freed: they are linked where their interests were."""
    if node == NULL:
        return doomed
    if node.interests != NULL:
        Py_DECREF(<object>node.interests)
    node.interests = <PyObject*>doomed
    return node


cdef void free_tree(Node* node) noexcept:
    cdef Node* doomed = _doom(node, NULL)
    cdef uint32_t i
    while doomed != NULL:
        node = doomed
        doomed = <Node*>node.interests
        doomed = _doom(node.full, _doom(node.star, doomed))
        for i in range(node.edge_slots):
            if node.edges[i].token != NULL:
                free(node.edges[i].token)
                doomed = _doom(node.edges[i].node, doomed)
        free(node.edges)
        free(node)


# --- edges ---


cdef Edge* _find_edge(Node* node, const char* token, uint32_t n) noexcept nogil:
    cdef uint32_t i, h
    if node.edge_count == 0:
        return NULL
    h = hash_text(token, n, KEY)
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
    if _is(token, n, b"*"):
        if node.star == NULL:
            node.star = new_node()
        return node.star
    if last and _is(token, n, b">"):
        if node.full == NULL:
            node.full = new_node()
        return node.full
    found = _find_edge(node, token, n)
    if found != NULL:
        return found.node
    if 4 * (node.edge_count + 1) > 3 * node.edge_slots:
        _resize_edges(node, node.edge_slots * 2 if node.edge_slots else EDGES_FIRST)
    edge.node = new_node()
    edge.token = <char*>malloc(n if n else 1)
    if edge.token == NULL:
        free(edge.node)
        raise MemoryError("no memory for a subscription")
    memcpy(edge.token, token, n)
    edge.token_len = n
    edge.hash = hash_text(token, n, KEY)
    _place_edge(node.edges, node.edge_slots, edge)
    node.edge_count += 1
    return edge.node


cdef int _drop_edge(Node* node, Edge* gone) except -1:
    """Takes an edge out and closes the gap that linear probing would trip over; a sparse table shrinks."""
    cdef uint32_t mask = node.edge_slots - 1, hole, i, home
    free(gone.token)
    hole = <uint32_t>(gone - node.edges)
    i = hole
    node.edge_count -= 1
    while True:
        node.edges[hole].token = NULL
        while True:
            i = (i + 1) & mask
            if node.edges[i].token == NULL:
                if node.edge_slots > EDGES_KEPT and node.edge_count * 8 < node.edge_slots:
                    _resize_edges(node, node.edge_slots // 2)
                return 0
            home = node.edges[i].hash & mask
            if (hole < home <= i) if hole <= i else (home <= i or home > hole):
                continue
            break
        node.edges[hole] = node.edges[i]
        hole = i


# --- one filter ---


cdef Node* grow(Node* root, const char* s, uint32_t n) except NULL:
    cdef Node* node = root
    cdef uint32_t start = 0, end
    while True:
        end = _end(s, n, start)
        node = _child(node, s + start, end - start, end == n)
        if end == n:
            return node
        start = end + 1


cdef inline Node* _existing(Node* node, const char* token, uint32_t n, bint last) noexcept:
    cdef Edge* edge
    if _is(token, n, b"*"):
        return node.star
    if last and _is(token, n, b">"):
        return node.full
    edge = _find_edge(node, token, n)
    return edge.node if edge != NULL else NULL


cdef Node* find(Node* root, const char* s, uint32_t n) noexcept:
    cdef Node* node = root
    cdef uint32_t start = 0, end
    while node != NULL:
        end = _end(s, n, start)
        node = _existing(node, s + start, end - start, end == n)
        if end == n:
            break
        start = end + 1
    return node


cdef inline uint32_t _children(Node* node) noexcept:
    return node.edge_count + (node.star != NULL) + (node.full != NULL)


cdef int prune(Node* root, const char* s, uint32_t n) except -1:
    """Below the last node that something else needs, the way to this filter is a bare chain: it goes as a whole."""
    cdef Node* node = root
    cdef Node* needed = root
    cdef Node* chain
    cdef Edge* edge
    cdef uint32_t start = 0, end, from_start = 0, from_end = 0
    while True:
        end = _end(s, n, start)
        if node is root or node.interests != NULL or _children(node) > 1:
            needed, from_start, from_end = node, start, end
        node = _existing(node, s + start, end - start, end == n)
        if node == NULL:
            return 0
        if end == n:
            break
        start = end + 1
    if node.interests != NULL or _children(node):
        return 0
    s += from_start
    chain = _existing(needed, s, from_end - from_start, from_end == n)
    if chain == needed.star:
        needed.star = NULL
    elif chain == needed.full:
        needed.full = NULL
    else:
        edge = _find_edge(needed, s, from_end - from_start)
        _drop_edge(needed, edge)
    free_tree(chain)
    return 0


# --- matching ---


cdef void begin(Walk* walk, Node* root, const char* s, uint32_t n) noexcept:
    walk.s, walk.n, walk.wider = s, n, False
    walk.places, walk.capacity = walk.own, PLACES_OWN
    walk.count = 1
    walk.own[0].node, walk.own[0].rest = root, 0


cdef void finish(Walk* walk) noexcept:
    if walk.places != walk.own:
        free(walk.places)
        walk.places = walk.own


cdef int _grow_places(Walk* walk) except -1:
    cdef Place* grown = <Place*>realloc(
        NULL if walk.places == walk.own else walk.places, 2 * walk.capacity * sizeof(Place))
    if grown == NULL:
        raise MemoryError("no memory to match a subject")
    if walk.places == walk.own:
        memcpy(grown, walk.own, walk.count * sizeof(Place))
    walk.places, walk.capacity = grown, 2 * walk.capacity
    return 0


cdef inline int _later(Walk* walk, Node* node, uint32_t rest) except -1:
    if walk.count == walk.capacity:
        _grow_places(walk)
    walk.places[walk.count].node, walk.places[walk.count].rest = node, rest
    walk.count += 1
    return 0


cdef Node* advance(Walk* walk) except? NULL:
    cdef const char* s = walk.s
    cdef uint32_t n = walk.n, rest, end
    cdef Node* node
    cdef Edge* edge
    while walk.count:
        walk.count -= 1
        node, rest = walk.places[walk.count].node, walk.places[walk.count].rest
        while rest <= n:
            end = _end(s, n, rest)
            if node.star != NULL and not (walk.wider and end == n and _is(s + rest, end - rest, b">")):
                _later(walk, node.star, end + 1)
            if node.full != NULL:
                _later(walk, node.full, n + 1)
            # No edge is called '*' or, at the end, '>': a filter's wildcards are only met by wider ones.
            edge = _find_edge(node, s + rest, end - rest)
            if edge == NULL:
                break
            node, rest = edge.node, end + 1
        else:
            if node.interests != NULL:
                return node
    return NULL


cdef bint is_covered(Node* root, const char* s, uint32_t n) except -1:
    cdef Node* own = find(root, s, n)
    cdef Node* node
    cdef Walk walk
    begin(&walk, root, s, n)
    walk.wider = True
    try:
        node = advance(&walk)
        if node != NULL and node == own:
            node = advance(&walk)            # each node is met once
    finally:
        finish(&walk)
    return node != NULL


cdef bint overlaps(Node* root, const char* s, uint32_t n) except -1:
    cdef Walk walk
    cdef bint found = False
    begin(&walk, root, s, n)
    try:
        while walk.count and not found:
            walk.count -= 1
            found = _overlaps_at(&walk, walk.places[walk.count].node, walk.places[walk.count].rest)
    finally:
        finish(&walk)
    return found


cdef bint _overlaps_at(Walk* walk, Node* node, uint32_t rest) except -1:
    """Certainly at this node; otherwise the walk goes on with its children."""
    cdef uint32_t end, i
    cdef const char* token
    cdef Edge* edge
    if rest > walk.n:
        return node.interests != NULL
    if node.full != NULL:
        return True
    end = _end(walk.s, walk.n, rest)
    token = walk.s + rest
    if end == walk.n and _is(token, end - rest, b">"):
        return _children(node) > 0
    if node.star != NULL:
        _later(walk, node.star, end + 1)
    if _is(token, end - rest, b"*"):
        for i in range(node.edge_slots):
            if node.edges[i].token != NULL:
                _later(walk, node.edges[i].node, end + 1)
        return False
    edge = _find_edge(node, token, end - rest)
    if edge != NULL:
        _later(walk, edge.node, end + 1)
    return False


cdef int gather(Node* root, list out) except -1:
    cdef Walk walk
    cdef Node* node
    cdef uint32_t i
    begin(&walk, root, NULL, 0)
    try:
        while walk.count:
            walk.count -= 1
            node = walk.places[walk.count].node
            if node.interests != NULL:
                out.extend(<list>node.interests)
            if node.star != NULL:
                _later(&walk, node.star, 0)
            if node.full != NULL:
                _later(&walk, node.full, 0)
            for i in range(node.edge_slots):
                if node.edges[i].token != NULL:
                    _later(&walk, node.edges[i].node, 0)
    finally:
        finish(&walk)
    return 0
