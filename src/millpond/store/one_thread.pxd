# One thread beside the loop, which starts with the first job. Base of who has things done there.
from millpond.store.disk cimport Disk
from millpond.store.worker cimport worker_act

cdef class OneThread:
    cdef void* _worker                   # worker_thread.h; NULL: it has not started
    cdef int _wake_fd                    # its own; -1: stopped
    cdef Disk _disk
    cdef worker_act _act
    # What it is to do with a job; its answers wake whoever waits at `wake_fd`, which stays the caller's.
    cdef int begin(self, worker_act act, int wake_fd, Disk disk) except -1
    # False: there is none, and can be none; whoever asks does it himself.
    cdef bint has_thread(self) except *
    # Ends it, when it has done what it was given.
    cdef int end(self) except -1
