# Where an account sends what is published to some of its subjects.
from libc.stdint cimport uint32_t
from millpond.accounts.permissions cimport Filters

cdef class Mappings:
    cdef Filters _sources
    cdef list _rows
    cdef object _choose
    # The subject that it goes to instead; b"": nowhere; None: it stays.
    cdef bytes apply(self, const char* subject, uint32_t subject_len)
