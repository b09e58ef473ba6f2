# The parts of a log that is recovered.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.record cimport Head
from millpond.store.segment cimport Packed, SegmentHead
from millpond.store.segment_log cimport SegmentLog
from millpond.store.summary cimport SummaryFoot
from millpond.store.witness cimport Witness

cdef enum:
    NOWHERE = 0xFFFFFFFF             # an offset behind every other one

cdef struct Part:                    # one segment of the log, while it is recovered
    SegmentHead head
    SummaryFoot foot                 # of its summary; foot.bytes 0: there is none
    uint32_t number
    uint32_t bytes                   # of the file, without the summary
    uint64_t file_bytes              # with it
    uint32_t end                     # of its records: known from the segment after, or the file's end
    bint end_known
    bint copies                      # holds records that compaction moved, or may do so
    bint gap                         # the segment before it is missing
    bint proven                      # a later write was begun: this one is on disk as it is, but for damage
    bint made_up                     # its head is damaged, and was concluded from what is around it
    uint32_t valid_end               # of its last whole record, where _survey came by
    bint is_exact                    # its end is that of its records: the segment after says so exactly
    uint32_t sure                    # everything below was committed, as the witness says; 0: it does not
    uint32_t distrust                # removals from this offset on are not believed (see recovery.pyx)

cdef class LogParts:
    cdef readonly list damage        # what was found wrong, in words
    cdef readonly list unproven      # and descriptors of it; whoever takes them closes them
    cdef SegmentLog _log
    cdef object _present             # names in the directory
    cdef list _headless              # numbers of files that may be a segment that is missing, and are left alone
    cdef Witness _witness            # generation 0: there is none
    cdef Part* _parts                # in order of generation
    cdef uint32_t _count
    cdef char* _image                # the segment that is being read
    cdef uint32_t _image_bytes, _image_max
    cdef uint32_t _image_of, _image_end  # which one it is, and how far it was to be read

    cdef double _began_s, _told_s
    cdef int _tell(self, uint32_t done) except -1
    cdef int _run(self) except -1
    cdef const Head* at_hand(self, uint32_t number, uint32_t offset) noexcept
    cdef int _find_parts(self) except -1
    # The rows of parts that belong to this log.
    cdef list _own(self, list parts)
    cdef list _foreign(self, list parts, uint32_t identity)
    cdef int _twice(self, uint32_t number, uint32_t other) except -1
    cdef int _leave_alone(self, uint32_t number, str why) except -1
    # Looks in files whose heads cannot be read for the segments that are missing.
    cdef int _look_for_missing(self, list parts, list headless) except -1
    cdef int _take(self, list parts, const Part* part) except -1
    cdef bint _find_newer(self) except *
    cdef bint _holds_later_write(self, uint32_t number, uint64_t generation) except *
    cdef list _missing_generations(self)
    cdef bint _has_content(self, uint32_t number) except *
    cdef bint _conclude(self, uint32_t number, uint64_t generation, Part* part) except *
    cdef bint _holds_records(self, Part* part) except *
    cdef bint _look_at(self, uint32_t number, Part* part) except *
    cdef Packed* _open_packed(self, Part* part, int fd) except NULL
    cdef int _keep(self, list parts) except -1
    # The steps of its summary, when recovery may go by it and it is whole; the caller frees them. NULL: its records.
    cdef char* _summary(self, Part* part) except? NULL
    cdef int _link(self) except -1
    cdef list _trims(self)
    cdef bint reaches(self, const Part* part, uint32_t end, uint32_t least) noexcept
    cdef int _load(self, Part* part) except -1
    cdef uint32_t _read_around(self, Part* part) except? 0xFFFFFFFF
