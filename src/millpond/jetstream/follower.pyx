"""The side of a consumer that streams and the pump see."""

from libc.stdint cimport uint32_t, uint64_t

from millpond.store.api cimport Filters


cdef class Follower(Sink):
    """Override everything."""

    cpdef int halt(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cpdef int stop(self, str status) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef bint needs(self, uint64_t stream_seq) except *:
        raise NotImplementedError(type(self).__name__)

    cdef int appended(self, uint64_t stream_seq) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int purged(self, Filters filters, uint64_t first_left) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int ready(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int interest_changed(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int pump(self, uint32_t messages_budget, uint32_t bytes_budget) except -1:
        raise NotImplementedError(type(self).__name__)
