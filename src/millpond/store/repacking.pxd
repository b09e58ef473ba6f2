# Which segments of one log are compressed when, which become plain again, and which get a summary.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.packer cimport Client, Packer, Repack
from millpond.store.packer_order cimport Task
from millpond.store.segment cimport Segment
from millpond.store.segment_log cimport SegmentLog

cdef class Repacker(Client):
    cdef readonly bint compresses            # what is sealed from here on, and before
    cdef SegmentLog _log
    cdef Packer _packer
    cdef object _done                        # callable: a segment that something waited for is plain now
    cdef list _wanted                        # numbers, to become plain
    cdef uint64_t _looked                    # generation of the newest segment when nothing was left to do
    cdef uint64_t _passed                    # segments up to that generation were judged
    cdef uint64_t _summarised                # the same, of summaries
    cdef uint32_t _summary_least             # no smaller segment gets one
    cdef uint64_t _again                     # of the newest segment when one became plain, or lost its summary; 0: none did
    cdef double _pause_until                 # monotonic
    cdef bint _stopped                       # the store is closed
    cdef bint _told                          # that something stays as it is for now; until a file takes its place
    cdef int compress(self, bint on) except -1
    # Something was committed: is there work? Cheap when not.
    cdef int look(self) except -1
    # This packed segment is to become plain, because it is to be changed.
    cdef int want_plain(self, uint32_t number) except -1
    # The same while the caller waits (recovery). Raises OSError.
    cdef int make_plain(self, uint32_t number) except -1
    # Wipes the summary of a segment that is to be changed. It gets another one when the next segment begins.
    cdef int wipe(self, uint32_t number) except -1
    cdef int close(self) except -1
    cdef bint _is_settled(self, const Segment* segment) noexcept
    cdef bint _is_unjudged(self, const Segment* segment) noexcept
    cdef bint _may_pack(self, const Segment* segment) noexcept
    cdef bint _may_summarise(self, const Segment* segment) noexcept
    cdef Repack _begin(self, uint32_t number, Task task)
    cdef int _fill(self, Repack job, const Segment* segment) except -1
    cdef bint _has_room(self) except *
    cdef int _finish(self, Repack job) except -1
    cdef int _discard(self) except -1
