# A run: the columns of one range of sequences (see index.pyx). Plain functions over one struct.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum:
    NO_HOME = 0xFFFFFFFF             # Run.home when the messages lie in several segments (homes column)
    NO_ROW = 0xFFFFFFFF
    DEAD = 0x80000000                # mark in the subject column
    SUBJECT_MASK = 0x7FFFFFFF
    LASTING = 0x80000000             # mark in the size column: max_age does not end this message
    SIZE_MASK = 0x7FFFFFFF

cdef struct Run:
    uint64_t base                    # sequence of row 0 when dense
    int64_t base_ts_ns
    uint32_t rows
    uint32_t rows_max
    uint32_t live
    uint32_t home                    # index into Index._homes
    void* block                      # the one allocation behind all columns
    uint32_t* subject                # id, or id | DEAD
    uint32_t* offset
    uint32_t* link                   # distance to the next message of the same subject; 0 = not known
    uint32_t* age_ms
    uint32_t* size                   # accounted bytes, or those | LASTING
    uint32_t* rel                    # NULL: dense, row = seq - base; else ascending seq - base
    uint32_t* homes                  # NULL: all in `home`; own allocation

cdef inline uint64_t run_seq(const Run* run, uint32_t row) noexcept:
    return run.base + (row if run.rel == NULL else run.rel[row])

cdef inline bint run_is_live(const Run* run, uint32_t row) noexcept:
    return not run.subject[row] & DEAD

cdef inline int64_t run_ts_ns(const Run* run, uint32_t row) noexcept:
    return run.base_ts_ns + <int64_t>run.age_ms[row] * 1_000_000

cdef inline uint64_t run_last_seq(const Run* run) noexcept:      # below base when there are no rows
    return run.base - 1 if run.rows == 0 else run_seq(run, run.rows - 1)

cdef Run* run_new(uint64_t base, int64_t base_ts_ns, uint32_t home) except NULL
cdef void run_free(Run* run) noexcept
# Makes room for one more row / gives back room that is not used.
cdef int run_reserve(Run* run) except -1
cdef int run_reserve_rows(Run* run, uint32_t more) except -1
cdef int run_trim(Run* run) except -1
# One more row, reserved before (the caller fills its columns); returns its number. `seq` must follow directly when dense.
cdef uint32_t run_append(Run* run, uint64_t seq) except? NO_ROW
# The row of `seq`; NO_ROW when it has none.
cdef uint32_t run_find(const Run* run, uint64_t seq) noexcept
# First row whose sequence is >= seq; run.rows when there is none.
cdef uint32_t run_lower_bound(const Run* run, uint64_t seq) noexcept
# Nearest live row at or after / at or before `row` (of this subject); NO_ROW when there is none.
cdef uint32_t run_next_live(const Run* run, uint32_t row) noexcept
cdef uint32_t run_prev_live(const Run* run, uint32_t row) noexcept
cdef uint32_t run_next_of(const Run* run, uint32_t row, uint32_t subject) noexcept
cdef uint32_t run_prev_of(const Run* run, uint32_t row, uint32_t subject) noexcept
cdef uint64_t run_count_of(const Run* run, uint32_t row, uint32_t subject) noexcept   # live of it from `row` on
cdef uint64_t run_count_live(const Run* run, uint32_t row) noexcept                   # live from `row` on
# Dense becomes sparse: sequences behind the last one may have gaps.
cdef int run_allow_gaps(Run* run) except -1
# Forgets dead rows: dense becomes sparse, the columns shrink to what is live.
cdef int run_squeeze(Run* run) except -1
# Gives every row a home of its own (before the first message moves away).
cdef int run_scatter(Run* run) except -1
# Back to one home when all live rows agree.
cdef void run_gather(Run* run) noexcept
cdef uint64_t run_bytes(const Run* run) noexcept
