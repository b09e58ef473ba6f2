"""Who of a stream's consumers hears of a message: those that want it, however many others there are.

    unfiltered          want everything                        one list
    filtered            want what is under their filters       a tree of filters, as subscriptions are found
    strays              may hold what they do not want         hear of every removal as well

A consumer that does not want a message loses nothing by not hearing of it. What it has still to deliver does not change,
its acknowledgements are not about it, and the retention does not ask it. Only its place in the stream would move, and
that is made up for when somebody looks: a consumer that waits at the end of the stream for what it wants is always
through with everything else (Consumer._catch_up).

It is a stray when it may have delivered messages that its filters do not match any more: these are pending, or were
delivered too often, and it has to know when one of them leaves the stream.

Ready is told only to those that wait for a message to be committed: each is told of one as it is appended, or has found
it in the stream too early (expect). And to those that wait for one to be read from the disk.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint32_t, uint64_t

from millpond.jetstream.follower cimport Follower
from millpond.store.api cimport Filters
from millpond.subjects cimport trie
from millpond.subjects.trie cimport Node, Walk


cdef class Listeners:
    """Of one stream."""

    def __cinit__(self):
        self._tree = trie.new_node()

    def __init__(self):
        self.followers, self._unfiltered, self._strays = [], [], []
        self._filters, self._spare, self._expecting, self._reading = {}, [], [], []

    def __dealloc__(self):
        trie.free_tree(self._tree)

    # --- coming and going ---

    cdef int enter(self, Follower follower) except -1:
        assert follower not in self._filters
        self._filters[follower] = []
        self.followers = [*self.followers, follower]
        self._unfiltered = [*self._unfiltered, follower]
        return 0

    cdef int leave(self, Follower follower) except -1:
        if follower in self._filters:
            self._take_out(follower)
            del self._filters[follower]
            self._strays = _without(self._strays, follower)
            self.followers = _without(self.followers, follower)
        return 0

    cdef list clear(self):
        cdef list all = self.followers
        cdef Node* tree = trie.new_node()
        trie.free_tree(self._tree)
        self._tree, self._filtered = tree, 0
        self.followers, self._unfiltered, self._strays, self._filters = [], [], [], {}
        self._expecting, self._reading = [], []
        return all

    cdef int place(self, Follower follower, Filters filters, bint stray) except -1:
        if follower not in self._filters:            # its stream has let it go
            return 0
        self._take_out(follower)
        if stray and follower not in self._strays:
            self._strays = [*self._strays, follower]
        if filters.all:
            self._unfiltered = [*self._unfiltered, follower]
            return 0
        self._filters[follower] = filters.subjects
        self._filtered += 1
        for filter in filters.subjects:
            _grown(self._tree, filter).append(follower)
        return 0

    cdef int _take_out(self, Follower follower) except -1:
        cdef bytes filter
        cdef Node* node
        cdef list filters = self._filters[follower]
        if not filters:
            self._unfiltered = _without(self._unfiltered, follower)
            return 0
        self._filters[follower] = []
        self._filtered -= 1
        for filter in filters:
            node = trie.find(self._tree, PyBytes_AS_STRING(filter), <uint32_t>PyBytes_GET_SIZE(filter))
            (<list>node.interests).remove(follower)
            if not <list>node.interests:
                Py_DECREF(<list>node.interests)
                node.interests = NULL
                trie.prune(self._tree, PyBytes_AS_STRING(filter), <uint32_t>PyBytes_GET_SIZE(filter))
        return 0

    # --- about one message ---

    cdef list _gather(self, const char* subject, uint32_t subject_len):
        """The filtered ones that want it, each once, in a list that is given back. Telling them may come back here."""
        cdef list found = self._spare
        cdef Follower follower
        cdef Node* node
        cdef Walk walk
        self._spare = None
        if found is None:
            found = []
        self._gathering += 1
        trie.begin(&walk, self._tree, subject, subject_len)
        try:
            node = trie.advance(&walk)
            while node != NULL:
                for follower in <list>node.interests:
                    if follower.gathered != self._gathering:     # it may have filters that overlap
                        follower.gathered = self._gathering
                        found.append(follower)
                node = trie.advance(&walk)
        finally:
            trie.finish(&walk)
        return found

    cdef int _give_back(self, list found) except -1:
        found.clear()
        self._spare = found
        return 0

    cdef bint any_wants(self, const char* subject, uint32_t subject_len) except *:
        cdef Walk walk
        if self._unfiltered:
            return True
        trie.begin(&walk, self._tree, subject, subject_len)
        try:
            return trie.advance(&walk) != NULL
        finally:
            trie.finish(&walk)

    cdef bint any_needs(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, bint* wanted) except *:
        cdef Follower follower
        cdef list found
        cdef bint needed = False
        wanted[0] = bool(self._unfiltered)
        for follower in self._unfiltered:
            if follower.needs(stream_seq):
                return True
        if self._filtered:
            found = self._gather(subject, subject_len)
            wanted[0] = wanted[0] or bool(found)
            for follower in found:
                if follower.needs(stream_seq):
                    needed = True
                    break
            self._give_back(found)
        return needed

    cdef int appended(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        cdef Follower follower
        cdef list found
        for follower in self._unfiltered:
            follower.appended(stream_seq)
        if self._filtered:
            found = self._gather(subject, subject_len)
            for follower in found:
                follower.appended(stream_seq)
            self._give_back(found)
        return 0

    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        cdef Follower follower
        cdef list found
        for follower in self._unfiltered:
            follower.removed(stream_seq, subject, subject_len)
        if not self._filtered:
            return 0
        found = self._gather(subject, subject_len)
        for follower in self._strays:
            if follower.gathered != self._gathering and self._filters[follower]:
                found.append(follower)
        for follower in found:
            follower.removed(stream_seq, subject, subject_len)
        return self._give_back(found)

    # --- commits ---

    cdef int expect(self, Follower follower, uint64_t stream_seq) except -1:
        if follower.expected_seq == 0:
            follower.expected_seq = stream_seq
            self._expecting.append(follower)
        return 0

    cdef int committed(self, uint64_t stream_seq) except -1:
        cdef list waiting
        cdef Follower follower
        if not self._expecting:
            return 0
        waiting, self._expecting = self._expecting, []
        for follower in waiting:
            if follower.expected_seq > stream_seq:
                self._expecting.append(follower)
            else:
                follower.expected_seq = 0
                follower.ready()
        return 0


    # --- reads from the disk ---

    cdef int await_read(self, Follower follower) except -1:
        if not follower.reading:
            follower.reading = True
            self._reading.append(follower)
        return 0

    cdef int warm(self) except -1:
        cdef list waiting
        cdef Follower follower
        waiting, self._reading = self._reading, []
        for follower in waiting:
            follower.reading = False
            follower.ready()
        return 0


cdef list _grown(Node* tree, bytes filter):
    """The list at this filter."""
    cdef Node* node = trie.grow(tree, PyBytes_AS_STRING(filter), <uint32_t>PyBytes_GET_SIZE(filter))
    cdef list followers
    if node.interests == NULL:
        followers = []
        Py_INCREF(followers)
        node.interests = <PyObject*>followers
    return <list>node.interests


cdef list _without(list followers, Follower gone):
    return [follower for follower in followers if follower is not gone]
