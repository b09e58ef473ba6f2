# Who wants a subject: a trie of tokens with wildcards, and a cache of results in front of it.
from cpython.ref cimport PyObject
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from millpond.subjects.trie cimport Node

cdef enum:
    FOUND_MAX = 16
    CACHE_SUBJECT_MAX = 128

cdef class Interest:
    cdef readonly bytes subject
    cdef readonly bytes queue        # b"" = not in a queue group
    cdef Py_ssize_t _at              # its place among those with the same subject; -1 = in no Sublist

cdef class Match:                    # immutable once built; valid while generations agree
    cdef readonly list plain         # list[Interest]
    cdef readonly list groups        # list[list[Interest]], one inner list per queue group
    cdef readonly uint64_t generation
    cdef uint64_t refs               # how many interests there are in it
    cdef dict _by_queue              # while it is built: {queue: its list in groups}

cdef struct Found:                   # plain interests in one literal subject, borrowed until the next change
    uint32_t count
    PyObject* plain[FOUND_MAX]

cdef struct SublistStats:
    uint64_t subscriptions
    uint64_t cached
    uint64_t inserts
    uint64_t removes
    uint64_t matches
    uint64_t cache_hits

cdef struct CacheSlot:
    PyObject* match
    uint32_t hash
    uint32_t subject_len
    uint64_t missed                  # the hash and generation of the last subject that was not here
    char[CACHE_SUBJECT_MAX] subject

cdef class Sublist:
    cdef readonly uint64_t generation    # grows with every insert and remove
    cdef SublistStats stats
    cdef Node* _trie
    cdef CacheSlot* _cache
    cdef uint16_t* _used                 # numbers of the slots that hold a Match
    cdef uint32_t _used_count
    cdef uint64_t _refs                  # interests that cached Matches hold, together
    cdef int _keep(self, CacheSlot* slot, uint32_t h, const char* subject, uint32_t subject_len,
                   Match match) except -1
    cdef Match _build(self, const char* subject, uint32_t subject_len)
    cdef int insert(self, Interest interest) except -1
    cdef bint remove(self, Interest interest) except -1           # False: was not there
    cdef Match match(self, const char* subject, uint32_t subject_len)   # literal subject; never None
    # The same for a message on its way: None when `found` has everything (at most FOUND_MAX plain interests).
    cdef Match resolve(self, const char* subject, uint32_t subject_len, Found* found)
    cdef bint has_interest(self, const char* subject, uint32_t subject_len) except -1
    # Is there a subscription whose filter could match something `filter` matches? For push-bound checks.
    cdef bint overlaps(self, const char* filter, uint32_t filter_len) except -1
    cdef int forget(self) except -1      # lets go of all cached Matches, and of the interests they hold
