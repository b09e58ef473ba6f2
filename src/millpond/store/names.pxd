# What was made, renamed and removed in one directory.
from millpond.store.committer cimport Committer, Target

cdef class Names(Target):
    cdef Committer _committer
    cdef str _directory
    cdef list _waiting, _covered     # callables, of the next sync and of the one in flight
    cdef int _fd
    # `done(failure)` when every change of its names until now is durable ("" or why it is not).
    cpdef int keep(self, object done) except -1
    cdef int _tell(self, str failure) except -1
