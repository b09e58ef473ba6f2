# headers_only deliveries: the body goes, its size is told in a header.
from libc.stdint cimport uint32_t
from millpond.wire.message cimport Msg

cdef class BodyStripper:
    cdef char* _scratch
    cdef size_t _size
    # Changes `msg` to views into the scratch buffer, valid until the next call.
    cdef int strip(self, Msg* msg) except -1
