"""The index of one store: runs of columns, the subject table, the counters - and what changes them.

    runs   [base 1: rows...] [base 801: rows...] [base 1650: rows...]      ascending, found by binary search
    homes  run_id -> how many live messages have their bytes in that segment

A run begins as the messages of one segment, in `run.home`. Compaction moves single messages to other segments;
then the run gets a column of homes until all its live rows agree again. Gaps in the sequence and ages that do
not fit 32 bits of milliseconds simply begin another run in the same home. A run that is mostly dead is squeezed
to its live rows, and freed when nothing lives, so memory follows the live messages. Both happen at the next
change, never within a removal: what was just removed can still be asked about.

Links. A row's `link` is the distance to the next message of its subject, set when that one is appended. Followed
past dead rows, links visit every later message of the subject, unless a row on the way was squeezed out; from
there the columns are scanned. So first_seq and last_seq of a subject stay exact at the price of a few hops.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from millpond.store.run cimport (
    DEAD,
    LASTING,
    NO_HOME,
    NO_ROW,
    SIZE_MASK,
    SUBJECT_MASK,
    Run,
    run_append,
    run_find,
    run_free,
    run_gather,
    run_is_live,
    run_lower_bound,
    run_new,
    run_next_live,
    run_next_of,
    run_prev_of,
    run_reserve,
    run_reserve_rows,
    run_scatter,
    run_seq,
    run_allow_gaps,
    run_squeeze,
    run_trim,
    run_ts_ns,
)
from millpond.store.subject_index cimport NO_SUBJECT, Subject, SubjectTable
from millpond.structures.id_map cimport NONE, IdMap

cdef enum:
    SQUEEZE_ROWS_MIN = 256           # smaller runs are not worth it
    SQUEEZE_PART = 4                 # squeezed when less than a fourth lives
    LINK_WALK_MAX = 32               # subjects with more messages are searched backwards by scanning
    RENUMBER_IDS_MIN = 1024
    NS_PER_MS = 1_000_000

cdef uint64_t DISTANCE_MAX = 0xFFFFFFFE
cdef uint32_t DENSE_ROWS_MIN = 64            # a shorter run that meets a gap becomes sparse, a longer one ends


cdef inline uint32_t _row_after(const Run* run, uint64_t seq) noexcept:
    """First row with a sequence > seq; run.rows when there is none."""
    return run_lower_bound(run, seq + 1)


cdef class IndexCore:
    """State and changes; use `Index`."""

    def __cinit__(self):
        self.subjects = SubjectTable()
        self._home_of = IdMap()
        self._home = NO_HOME
        self._homes_free = NO_HOME
        self.state.first_seq = 1

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self._runs_count):
            run_free(self._runs[i])
        free(self._runs)
        free(self._homes)

    # --- finding ---

    cdef uint32_t _run_at(self, uint64_t seq) noexcept:
        cdef uint32_t low = 0, high = self._runs_count, middle
        if high and self._runs[high - 1].base <= seq:
            return high - 1
        while low < high:                          # first run with base > seq, halving [low, high)
            middle = low + (high - low) // 2
            if self._runs[middle].base <= seq:
                low = middle + 1
            else:
                high = middle
        return low - 1 if low else 0

    cdef Run* _locate(self, uint64_t seq, uint32_t* row) noexcept:
        cdef Run* run
        if self._runs_count == 0:
            return NULL
        run = self._runs[self._run_at(seq)]
        if seq < run.base:
            return NULL
        row[0] = run_find(run, seq)
        return NULL if row[0] == NO_ROW else run

    cdef void _describe(self, const Run* run, uint32_t row, Entry* out) noexcept:
        cdef uint32_t id = run.subject[row] & SUBJECT_MASK
        out.seq = run_seq(run, row)
        out.run_id = self._homes[run.home if run.homes == NULL else run.homes[row]].run_id
        out.offset, out.size, out.ts_ns = run.offset[row], run.size[row] & SIZE_MASK, run_ts_ns(run, row)
        out.subject, out.subject_len = self.subjects.text(id), self.subjects.at[id].text_len

    cdef bint get(self, uint64_t seq, Entry* out) noexcept:
        cdef uint32_t row
        cdef Run* run = self._locate(seq, &row)
        if run == NULL or not run_is_live(run, row):
            return False
        self._describe(run, row, out)
        return True

    cdef int set_lasting(self, uint64_t seq) except -1:
        cdef uint32_t row
        cdef Run* run = self._locate(seq, &row)
        assert run != NULL and run_is_live(run, row), "only live messages last"
        run.size[row] |= LASTING
        return 0

    cdef bint is_lasting(self, uint64_t seq) noexcept:
        cdef uint32_t row
        cdef Run* run = self._locate(seq, &row)
        return run != NULL and run_is_live(run, row) and run.size[row] & LASTING != 0

    cdef uint64_t _live_after(self, uint64_t seq, int64_t* ts_ns) noexcept:
        """First live sequence > seq and its time; 0 = none."""
        cdef uint32_t i, row
        cdef Run* run
        for i in range(self._run_at(seq), self._runs_count):
            run = self._runs[i]
            row = run_next_live(run, _row_after(run, seq))
            if row != NO_ROW:
                ts_ns[0] = run_ts_ns(run, row)
                return run_seq(run, row)
        return 0

    cdef uint64_t _next_same(self, uint64_t seq, uint32_t subject) noexcept:
        """Next live message of the subject after `seq`, which has or had it; 0 = none."""
        cdef Subject* entry = &self.subjects.at[subject]
        cdef uint64_t at = seq
        cdef uint32_t row, i
        cdef Run* run
        if entry.count == 0 or seq >= entry.last_seq:
            return 0
        if seq < entry.first_seq:
            return entry.first_seq
        run = self._locate(at, &row)
        while run != NULL and run.link[row]:       # ends: `at` grows with every step
            at += run.link[row]
            run = self._locate(at, &row)
            if run != NULL and run.subject[row] == subject:
                self._link(seq, at)
                return at
        for i in range(self._run_at(at), self._runs_count):
            run = self._runs[i]
            row = run_next_of(run, _row_after(run, at), subject)
            if row != NO_ROW:
                at = run_seq(run, row)
                self._link(seq, at)
                return at
        return 0

    cdef uint64_t _prev_same(self, uint64_t seq, uint32_t subject) noexcept:
        """Last live message of the subject before `seq`, its last one until now. There is at least one."""
        cdef Subject* entry = &self.subjects.at[subject]
        cdef uint64_t at = entry.first_seq
        cdef uint32_t i, row
        cdef Run* run
        if entry.count <= LINK_WALK_MAX:
            for i in range(entry.count - 1):
                at = self._next_same(at, subject)
            return at
        i = self._run_at(seq) + 1
        while i:
            i -= 1
            run = self._runs[i]
            row = run_prev_of(run, _row_after(run, seq), subject)
            if row != NO_ROW:
                return run_seq(run, row)
        return 0

    cdef int _link(self, uint64_t from_seq, uint64_t to_seq) noexcept:
        cdef uint32_t row
        cdef Run* run = self._locate(from_seq, &row)
        if run != NULL and to_seq - from_seq <= DISTANCE_MAX:
            run.link[row] = <uint32_t>(to_seq - from_seq)
        return 0

    # --- homes and runs ---

    cdef uint32_t _home_for(self, uint32_t run_id) except? 0xFFFFFFFF:
        """The home of this segment, made when it is new."""
        cdef uint32_t home = self._home_of.get(run_id), homes_max
        cdef void* grown
        if home != NONE:
            return home
        home = self._homes_free
        if home != NO_HOME:
            self._homes_free = self._homes[home].next_free
        else:
            if self._homes_count == self._homes_max:
                homes_max = self._homes_max * 2 + 4
                grown = realloc(self._homes, <size_t>homes_max * sizeof(Home))
                if grown == NULL:
                    raise MemoryError
                self._homes, self._homes_max = <Home*>grown, homes_max
            home = self._homes_count
            self._homes_count += 1
        self._homes[home].run_id, self._homes[home].live = run_id, 0
        self._home_of.put(run_id, home)
        return home

    cdef int _push_run(self, uint64_t base, int64_t base_ts_ns) except -1:
        cdef uint32_t runs_max
        cdef void* grown
        cdef Run* last
        if self._runs_count:
            last = self._runs[self._runs_count - 1]
            if last.live == 0:
                self._drop_run_at(self._runs_count - 1)
            else:
                run_trim(last)
        if self._runs_count == self._runs_max:
            runs_max = self._runs_max + (self._runs_max >> 1) + 4
            grown = realloc(self._runs, <size_t>runs_max * sizeof(Run*))
            if grown == NULL:
                raise MemoryError
            self._runs, self._runs_max = <Run**>grown, runs_max
        self._runs[self._runs_count] = run_new(base, base_ts_ns, self._home)
        self._runs_count += 1
        return 0

    cdef int _drop_run_at(self, uint32_t i) except -1:
        cdef Run* run = self._runs[i]
        assert run.live == 0 and i < self._runs_count
        if self._loose == run:
            self._loose = NULL
        self._rows -= run.rows
        run_free(run)
        self._runs_count -= 1
        memmove(self._runs + i, self._runs + i + 1, (self._runs_count - i) * sizeof(Run*))
        return 0

    cdef int open_run(self, uint32_t run_id, int64_t base_ts_ns) except -1:
        self._tidy()
        self._home = self._home_for(run_id)
        return self._push_run(self.state.last_seq + 1, max(base_ts_ns, self.state.last_ts_ns))

    cdef int put_into(self, uint32_t run_id) except -1:
        self._home = self._home_for(run_id)
        return 0

    cdef uint64_t live_in_run(self, uint32_t run_id) noexcept:
        cdef uint32_t home = self._home_of.get(run_id)
        return 0 if home == NONE else self._homes[home].live

    cdef int drop_run(self, uint32_t run_id) except -1:
        cdef uint32_t home = self._home_of.get(run_id), i
        if home == NONE:
            return 0
        assert self._homes[home].live == 0, "a segment with live messages stays"
        self._tidy()
        i = self._runs_count
        while i:
            i -= 1
            if self._runs[i].homes != NULL:
                run_gather(self._runs[i])
            elif self._runs[i].home == home:
                self._drop_run_at(i)
        if self._home == home:
            self._home = NO_HOME
        self._home_of.pop(run_id)
        self._homes[home].next_free, self._homes_free = self._homes_free, home
        return 0

    # --- changes ---

    cdef Run* _room_for(self, uint64_t seq, int64_t ts_ns) except NULL:
        """The newest run, or a further one when `seq` or its time does not fit there."""
        cdef Run* run = self._runs[self._runs_count - 1] if self._runs_count else NULL
        if run == NULL:
            self._push_run(seq, ts_ns)
        elif run.rows == 0 and run.live == 0:
            run.base = seq
            run.base_ts_ns = min(run.base_ts_ns, ts_ns)
            if run.homes == NULL:
                run.home = self._home
        elif seq - run.base >= DISTANCE_MAX:
            self._push_run(seq, ts_ns)
        elif run.rel == NULL and seq != run.base + run.rows:
            if run.rows < DENSE_ROWS_MIN:
                run_allow_gaps(run)                # a run for each gap would cost more than a column
            else:
                self._push_run(seq, ts_ns)
        run = self._runs[self._runs_count - 1]
        if (ts_ns - run.base_ts_ns) // NS_PER_MS > <int64_t>DISTANCE_MAX:
            if run.rows == 0:
                run.base_ts_ns = ts_ns
            else:
                self._push_run(seq, ts_ns)
                run = self._runs[self._runs_count - 1]
        if run.homes == NULL and run.home != self._home:
            run_scatter(run)
        run_reserve(run)
        return run

    cdef int add(self, uint64_t seq, const char* subject, uint32_t subject_len,
                 uint32_t offset, uint32_t size, int64_t ts_ns) except -1:
        self.add_known(seq, NO_SUBJECT, subject, subject_len, offset, size, ts_ns)
        return 0

    cdef uint32_t add_known(self, uint64_t seq, uint32_t id, const char* subject, uint32_t subject_len,
                            uint32_t offset, uint32_t size, int64_t ts_ns) except? NO_SUBJECT:
        cdef uint32_t row
        cdef Run* run
        cdef Subject* entry
        assert seq > self.state.last_seq, "sequences only grow"
        assert size <= SIZE_MASK, "the top bit is the lasting mark"
        assert self._home != NO_HOME, "open_run() comes first"
        ts_ns = max(ts_ns, self.state.last_ts_ns)
        self._tidy()
        if self.subjects.ids > RENUMBER_IDS_MIN and (self.subjects.ids - self.subjects.live) * 2 > \
                self._rows + self.subjects.live:
            self._renumber()
        run = self._room_for(seq, ts_ns)
        if not self.subjects.is_of(id, subject, subject_len):
            id = self.subjects.acquire(subject, subject_len)
        row = run_append(run, seq)
        run.subject[row], run.offset[row], run.link[row], run.size[row] = id, offset, 0, size
        run.age_ms[row] = <uint32_t>((ts_ns - run.base_ts_ns) // NS_PER_MS)
        if run.homes != NULL:
            run.homes[row] = self._home
        run.live += 1
        self._rows += 1
        self._homes[self._home].live += 1
        entry = &self.subjects.at[id]
        if entry.count == 0:
            entry.first_seq = seq
        else:
            self._link(entry.last_seq, seq)
        entry.last_seq = seq
        entry.count += 1
        if self.state.messages == 0:
            self.state.first_seq, self.state.first_ts_ns = seq, ts_ns
        self.state.messages += 1
        self.state.bytes += size
        self.state.last_seq, self.state.last_ts_ns = seq, ts_ns
        self._refresh()
        return id

    cdef int expect(self, uint32_t rows) except -1:
        return run_reserve_rows(self._runs[self._runs_count - 1], rows) if self._runs_count else 0

    cdef int add_rows(self, const Row* rows, uint32_t n) except -1:
        cdef uint32_t i = 0
        while i < n:
            rows[i].known[0] = self.add_known(rows[i].seq, rows[i].known[0], rows[i].subject, rows[i].subject_len,
                                              rows[i].offset, rows[i].size, rows[i].ts_ns)
            i += 1
            i += self._extend(rows + i, n - i)
        return 0

    cdef uint32_t _extend(self, const Row* rows, uint32_t n) noexcept:
        """Adds what simply follows in the newest run, and what is of subjects that are there. Returns how many."""
        cdef Run* run = self._runs[self._runs_count - 1]
        cdef uint32_t i, id, row
        cdef uint64_t bytes = 0, last, age_ms
        cdef int64_t ts_ns = self.state.last_ts_ns
        cdef const Row* at
        cdef Subject* entry
        if run.rel != NULL or run.homes != NULL or run.home != self._home:
            return 0
        n = min(n, run.rows_max - run.rows)
        for i in range(n):
            at, id, row = &rows[i], rows[i].known[0], run.rows
            if at.seq != run.base + row or not self.subjects.is_of(id, at.subject, at.subject_len):
                n = i
                break
            age_ms = <uint64_t>(max(ts_ns, at.ts_ns) - run.base_ts_ns) // NS_PER_MS
            if age_ms > DISTANCE_MAX:
                n = i
                break
            ts_ns = max(ts_ns, at.ts_ns)
            run.subject[row], run.offset[row], run.link[row], run.size[row] = id, at.offset, 0, at.size
            run.age_ms[row] = <uint32_t>age_ms
            run.rows += 1
            entry = &self.subjects.at[id]
            last = entry.last_seq
            if last >= run.base:
                run.link[last - run.base] = <uint32_t>(at.seq - last)
            else:
                self._link(last, at.seq)
            entry.last_seq = at.seq
            entry.count += 1
            bytes += at.size
        if n:
            run.live += n
            self._rows += n
            self._homes[self._home].live += n
            self.state.messages += n
            self.state.bytes += bytes
            self.state.last_seq, self.state.last_ts_ns = rows[n - 1].seq, ts_ns
            self._refresh()
        return n

    cdef bint remove(self, uint64_t seq, Entry* out) except *:
        cdef uint32_t row, id
        cdef Run* run
        cdef Subject* entry
        self._tidy()
        run = self._locate(seq, &row)
        if run == NULL or not run_is_live(run, row):
            return False
        self._describe(run, row, out)
        id = run.subject[row]
        run.subject[row] = id | DEAD
        run.live -= 1
        self._homes[run.home if run.homes == NULL else run.homes[row]].live -= 1
        if run.live == 0 or (run.rows >= SQUEEZE_ROWS_MIN and run.live < run.rows // SQUEEZE_PART):
            self._loose = run
        entry = &self.subjects.at[id]
        entry.count -= 1
        if entry.count == 0:
            self.subjects.release(id)
        elif entry.first_seq == seq:
            entry.first_seq = entry.last_seq if entry.count == 1 else self._next_same(seq, id)
            assert entry.first_seq > seq, "a subject with messages has a first one"
        elif entry.last_seq == seq:
            entry.last_seq = self._prev_same(seq, id)
            assert entry.first_seq <= entry.last_seq < seq, "a subject with messages has a last one"
        self.state.messages -= 1
        self.state.bytes -= out.size
        if self.state.messages == 0:
            self.state.first_seq, self.state.first_ts_ns = self.state.last_seq + 1, 0
        elif self.state.first_seq == seq:
            self.state.first_seq = self._live_after(seq, &self.state.first_ts_ns)
            assert self.state.first_seq > seq
        self._refresh()
        return True

    cdef int move(self, uint64_t seq, uint32_t run_id, uint32_t offset) except -1:
        cdef uint32_t row, home = self._home_for(run_id), old
        cdef Run* run = self._locate(seq, &row)
        assert run != NULL and run_is_live(run, row), "only live messages move"
        run.offset[row] = offset
        old = run.home if run.homes == NULL else run.homes[row]
        if old == home:
            return 0
        self._homes[old].live -= 1
        self._homes[home].live += 1
        if run.homes == NULL:
            run_scatter(run)
        run.homes[row] = home
        if run_next_live(run, row + 1) == NO_ROW:
            run_gather(run)
        return 0

    cdef int raise_last(self, uint64_t seq) except -1:
        if seq > self.state.last_seq:
            self.state.last_seq = seq
        if self.state.messages == 0:
            self.state.first_seq = self.state.last_seq + 1
        self._refresh()
        return 0

    cdef int raise_first(self, uint64_t seq) except -1:
        assert self.state.messages == 0, "only an empty store starts elsewhere"
        assert seq > self.state.last_seq, "a sequence is never issued twice"
        self.state.first_seq, self.state.last_seq = seq, seq - 1
        self._refresh()
        return 0

    cdef void _refresh(self) noexcept:
        """The counters that follow from others."""
        self.state.num_subjects = self.subjects.live
        self.state.num_deleted = 0
        if self.state.messages:
            self.state.num_deleted = self.state.last_seq - self.state.first_seq + 1 - self.state.messages

    cdef int _tidy(self) except -1:
        """Gives back what the last removal left dead."""
        cdef Run* run = self._loose
        cdef uint32_t rows, i
        if run == NULL:
            return 0
        self._loose = NULL
        if run.live == 0 and run != self._runs[self._runs_count - 1]:
            i = self._run_at(run.base)
            assert self._runs[i] == run
            return self._drop_run_at(i)
        if run.rows >= SQUEEZE_ROWS_MIN and run.live < run.rows // SQUEEZE_PART:
            rows = run.rows
            run_squeeze(run)
            self._rows -= rows - run.rows
        return 0

    cdef int _renumber(self) except -1:
        """Lets the subject table use its lowest ids, and rewrites the subject columns."""
        cdef uint32_t i, row, ids = self.subjects.ids
        cdef Run* run
        cdef uint32_t* map = <uint32_t*>malloc(<size_t>ids * sizeof(uint32_t))
        if map == NULL:
            raise MemoryError
        self.subjects.renumber(map)
        self.renumbered += 1
        for i in range(self._runs_count):
            run = self._runs[i]
            for row in range(run.rows):
                if run_is_live(run, row):
                    assert run.subject[row] < ids and map[run.subject[row]] != NO_SUBJECT
                    run.subject[row] = map[run.subject[row]]
                else:
                    run.subject[row] = DEAD | NO_SUBJECT
        free(map)
        return 0
