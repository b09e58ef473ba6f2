# The log of one stream: segments in order, the records that are not committed yet in memory, and the few files that
# all of it lives in. It knows bytes and lengths; what they mean is the file store's.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from millpond.store.api cimport Load
from millpond.store.committer cimport Committer, Target
from millpond.store.proof cimport Proof
from millpond.store.read_cache cimport ReadCache
from millpond.store.record cimport Head
from millpond.store.segment cimport Segment
from millpond.store.segment_files cimport SegmentFiles
from millpond.wire.message cimport Msg

cdef struct Place:                       # of a record
    uint64_t generation
    uint32_t offset

cdef class SegmentLog(SegmentFiles):
    cdef ReadCache cache
    cdef object arrived                  # callable: a cold read is there, or reclaim() can go on
    cdef bint drops_pages                # what is committed is on disk (tier SYNCED): the kernel may forget it
    cdef list order                      # the numbers in the log, oldest first
    cdef uint32_t tail                   # takes records; NO_SEGMENT: the next record begins one
    cdef readonly uint64_t generation    # highest ever used
    cdef public uint32_t identity        # of this log among others; 0: it has none yet
    cdef readonly uint64_t log_bytes     # of the files in the log
    cdef uint64_t last_seq               # of the records so far
    cdef int64_t last_ts_ns
    cdef list _dirty, _syncing, _patched # numbers
    cdef list released                   # numbers that wait for reclaim()
    cdef uint64_t _waits_for             # so many files of the closer; then `arrived` is called
    cdef list _open_sealed
    cdef uint32_t _trimming              # so many of the oldest leave with the write that runs
    cdef uint32_t _batch_bytes           # of the last write: how large the next buffer begins
    cdef bint _batch_begins
    cdef Place _gathered, _writing, _proof   # first record of the write that gathers, that runs, that was committed last
    cdef uint32_t _ended_at              # records_end before the last record
    cdef Place committed_upto            # how far the log was committed; generation 0: nothing since it was opened
    cdef Place found_upto                # the same once settle() has succeeded; generation 0: nobody can say

    cdef Proof _proof_runs               # until settle(), of a log whose last write may not be on disk

    # --- after recovery: what the descriptors `fds` are of is synced beside, and they are closed. settle(), before anything
    # is written: it is on disk, and `witness` will testify to it, or OSError; `wait`: at once ---
    cdef int prove(self, Committer committer, Target witness, list fds, bint wait) except -1
    cpdef int settle(self) except -1
    # --- records; each returns its number and offset. Raises OSError, MemoryError; then nothing was appended ---
    cdef int put_message(self, uint64_t seq, int64_t ts_ns, int64_t expires_ns, const Msg* msg,
                         uint32_t* number, uint32_t* offset) except -1
    cdef int put_copy(self, const Head* record, uint32_t* number, uint32_t* offset) except -1
    cdef int put(self, uint8_t kind, uint8_t flags, uint64_t seq, const void* body, uint32_t n) except -1
    # The next record, of `length` bytes, will have room without asking the disk. Raises as the puts do.
    cdef int make_room(self, uint32_t length) except -1
    # So will so many bytes of records, none longer than `largest`, until end_batch().
    cdef int begin_batch(self, uint64_t total, uint32_t largest) except -1
    # Takes the record back that was appended last.
    cdef int undo(self, uint32_t number, uint32_t offset) except -1
    # --- what lives ---
    cdef void added(self, uint32_t number, uint32_t size) noexcept       # one live message more / less
    cdef void added_many(self, uint32_t number, uint32_t n, uint64_t size) noexcept
    cdef void gone(self, uint32_t number, uint32_t size) noexcept
    # Logs that the oldest segments, where nothing lives, leave the log with the next write. False: there are none.
    cdef bint trim(self) except *
    # --- commit ---
    # Hands what is buffered to the kernel; returns the descriptor to sync, -1 when there is nothing. `target` is told
    # of descriptors to be synced as well; None: nobody will sync (the records only say what is known anyway).
    cdef int write(self, Target target) except -2
    # What the last write() wrote is committed. Returns the numbers of segments that left the log.
    cdef list committed(self)
    cdef int release(self, uint32_t number) except -1                    # nothing refers to it any more
    cdef bint reclaim(self) except *                                     # True: more is waiting, and need not
    # --- reading ---
    # At least min(n, what is left of the records) bytes at an offset; *have says how many. Raises OSError.
    cdef Load view(self, uint32_t number, uint32_t offset, uint32_t n, bint wait, char** out, uint32_t* have) except *
    # The same for what cannot be read otherwise: waits, and has 0xFF in the place of sectors that cannot be read at all.
    cdef int view_around(self, uint32_t number, uint32_t offset, uint32_t n, char** out, uint32_t* have) except -1
    cdef char* peek(self, uint32_t number, uint32_t offset, uint32_t n) noexcept   # NULL: not in memory
    # Is a record of a later write committed? Then damage at this place can never pass for a torn write.
    cdef bint proven(self, uint64_t generation, uint32_t offset) noexcept
    cdef bint has_begun(self) noexcept                                   # the next write has a record
    # Files below that generation may hold copies of what was erased: they are removed, not used again.
    cdef int scrub(self, uint64_t generation) except -1
    # The file is removed when it has left the log, not used again: it holds what was to be erased.
    cdef int discard(self, uint32_t number) except -1
    # --- recovery ---
    cdef int fd(self, uint32_t number) except -1
    # n bytes of a segment from `offset` on, fewer at the end of a plain file; blocks until they are read.
    cdef size_t read(self, uint32_t number, char* data, size_t n, uint32_t offset) except? 0xFFFFFFFFFFFFFFFF
    # --- life ---
    cpdef int close(self) except -1
    cdef int close_files(self) except -1
    cdef uint64_t memory_bytes(self) noexcept
    cpdef list check(self)
    cpdef list check_live(self, dict live)

    cdef char* _take(self, uint32_t length, uint32_t* number, uint32_t* offset) except NULL
    cdef uint8_t _flags(self, uint32_t number, uint32_t offset) noexcept
    cdef int _resume(self) except -1
    cdef void _seal(self, Segment* segment) noexcept
    cdef int _begin_segment(self, uint32_t n) except -1
    cdef int _room(self, Segment* segment, uint64_t n) except -1
    cdef int _flush(self, Segment* segment, Target target) except -1
    cdef int _settle(self, uint32_t number) except -1
    cdef int _settle_buffer(self, Segment* segment, uint32_t from_offset) except -1
    cdef void _free_buffer(self, Segment* segment) noexcept
