# The file store: an index, and a log in segments. Everything that changes it is a record of the log.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.api cimport Load, Record
from millpond.store.committer cimport Committer, Target
from millpond.store.compaction cimport Compactor
from millpond.store.index cimport Entry
from millpond.store.indexed_store cimport IndexedStore
from millpond.store.read_cache cimport ReadCache
from millpond.store.repacking cimport Repacker
from millpond.store.segment_log cimport SegmentLog

cdef enum Batch:
    NO_BATCH = 0
    BEGINS = 1                           # with what is appended next
    GOES_ON = 2                          # removals wait for its end

cdef class FileStore(IndexedStore):
    cdef readonly SegmentLog log
    cdef readonly list damage            # what recovery found wrong, in words
    cdef Committer _committer
    cdef Writer _writer
    cdef ReadCache _cache
    cdef Compactor _compactor
    cdef Repacker _repacker
    cdef bint _own_cache, _stopping
    cdef uint32_t _home                  # segment of the index's newest run
    # Removals that are not logged yet.
    cdef uint64_t* _gone                 # not from the front
    cdef uint32_t _gone_count, _gone_max
    cdef bint _floor_due                 # there were some from the front
    cdef bint _first_due                 # the first sequence was raised
    cdef list _secure                    # [Secure]
    cdef bint _removals_first            # they are to be logged before what is appended next
    cdef Batch _batch
    cdef list _secure_logged             # [(seq, number, generation, offset, size)]: with the next write
    cdef list _secure_writing            # their tombstones are in the write that runs
    cdef list _erasures                  # their tombstones are committed: to be overwritten
    cdef bint _unproven                  # some of those wait for a record behind them
    cdef uint64_t removed_position       # behind the last removal; what came since removes nothing
    cdef uint64_t _removals_at           # position before the first removal that has to be logged before an append
    cdef bint _unwritten                 # the disk was full, or stood still: what is buffered is written before anything is taken
    cdef uint64_t _writing_position, _writing_seq
    # --- Target, through the writer ---
    cdef int write(self) except -2
    cdef int synced(self, int error) except -1
    cdef int _write(self) except -2
    cdef int _put_removals(self) except -1
    cdef uint32_t _put_gone(self, uint32_t begin, uint32_t end, uint64_t floor) except? 0xFFFFFFFF
    cdef int _put_secure(self, Secure removal) except -1
    cdef int _append_work(self) except -1
    cdef int _put_work(self) except -1
    cdef int _put_what_is_due(self) except -1
    cpdef int fail(self, str reason) except -1
    cdef int _healthy(self) except -1
    cdef int _ready(self) except -1
    cdef int _moved_on(self, uint64_t n) except -1
    cdef int _keep_order(self) except -1
    cdef int _note_secure(self, const Entry* entry) except -1
    # --- reading ---
    cdef Load _read(self, const Entry* entry, Record* out, bint wait) except *
    cdef Load _read_alone(self, const Entry* entry, Record* out) except *
    cdef Load _verified(self, const Entry* entry, const char* at, uint32_t have, Record* out) except *
    cdef Load _damaged(self, uint64_t seq, str reason) except *
    cdef int _note_gone(self, uint64_t seq) except -1
    cpdef int arrived(self) except -1
    # Sealed segments are compressed from now on, or not any more: those that are stay.
    cpdef int compress(self, bint on) except -1

cdef class Secure:                       # a secure removal that is not logged yet
    cdef uint64_t seq, generation
    cdef uint32_t number, offset, size
    cdef uint32_t gone_upto              # the removals that came before it: so many of _gone,
    cdef uint64_t floor                  # and everything below; 0: nothing

cdef class Writer(Target):               # what the committer knows of a file store
    cdef FileStore store
