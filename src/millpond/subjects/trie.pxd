# Filters in a tree of tokens; what sits at a filter is the owner's. No function here recurses: a filter may have
# half a million tokens.
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t

cdef enum:
    PLACES_OWN = 24

cdef struct Node:
    PyObject* interests          # the owner's list at this filter, or NULL; the node holds a reference
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

cdef struct Place:               # a node, and where the rest of the subject begins; behind its end: all is used up
    Node* node
    uint32_t rest

cdef struct Walk:                # the alternatives that are still to be tried
    const char* s
    uint32_t n
    uint32_t count
    uint32_t capacity
    bint wider                   # s is a filter, and what takes in all that it matches is looked for
    Place* places
    Place own[PLACES_OWN]

cdef Node* new_node() except NULL
# Frees a node and all below it. NULL is none.
cdef void free_tree(Node* node) noexcept
# The node of a filter, made when it is not there.
cdef Node* grow(Node* root, const char* s, uint32_t n) except NULL
# The node of exactly this filter, or NULL.
cdef Node* find(Node* root, const char* s, uint32_t n) noexcept
# Takes out what is empty along the way to this filter.
cdef int prune(Node* root, const char* s, uint32_t n) except -1
# All nodes with interests whose filters match a literal subject without empty tokens:
#     begin(&walk, root, s, n)
#     node = advance(&walk)      until it is NULL
#     finish(&walk)              also after an error
cdef void begin(Walk* walk, Node* root, const char* s, uint32_t n) noexcept
cdef Node* advance(Walk* walk) except? NULL
cdef void finish(Walk* walk) noexcept
# Does a filter other than s itself take in all that the filter s matches?
cdef bint is_covered(Node* root, const char* s, uint32_t n) except -1
# Is there a filter that shares a subject with the filter s?
cdef bint overlaps(Node* root, const char* s, uint32_t n) except -1
# Adds the content of every list of interests to `out`.
cdef int gather(Node* root, list out) except -1
