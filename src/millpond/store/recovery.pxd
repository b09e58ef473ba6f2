# From the files of a log back to an index and a log that goes on.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.indexed_store cimport IndexedStore
from millpond.store.record cimport Erasure, Head
from millpond.store.segment cimport SegmentHead
from millpond.store.segment_log cimport SegmentLog

cdef struct Part:                    # one segment of the log, while it is recovered
    SegmentHead head
    uint32_t number
    uint32_t bytes                   # of the file
    uint32_t end                     # of its records: known from the segment after, or the file's end
    bint end_known
    bint copies                      # holds records that compaction moved, or may do so
    bint gap                         # the segment before it is missing
    uint32_t distrust                # removals from this offset on are not believed (see recovery.pyx)

cdef struct Moved:                   # a record that compaction moved
    uint64_t seq
    uint64_t generation
    int64_t ts_ns
    int64_t expires_ns
    size_t subject                   # offset in the arena
    uint32_t subject_len
    uint32_t number
    uint32_t offset
    uint32_t size

cdef class Recovery:
    cdef readonly list damage        # what was found wrong, in words
    cdef readonly list lost_ranges   # [(first, last)] sequences that damage may have taken
    cdef readonly uint64_t lost      # how many those are
    cdef readonly list erasures      # [(seq, number, generation, offset, size)] to be overwritten
    cdef readonly uint64_t torn_seq  # the last write is torn: messages from here on may be missing; 0: it is not
    cdef readonly bint clean         # the log ends with the record of an orderly stop
    cdef IndexedStore _store
    cdef SegmentLog _log
    cdef Part* _parts                # in order of generation
    cdef uint32_t _count
    cdef Moved* _moved               # ascending by sequence once all are gathered
    cdef size_t _moved_count, _moved_max, _moved_at
    cdef char* _arena
    cdef size_t _arena_used, _arena_max
    cdef char* _image                # the segment that is being read
    cdef uint32_t _image_bytes, _image_max
    cdef uint32_t _home              # where index.add() puts messages now
    cdef object _loss                # bad places whose messages are not known yet; None: there are none
    cdef list _losses                # all of them
    cdef uint64_t _scrub_below       # files below that generation may hold copies of what was erased
    cdef uint64_t _last_original     # highest sequence of a record that was not moved
    cdef uint32_t _sync_from         # parts from here on may not be on disk yet

    cdef int _find_parts(self) except -1
    cdef int _keep(self, list heads) except -1
    cdef int _link(self) except -1
    cdef bint _claim_trim(self, uint64_t* oldest, uint32_t* offset) except *
    cdef int _trim(self, uint64_t oldest) except -1
    cdef int _load(self, Part* part) except -1
    cdef int _find_distrust(self) except -1
    cdef uint32_t _survey(self, Part* part, uint32_t* first_bad, uint32_t* last) except? 0xFFFFFFFF
    cdef int _gather(self) except -1
    cdef int _gather_one(self, const Part* part, uint32_t offset, const Head* head) except -1
    cdef int _replay(self, Part* part) except -1
    cdef int _apply(self, Part* part, uint32_t offset, Head* head) except -1
    cdef int _original(self, Part* part, uint32_t offset, const Head* head) except -1
    cdef int _merge(self, uint64_t below_seq) except -1
    cdef int _add(self, uint64_t seq, const char* subject, uint32_t subject_len, uint32_t number, uint32_t offset,
                  uint32_t size, int64_t ts_ns, int64_t expires_ns, bint own_run) except -1
    cdef bint _drop(self, uint64_t seq) except *
    cdef int _erase(self, const Head* head, uint64_t seq) except -1
    cdef bint _is_message(self, const Part* part, const Erasure* erasure) except *
    cdef Part* _part_of(self, uint64_t generation) noexcept
    cdef int _floor(self, uint64_t first_seq) except -1
    cdef int _disbelieve(self, Part* part, uint32_t offset, Head* head) except -1
    cdef int _damaged(self, const Part* part, uint32_t bad, uint32_t end) except -1
    cdef int _missing(self, uint64_t next_seq) except -1
    cdef int _report(self) except -1
    cdef int _finish(self) except -1
