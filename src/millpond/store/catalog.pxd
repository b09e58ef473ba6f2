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
    cdef int _certain                        # the copy that is on disk for sure; -1: none is
    cdef bint _trusted                       # it was found at the start: it may be in the kernel's memory only
    cdef bint _proving                       # the running sync is about that
    cdef bint _new
    cdef object _same                        # callable or None: may these two values be copies of one thing?
    cdef int _copy                           # which copy is being written
    cdef list _fds                           # of the copies; open during a save
    cdef bint _named                         # the directory entries are synced
    cdef int _directory_fd
    # Replaces the value. `done(failure)` once: "" when it is durable, or when discard() has made it pointless; else why it
    # is not. Raises StoreError when an earlier save has failed, OSError when no descriptor is left: nothing has changed.
    cpdef int save(self, bytes payload, object done=*) except -1
    # A save that follows at once will find a descriptor. Raises as it would.
    cpdef int prepare(self) except -1
    # `done(failure)` as for the newest save.
    cpdef int when_kept(self, object done) except -1
    cpdef bytes load(self, object present=*)
    cpdef int close(self) except -1
    # Its files are about to be removed: nothing is written from here, and who waits is told.
    cpdef int discard(self) except -1

    cpdef int _close_files(self) except -1
