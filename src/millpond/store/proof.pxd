# What a start waits for before a log is believed.
from millpond.store.committer cimport Committer, Target

cdef class Proof(Target):
    cdef Committer _committer
    cdef Target _witness
    cdef list _fds
    cdef str _directory
    cdef int _error                  # an errno; 0: none so far
    cpdef int wait(self) except -1
