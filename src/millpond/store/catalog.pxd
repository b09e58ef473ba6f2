# One small value on disk in two copies, replaced as a whole: a stream's configuration.
from libc.stdint cimport uint64_t
from millpond.store.committer cimport Committer, Target

cdef class Catalog(Target):
    cdef Committer _committer
    cdef str _prefix
    cdef readonly uint64_t generation
    cdef readonly str failure                # "" = healthy
    cdef bytes _image                        # the newest value as file bytes
    cdef bytes _written                      # the image that the running write and sync are about
    cdef list _waiting                       # callables of saves that no sync covers yet
    cdef list _covered                       # callables of saves in the running write
    cdef int _copy                           # which copy is being written
    cdef bint _second_due
    cdef list _fds
    cdef bint _named                         # the directory entries are synced
    cdef int _directory_fd
    cpdef int save(self, bytes payload, object done=*) except -1
    cpdef bytes load(self)
    cpdef int close(self) except -1
