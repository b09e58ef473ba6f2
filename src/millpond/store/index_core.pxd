# The index's state, and what changes it. The questions are in index.pxd.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.store.api cimport StoreState
from millpond.store.run cimport Run
from millpond.store.subject_index cimport NO_SUBJECT, SubjectTable
from millpond.structures.id_map cimport IdMap

cdef struct Entry:               # one live message, by value
    uint64_t seq
    uint32_t run_id              # who holds its bytes: the segment's number
    uint32_t offset              # where in that segment
    uint32_t size                # accounted bytes (message_size)
    int64_t ts_ns                # exact to 1 ms downwards
    const char* subject          # in the subject arena: valid until the next add (also after its removal)
    uint32_t subject_len

cdef struct Row:                 # a message to be added
    uint64_t seq
    int64_t ts_ns
    const char* subject
    uint32_t* known              # the subject's id, if it was added before, else NO_SUBJECT; is set
    uint32_t subject_len
    uint32_t offset
    uint32_t size

cdef struct Home:                # a segment that holds bytes of live messages
    uint32_t run_id
    uint32_t next_free           # of a free home
    uint64_t live

cdef class IndexCore:
    cdef StoreState state                        # the one truth; stores copy or expose it
    cdef SubjectTable subjects
    cdef Run** _runs                             # ascending by base, not overlapping
    cdef uint32_t _runs_count, _runs_max
    cdef Run* _loose                             # has become mostly dead: tidied at the next change
    cdef Home* _homes
    cdef uint32_t _homes_count, _homes_max, _homes_free
    cdef uint32_t _home                          # where add() puts messages; NO_HOME: open_run() comes first
    cdef IdMap _home_of                          # run_id -> home
    cdef uint64_t _rows                          # of all runs
    cdef uint32_t renumbered                     # how often subjects got other ids

    # Starts a run for segment `run_id`; the next appended sequence is its base.
    cdef int open_run(self, uint32_t run_id, int64_t base_ts_ns) except -1
    # add() puts what follows into this segment, without a run of its own (recovery, which merges by sequence).
    cdef int put_into(self, uint32_t run_id) except -1
    # Appends the message `seq` (> state.last_seq; gaps are deleted sequences) to the newest run.
    cdef int add(self, uint64_t seq, const char* subject, uint32_t subject_len,
                 uint32_t offset, uint32_t size, int64_t ts_ns) except -1
    # The same. id: what this returned for the subject before, if it did (else NO_SUBJECT): saves looking it up.
    cdef uint32_t add_known(self, uint64_t seq, uint32_t id, const char* subject, uint32_t subject_len,
                            uint32_t offset, uint32_t size, int64_t ts_ns) except? NO_SUBJECT
    # The same of many, ascending, all in the segment that add() puts messages into now.
    cdef int add_rows(self, const Row* rows, uint32_t n) except -1
    # About so many messages will follow in the newest run.
    cdef int expect(self, uint32_t rows) except -1
    cdef bint get(self, uint64_t seq, Entry* out) noexcept
    # A live message may be marked as one that max_age does not end; the mark goes with the message.
    cdef int set_lasting(self, uint64_t seq) except -1
    cdef bint is_lasting(self, uint64_t seq) noexcept
    # Marks it dead; updates subject entry, counters and first_seq. *out describes what went. False: was not live.
    cdef bint remove(self, uint64_t seq, Entry* out) except *
    # After compaction or segment change: the live message `seq` now lives elsewhere. `run_id` was opened before.
    cdef int move(self, uint64_t seq, uint32_t run_id, uint32_t offset) except -1
    cdef uint64_t live_in_run(self, uint32_t run_id) noexcept
    cdef int drop_run(self, uint32_t run_id) except -1            # only when live_in_run is 0
    # last_seq becomes at least `seq` (high-water mark; skips); first_seq follows when empty.
    cdef int raise_last(self, uint64_t seq) except -1
    cdef int raise_first(self, uint64_t seq) except -1            # empty index only: first_seq = seq, last_seq = seq - 1

    # --- private, shared with the questions ---
    cdef uint32_t _run_at(self, uint64_t seq) noexcept            # last run with base <= seq; 0 when there is none
    cdef Run* _locate(self, uint64_t seq, uint32_t* row) noexcept # NULL: no row
    cdef void _describe(self, const Run* run, uint32_t row, Entry* out) noexcept
    cdef uint64_t _next_same(self, uint64_t seq, uint32_t subject) noexcept
    cdef uint64_t _prev_same(self, uint64_t seq, uint32_t subject) noexcept
    cdef uint64_t _live_after(self, uint64_t seq, int64_t* ts_ns) noexcept
    cdef uint32_t _home_for(self, uint32_t run_id) except? 0xFFFFFFFF
    cdef int _push_run(self, uint64_t base, int64_t base_ts_ns) except -1
    cdef int _drop_run_at(self, uint32_t i) except -1
    cdef Run* _room_for(self, uint64_t seq, int64_t ts_ns) except NULL
    cdef uint32_t _extend(self, const Row* rows, uint32_t n) noexcept
    cdef int _link(self, uint64_t from_seq, uint64_t to_seq) noexcept
    cdef int _tidy(self) except -1
    cdef int _renumber(self) except -1
    cdef void _refresh(self) noexcept
