# What a delivery's headers get besides the stored ones.
from libc.stdint cimport uint32_t
from millpond.wire.message cimport Msg

cdef class HeaderWriter:
    cdef char* _scratch
    cdef size_t _size
    # Each changes `msg` to views into the scratch buffer, valid until the next call.
    cdef int strip(self, Msg* msg) except -1                  # headers_only: the body goes, its size is told
    cdef int add(self, Msg* msg, const char* line, uint32_t line_len) except -1    # one more header line
