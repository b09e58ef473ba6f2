"""Many filters that are asked together: the time of an answer hardly depends on how many they are."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint32_t

from millpond.subjects cimport trie
from millpond.subjects.trie cimport Node, Walk

cdef list PRESENT = []                       # what sits at every node where a filter ends


cdef class FilterTree:
    """A trie of tokens in which filters are there or not."""

    def __cinit__(self):
        self._root = trie.new_node()

    def __dealloc__(self):
        trie.free_tree(self._root)

    cdef int add(self, bytes filter) except -1:
        cdef Node* node = trie.grow(self._root, PyBytes_AS_STRING(filter), <uint32_t>PyBytes_GET_SIZE(filter))
        if node.interests == NULL:
            Py_INCREF(PRESENT)
            node.interests = <PyObject*>PRESENT
        return 0

    cdef int discard(self, bytes filter) except -1:
        cdef const char* s = PyBytes_AS_STRING(filter)
        cdef uint32_t n = <uint32_t>PyBytes_GET_SIZE(filter)
        cdef Node* node = trie.find(self._root, s, n)
        if node != NULL and node.interests != NULL:
            node.interests = NULL
            Py_DECREF(PRESENT)
            trie.prune(self._root, s, n)
        return 0

    cdef bint matches(self, const char* subject, uint32_t subject_len) except *:
        cdef Walk walk
        trie.begin(&walk, self._root, subject, subject_len)
        try:
            return trie.advance(&walk) != NULL
        finally:
            trie.finish(&walk)

    cdef bint overlaps(self, bytes filter) except *:
        cdef uint32_t n = <uint32_t>PyBytes_GET_SIZE(filter)
        return n > 0 and trie.overlaps(self._root, PyBytes_AS_STRING(filter), n)

    cdef bint covers(self, bytes filter) except *:
        return trie.is_covered(self._root, PyBytes_AS_STRING(filter), <uint32_t>PyBytes_GET_SIZE(filter))
