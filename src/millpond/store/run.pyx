"""Runs: columns of 32-bit numbers for a range of ascending sequences, dense while most rows live.

    dense    row r is sequence base + r
    sparse   row r is sequence base + rel[r]; what died before the last squeeze has no row any more

All columns share one allocation of rows_max rows. A dead row keeps its subject id and link until it is
squeezed out, so that "the next one of the same subject" can still be asked of a message that just left.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef enum:
    ROWS_MIN = 16
    COLUMNS_DENSE = 5
    COLUMNS_SPARSE = 6


cdef Run* run_new(uint64_t base, int64_t base_ts_ns, uint32_t home) except NULL:
    cdef Run* run = <Run*>calloc(1, sizeof(Run))
    if run == NULL:
        raise MemoryError
    run.base, run.base_ts_ns, run.home = base, base_ts_ns, home
    return run


cdef void run_free(Run* run) noexcept:
    free(run.homes)
    free(run.block)
    free(run)


cdef int _lay_out(Run* run, uint32_t rows_max, bint sparse) except -1:
    """Columns of `rows_max` rows in a new allocation; copies the rows there are. Never below run.rows."""
    cdef uint32_t* block
    cdef uint32_t* columns[6]
    cdef uint32_t* old[6]
    cdef uint32_t i, r
    cdef size_t n = run.rows * sizeof(uint32_t)
    assert rows_max >= run.rows
    block = <uint32_t*>malloc(<size_t>rows_max * sizeof(uint32_t) * (COLUMNS_SPARSE if sparse else COLUMNS_DENSE))
    if block == NULL:
        raise MemoryError
    old[0], old[1], old[2], old[3], old[4] = run.subject, run.offset, run.link, run.age_ms, run.size
    for i in range(COLUMNS_DENSE):
        columns[i] = block + <size_t>i * rows_max
        if n:
            memcpy(columns[i], old[i], n)
    if sparse:
        columns[5] = block + <size_t>5 * rows_max
        for r in range(run.rows):
            columns[5][r] = r if run.rel == NULL else run.rel[r]
    free(run.block)
    run.block, run.rows_max = block, rows_max
    run.subject, run.offset, run.link, run.age_ms, run.size = columns[0], columns[1], columns[2], columns[3], columns[4]
    run.rel = columns[5] if sparse else NULL
    return 0


cdef int _fit_homes(Run* run, uint32_t rows_max) except -1:
    cdef uint32_t* homes
    if run.homes == NULL:
        return 0
    homes = <uint32_t*>malloc(<size_t>rows_max * sizeof(uint32_t))
    if homes == NULL:
        raise MemoryError
    memcpy(homes, run.homes, <size_t>run.rows * sizeof(uint32_t))
    free(run.homes)
    run.homes = homes
    return 0


cdef int _resize(Run* run, uint32_t rows_max) except -1:
    _fit_homes(run, rows_max)                      # first: too long does no harm if the second fails
    return _lay_out(run, rows_max, run.rel != NULL)


cdef int run_reserve(Run* run) except -1:
    return _resize(run, run.rows + (run.rows >> 1) + ROWS_MIN) if run.rows == run.rows_max else 0


cdef int run_reserve_rows(Run* run, uint32_t more) except -1:
    return _resize(run, run.rows + more) if run.rows_max - run.rows < more else 0


cdef int run_trim(Run* run) except -1:
    return _resize(run, run.rows) if run.rows and run.rows_max - run.rows > run.rows >> 3 else 0


cdef uint32_t run_append(Run* run, uint64_t seq) except? NO_ROW:
    assert run.rows < run.rows_max and (run.rows == 0 or seq > run_last_seq(run))
    assert run.rel != NULL or seq == run.base + run.rows, "a dense run has no gaps"
    if run.rel != NULL:
        assert seq - run.base < NO_ROW
        run.rel[run.rows] = <uint32_t>(seq - run.base)
    run.rows += 1
    return run.rows - 1


cdef uint32_t run_lower_bound(const Run* run, uint64_t seq) noexcept:
    cdef uint32_t low = 0, high = run.rows, middle
    cdef uint64_t want
    if seq <= run.base:
        return 0
    want = seq - run.base
    if run.rel == NULL:
        return <uint32_t>want if want < run.rows else run.rows
    while low < high:                              # halves [low, high) each time
        middle = low + (high - low) // 2
        if run.rel[middle] < want:
            low = middle + 1
        else:
            high = middle
    return low


cdef uint32_t run_find(const Run* run, uint64_t seq) noexcept:
    cdef uint32_t row = run_lower_bound(run, seq)
    return row if row < run.rows and run_seq(run, row) == seq else NO_ROW


cdef uint32_t run_next_live(const Run* run, uint32_t row) noexcept:
    cdef uint32_t r
    if run.live:
        for r in range(row, run.rows):
            if not run.subject[r] & DEAD:
                return r
    return NO_ROW


cdef uint32_t run_prev_live(const Run* run, uint32_t row) noexcept:
    cdef uint32_t r = row + 1 if row < run.rows else run.rows
    if run.live:
        while r:
            r -= 1
            if not run.subject[r] & DEAD:
                return r
    return NO_ROW


cdef uint32_t run_next_of(const Run* run, uint32_t row, uint32_t subject) noexcept:
    cdef uint32_t r
    if run.live:
        for r in range(row, run.rows):
            if run.subject[r] == subject:
                return r
    return NO_ROW


cdef uint32_t run_prev_of(const Run* run, uint32_t row, uint32_t subject) noexcept:
    cdef uint32_t r = row + 1 if row < run.rows else run.rows
    if run.live:
        while r:
            r -= 1
            if run.subject[r] == subject:
                return r
    return NO_ROW


cdef uint64_t run_count_of(const Run* run, uint32_t row, uint32_t subject) noexcept:
    cdef uint32_t r
    cdef uint64_t n = 0
    for r in range(row, run.rows):
        n += run.subject[r] == subject
    return n


cdef uint64_t run_count_live(const Run* run, uint32_t row) noexcept:
    cdef uint32_t r
    cdef uint64_t n = 0
    if row == 0:
        return run.live
    for r in range(row, run.rows):
        n += not run.subject[r] & DEAD
    return n


cdef int run_allow_gaps(Run* run) except -1:
    return _lay_out(run, run.rows_max, True) if run.rel == NULL else 0


cdef int run_squeeze(Run* run) except -1:
    cdef uint32_t r, to = 0
    if run.rel == NULL:
        _lay_out(run, run.rows_max, True)
    for r in range(run.rows):                      # to <= r: nothing unread is overwritten
        if run.subject[r] & DEAD:
            continue
        run.subject[to], run.offset[to], run.link[to] = run.subject[r], run.offset[r], run.link[r]
        run.age_ms[to], run.size[to], run.rel[to] = run.age_ms[r], run.size[r], run.rel[r]
        if run.homes != NULL:
            run.homes[to] = run.homes[r]
        to += 1
    assert to == run.live, "a run knows how many of its rows live"
    run.rows = to
    return _resize(run, to + (to >> 2) + 1)


cdef int run_scatter(Run* run) except -1:
    cdef uint32_t r
    assert run.homes == NULL and run.home != NO_HOME
    run.homes = <uint32_t*>malloc(<size_t>(run.rows_max or 1) * sizeof(uint32_t))
    if run.homes == NULL:
        raise MemoryError
    for r in range(run.rows):
        run.homes[r] = run.home
    run.home = NO_HOME
    return 0


cdef void run_gather(Run* run) noexcept:
    cdef uint32_t r, home = NO_HOME
    for r in range(run.rows):
        if run.subject[r] & DEAD:
            continue
        if home == NO_HOME:
            home = run.homes[r]
        elif run.homes[r] != home:
            return
    if home != NO_HOME:
        free(run.homes)
        run.homes, run.home = NULL, home


cdef uint64_t run_bytes(const Run* run) noexcept:
    cdef uint64_t columns = COLUMNS_DENSE if run.rel == NULL else COLUMNS_SPARSE
    if run.homes != NULL:
        columns += 1
    return sizeof(Run) + columns * 4 * run.rows_max
