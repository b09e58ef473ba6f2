# The consumers of one stream: who wants a message, who waits for its commit.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.api cimport Filters
from millpond.subjects.trie cimport Node
from millpond.jetstream.follower cimport Follower

cdef class Listeners:
    cdef readonly list followers             # all of them, in the order in which they came; replaced, never changed
    cdef list _unfiltered                    # those that want everything; replaced, never changed
    cdef list _strays                        # those that hear of every removal; replaced, never changed
    cdef Node* _tree                         # lists of the others, at each of their filters
    cdef dict _filters                       # {Follower: [bytes]}, where in the tree; empty: everything
    cdef Py_ssize_t _filtered                # how many have filters
    cdef list _spare                         # for the next gathering; None: in use
    cdef uint64_t _gathering                 # number of the last one
    cdef list _expecting                     # those that wait for a commit
    cdef list _reading                       # those that wait for a read

    cdef int enter(self, Follower follower) except -1        # it wants everything until place() says otherwise
    cdef int leave(self, Follower follower) except -1
    # From now on it wants what is under `filters`. `stray`: it may hold messages that are not.
    cdef int place(self, Follower follower, Filters filters, bint stray) except -1
    # Leaves empty; returns those that were there.
    cdef list clear(self)

    # --- about one message ---
    cdef bint any_wants(self, const char* subject, uint32_t subject_len) except *
    # Of those that want it, does one need it? *wanted: is there any?
    cdef bint any_needs(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, bint* wanted) except *
    cdef int appended(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1
    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1

    # --- commits ---
    # Its ready() is called when this message is committed.
    cdef int expect(self, Follower follower, uint64_t stream_seq) except -1
    cdef int committed(self, uint64_t stream_seq) except -1

    # --- reads from the disk ---
    cdef int await_read(self, Follower follower) except -1       # its ready() is called when one has ended
    cdef int warm(self) except -1

    # --- private ---
    cdef list _gather(self, const char* subject, uint32_t subject_len)
    cdef int _give_back(self, list found) except -1
    cdef int _take_out(self, Follower follower) except -1
