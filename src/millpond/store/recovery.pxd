# From the files of a log back to an index and a log that goes on.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.index cimport Row
from millpond.store.indexed_store cimport IndexedStore
from millpond.store.record cimport Erasure
from millpond.store.recovery_belief cimport LogBelief
from millpond.store.recovery_parts cimport Part
from millpond.store.repacking cimport Repacker
from millpond.store.segment_log cimport Place
from millpond.store.summary cimport Reading, Step

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

cdef class Recovery(LogBelief):
    cdef readonly object lost        # losses.Lost: sequences that damage may have taken
    cdef readonly list erasures      # [(seq, number, generation, offset, size)] to be overwritten
    cdef readonly int64_t first_ts_ns    # of the first message, exactly; 0: it is not known
    cdef readonly uint64_t torn_seq  # the last write is torn: messages from here on may be missing; 0: it is not
    cdef IndexedStore _store
    cdef Repacker _repacker
    cdef Moved* _moved               # ascending by sequence once all are gathered
    cdef size_t _moved_count, _moved_max, _moved_at
    cdef char* _arena
    cdef size_t _arena_used, _arena_max
    cdef uint32_t _home              # where index.add() puts messages now
    cdef object _loss                # bad places whose messages are not known yet; None: there are none
    cdef list _losses                # all of them
    cdef uint64_t _scrub_below       # files below that generation may hold copies of what was erased
    cdef uint64_t _last_original     # highest sequence of a record that was not moved

    cdef Reading _reading            # the summary that is being read
    cdef Place* _erased              # messages that are overwritten, of parts taken by their summaries; ascending
    cdef size_t _erased_count, _erased_max

    cdef int _gather(self) except -1
    cdef int _gather_records(self, Part* part, uint32_t at) except -1
    cdef int _gather_one(self, const Part* part, const Step* step) except -1
    cdef int _replay(self, Part* part) except -1
    cdef int _begin_part(self, Part* part) except -1
    cdef uint32_t _replay_records(self, Part* part, uint32_t at) except 0
    cdef uint32_t _replay_summary(self, Part* part, const char* steps) except 0
    cdef bint _simply_follows(self, const Step* step, uint64_t last_seq) noexcept
    cdef uint32_t _add_rows(self, Part* part, const Row* rows, uint32_t n) except? 1
    cdef int _apply(self, Part* part, const Step* step) except -1
    cdef int _original(self, Part* part, const Step* step) except -1
    cdef int _merge(self, uint64_t below_seq) except -1
    cdef int _add(self, uint64_t seq, const char* subject, uint32_t subject_len, uint32_t* known, uint32_t number,
                  uint32_t offset, uint32_t size, int64_t ts_ns, int64_t expires_ns, bint own_run) except -1
    cdef int _was_issued(self, const Part* part, uint64_t seq, uint32_t offset) except -1
    cdef bint _drop(self, uint64_t seq) except *
    cdef int _erase(self, const Part* of, const Step* step) except -1
    cdef int _erase_again(self, uint64_t seq, uint32_t number, uint32_t offset, uint32_t size) except -1
    cdef int _discard_spare(self, uint64_t generation) except -1
    cdef int _note_erased(self, const Part* part, uint32_t offset) except -1
    cdef bint _is_message(self, const Part* part, const Erasure* erasure) except *
    cdef bint _is_erased(self, const Part* part, uint32_t offset) noexcept
    cdef Part* _part_of(self, uint64_t generation) noexcept
    cdef int _floor(self, uint64_t first_seq) except -1
    cdef int _disbelieve(self, Part* part, uint32_t offset) except -1
    cdef int _wipe_summary(self, const Part* part) except -1
    cdef int _damaged(self, const Part* part, uint32_t bad, uint32_t end) except -1
    cdef int _begin_loss(self) except -1
    cdef int _bound_loss(self, uint32_t end) except -1
    cdef int _passed_over(self, const Part* part, uint64_t seq, uint32_t offset) except -1
    cdef int _missing(self, uint64_t next_seq) except -1
    cdef int _report(self) except -1
    cdef int _finish(self) except -1
    cdef int _end_at_least(self) except -1
