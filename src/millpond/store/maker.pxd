# Makes files beside the loop, which waits for each a moment: on a disk that stands still it would wait as long as that does.
from libc.stdint cimport int64_t, uint64_t
from millpond.store.one_thread cimport OneThread

cdef class Making:
    cdef bytes _path
    cdef readonly bint done              # what follows is known
    cdef readonly int error              # an errno, 0: the file is there, open, and has its blocks
    cdef int fd                          # whoever asked for it has it to close; -1: it could not be opened
    cdef bint unwanted                   # nobody asks any more

cdef class Maker(OneThread):
    cdef Making _late                    # what was not done in time, until it is
    # A new file of so many bytes, which may not be done yet. None: there is no thread for it, whoever asks does it.
    cdef Making make(self, str path, uint64_t bytes)
    # Is a byte at the beginning of that file written in time? What became of it otherwise does not matter.
    cdef bint moves(self, str path) except *
    # Something is not done that should have been.
    cdef bint is_late(self) noexcept
    cdef int wait(self, Making making) except -1     # blocks until it is done
    cdef int finish(self) except -1                  # blocks until nothing is late
    cpdef int collect(self) except -1                # called when the wake-up descriptor is readable
    cdef int _take(self, Making making) except -1
    cpdef int stop(self) except -1
