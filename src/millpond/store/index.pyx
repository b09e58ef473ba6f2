"""The questions of streams and consumers, answered from the index alone.

`all` asks the dead marks, a literal filter compares subject ids, a wildcard matches texts and remembers its
verdicts. A wildcard search that finds nothing near looks at the subjects' first and last messages before it
goes on through the columns, so that a rare subject costs its subjects and not the whole stream.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from millpond.store.api cimport Filters
from millpond.store.index_core cimport Entry, IndexCore, Row
from millpond.store.index_walk cimport Verdicts, Walk, matches_id, walk_begin, walk_on
from millpond.store.run cimport (
    NO_ROW,
    SIZE_MASK,
    SUBJECT_MASK,
    Run,
    run_bytes,
    run_count_live,
    run_count_of,
    run_is_live,
    run_last_seq,
    run_lower_bound,
    run_next_live,
    run_next_of,
    run_prev_live,
    run_prev_of,
    run_seq,
    run_ts_ns,
)
from millpond.store.subject_index cimport NO_SUBJECT, Subject

from millpond.base import limits

cdef enum:
    ROWS_NEAR = 1024                 # searched before the subjects are asked, besides one row per subject
    NS_PER_MS = 1_000_000

cdef uint64_t STEP_ROWS = limits.SEARCH_STEP_ROWS
cdef uint64_t EVERYTHING = 0xFFFFFFFFFFFFFFFF

cdef inline uint32_t _literal_id(Index index, Filters filters) noexcept:
    cdef bytes subject = filters.subjects[0]
    return index.subjects.find(PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject))


cdef inline bint _subject_matches(Index index, uint32_t id, Filters filters) noexcept:
    return index.subjects.at[id].count != 0 and filters.matches(
        index.subjects.text(id), index.subjects.at[id].text_len)


cdef class Index(IndexCore):
    """Live messages of one store."""

    # --- any subject ---

    cdef uint64_t next_live(self, uint64_t from_seq) noexcept:
        cdef int64_t ts_ns
        if self.state.messages == 0 or from_seq > self.state.last_seq:
            return 0
        if from_seq <= self.state.first_seq:
            return self.state.first_seq
        return self._live_after(from_seq - 1, &ts_ns)

    cdef uint64_t run_end(self, uint64_t seq) noexcept:
        cdef uint32_t row
        cdef Run* run = self._locate(seq, &row)
        return seq + 1 if run == NULL or run.homes != NULL else run_last_seq(run) + 1

    cdef uint64_t prev_live(self, uint64_t from_seq) noexcept:
        cdef uint32_t i, row
        cdef Run* run
        if self.state.messages == 0 or from_seq < self.state.first_seq:
            return 0
        i = self._run_at(from_seq) + 1
        while i:
            i -= 1
            run = self._runs[i]
            row = run_lower_bound(run, from_seq)
            if row < run.rows and run_seq(run, row) > from_seq or row == run.rows:
                if row == 0:
                    continue
                row -= 1
            row = run_prev_live(run, row)
            if row != NO_ROW:
                return run_seq(run, row)
        return 0

    cdef uint64_t seq_at_time(self, int64_t ts_ns) noexcept:
        cdef uint32_t i, low, high, middle
        cdef Run* run
        for i in range(self._runs_count):
            run = self._runs[i]
            if run.live == 0 or run_ts_ns(run, run.rows - 1) + NS_PER_MS <= ts_ns:
                continue
            low, high = 0, run.rows                # first row that may be late enough; ages ascend
            while low < high:
                middle = low + (high - low) // 2
                if run_ts_ns(run, middle) + NS_PER_MS <= ts_ns:
                    low = middle + 1
                else:
                    high = middle
            low = run_next_live(run, low)
            if low != NO_ROW:
                return run_seq(run, low)
        return self.state.last_seq + 1

    # --- one subject ---

    cdef uint64_t first_for(self, const char* subject, uint32_t subject_len) noexcept:
        cdef uint32_t id = self.subjects.find(subject, subject_len)
        return 0 if id == NO_SUBJECT else self.subjects.at[id].first_seq

    cdef uint64_t last_for(self, const char* subject, uint32_t subject_len) noexcept:
        cdef uint32_t id = self.subjects.find(subject, subject_len)
        return 0 if id == NO_SUBJECT else self.subjects.at[id].last_seq

    cdef uint64_t count_for(self, const char* subject, uint32_t subject_len) noexcept:
        cdef uint32_t id = self.subjects.find(subject, subject_len)
        return 0 if id == NO_SUBJECT else self.subjects.at[id].count

    cdef uint64_t next_for(self, uint64_t after_seq) noexcept:
        cdef uint32_t row, id
        cdef Run* run = self._locate(after_seq, &row)
        if run == NULL:
            return 0
        id = run.subject[row] & SUBJECT_MASK
        return 0 if id == NO_SUBJECT else self._next_same(after_seq, id)

    cdef uint64_t _next_of_id(self, uint64_t from_seq, uint32_t subject) noexcept:
        cdef Subject* entry = &self.subjects.at[subject]
        cdef uint32_t i, row
        cdef Run* run
        if from_seq <= entry.first_seq:
            return entry.first_seq
        if from_seq > entry.last_seq:
            return 0
        if entry.count == 2:
            return entry.last_seq
        for i in range(self._run_at(from_seq), self._runs_count):
            run = self._runs[i]
            row = run_next_of(run, run_lower_bound(run, from_seq), subject)
            if row != NO_ROW:
                return run_seq(run, row)
        return 0

    cdef uint64_t _last_of_id(self, uint64_t up_to_seq, uint32_t subject) noexcept:
        cdef Subject* entry = &self.subjects.at[subject]
        cdef uint32_t i, row
        cdef Run* run
        if up_to_seq >= entry.last_seq:
            return entry.last_seq
        if up_to_seq < entry.first_seq:
            return 0
        if entry.count == 2:
            return entry.first_seq
        i = self._run_at(up_to_seq) + 1
        while i:
            i -= 1
            run = self._runs[i]
            row = run_lower_bound(run, up_to_seq + 1)      # > 0 rows at or below, or none in this run
            row = NO_ROW if row == 0 else run_prev_of(run, row - 1, subject)
            if row != NO_ROW:
                return run_seq(run, row)
        return 0

    # --- filters ---

    cdef uint64_t _scan_up(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                           uint64_t* resume) noexcept:
        """First match in from_seq..to_seq, 0 = none. After `rows` rows it gives up: *resume is where to go on."""
        cdef Walk walk
        walk_begin(self, &walk, from_seq, to_seq, rows)
        while walk_on(self, &walk):
            if matches_id(self, walk.run.subject[walk.row], filters, &walk.verdicts):
                break
        resume[0] = walk.resume
        return walk.seq if walk.live else 0

    cdef uint64_t _scan_down(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept:
        """Last match in to_seq..from_seq (downwards), 0 = none. Gives up as _scan_up does."""
        cdef uint32_t i = self._run_at(from_seq) + 1, row
        cdef Run* run
        cdef Verdicts verdicts
        memset(&verdicts, 0, sizeof(Verdicts))
        resume[0] = 0
        while i:
            i -= 1
            run = self._runs[i]
            row = run_lower_bound(run, from_seq + 1) if run.live else 0
            while row:
                row -= 1
                if run_seq(run, row) < to_seq:
                    return 0
                if rows == 0:
                    resume[0] = run_seq(run, row)
                    return 0
                rows -= 1
                if run_is_live(run, row) and matches_id(self, run.subject[row], filters, &verdicts):
                    return run_seq(run, row)
        return 0

    cdef uint64_t next_match(self, uint64_t from_seq, Filters filters) noexcept:
        cdef uint64_t found, resume, best = EVERYTHING
        cdef uint32_t id
        cdef bint between = False                  # some subject has messages before and after `resume`
        if self.state.messages == 0 or from_seq > self.state.last_seq:
            return 0
        if filters.all:
            return self.next_live(from_seq)
        if filters.literal:
            id = _literal_id(self, filters)
            return 0 if id == NO_SUBJECT else self._next_of_id(from_seq, id)
        from_seq = max(from_seq, self.state.first_seq)
        found = self._scan_up(from_seq, self.state.last_seq, filters, ROWS_NEAR + self.subjects.live, &resume)
        if resume == 0:
            return found
        for id in range(self.subjects.ids):
            if self.subjects.at[id].last_seq >= resume and _subject_matches(self, id, filters):
                if self.subjects.at[id].first_seq >= resume:
                    best = min(best, self.subjects.at[id].first_seq)
                else:
                    between = True
        if not between:
            return 0 if best == EVERYTHING else best
        return self._scan_up(resume, min(best, self.state.last_seq), filters, EVERYTHING, &resume)

    cdef uint64_t last_match(self, Filters filters, uint64_t up_to_seq) noexcept:
        cdef uint64_t found, resume, best = 0
        cdef uint32_t id
        cdef bint between = False
        if up_to_seq == 0 or up_to_seq > self.state.last_seq:
            up_to_seq = self.state.last_seq
        if self.state.messages == 0 or up_to_seq < self.state.first_seq:
            return 0
        if filters.all:
            return self.prev_live(up_to_seq)
        if filters.literal:
            id = _literal_id(self, filters)
            return 0 if id == NO_SUBJECT else self._last_of_id(up_to_seq, id)
        found = self._scan_down(up_to_seq, 0, filters, ROWS_NEAR + self.subjects.live, &resume)
        if resume == 0:
            return found
        for id in range(self.subjects.ids):
            if self.subjects.at[id].first_seq <= resume and _subject_matches(self, id, filters):
                if self.subjects.at[id].last_seq <= resume:
                    best = max(best, self.subjects.at[id].last_seq)
                else:
                    between = True
        return self._scan_down(resume, best, filters, EVERYTHING, &resume) if between else best

    cdef uint64_t count_match(self, uint64_t from_seq, Filters filters) noexcept:
        cdef uint32_t id = NO_SUBJECT, i
        cdef uint64_t n = 0
        cdef Run* run
        if self.state.messages == 0 or from_seq > self.state.last_seq:
            return 0
        if filters.all and from_seq <= self.state.first_seq:
            return self.state.messages
        if filters.literal:
            id = _literal_id(self, filters)
            if id == NO_SUBJECT or from_seq > self.subjects.at[id].last_seq:
                return 0
            if from_seq <= self.subjects.at[id].first_seq:
                return self.subjects.at[id].count
        elif not filters.all:
            return self._count_any(from_seq, filters)
        for i in range(self._run_at(from_seq), self._runs_count):
            run = self._runs[i]
            if id == NO_SUBJECT:
                n += run_count_live(run, run_lower_bound(run, from_seq))
            elif run.live:
                n += run_count_of(run, run_lower_bound(run, from_seq), id)
        return n

    cdef uint64_t _count_any(self, uint64_t from_seq, Filters filters) noexcept:
        cdef uint32_t id
        cdef uint64_t n = 0, resume
        if from_seq > self.state.first_seq:
            return self.count_part(from_seq, self.state.last_seq, filters, EVERYTHING, &resume)
        for id in range(self.subjects.ids):
            if _subject_matches(self, id, filters):
                n += self.subjects.at[id].count
        return n

    # --- in steps ---

    cdef uint64_t search(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                         uint64_t* resume) noexcept:
        cdef uint64_t found
        resume[0] = 0
        if self.state.messages == 0 or from_seq > self.state.last_seq:
            return 0
        if not filters.all and not filters.literal:
            return self._scan_up(max(from_seq, self.state.first_seq), to_seq, filters, rows, resume)
        found = self.next_match(from_seq, filters)
        return found if found <= to_seq else 0

    cdef uint64_t search_down(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept:
        cdef uint64_t found
        resume[0] = 0
        from_seq, to_seq = min(from_seq, self.state.last_seq), max(to_seq, self.state.first_seq)
        if self.state.messages == 0 or from_seq < to_seq:
            return 0
        if filters.all or filters.literal:
            found = self.last_match(filters, from_seq)
            return found if found >= to_seq else 0
        return self._scan_down(from_seq, to_seq, filters, rows, resume)

    cdef uint64_t count_part(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept:
        cdef uint64_t n = 0
        cdef Walk walk
        walk_begin(self, &walk, from_seq, to_seq, rows)
        while walk_on(self, &walk):
            n += matches_id(self, walk.run.subject[walk.row], filters, &walk.verdicts)
        resume[0] = walk.resume
        return n

    cdef bint is_long(self, uint64_t from_seq, Filters filters) noexcept:
        if filters.all or filters.literal or self.state.messages <= STEP_ROWS:
            return False
        return self.subjects.ids > STEP_ROWS if from_seq <= self.state.first_seq else \
            self.state.last_seq > from_seq + STEP_ROWS

    # --- the last of each subject ---

    cdef bint count_lasts(self, Filters filters, uint64_t* count, uint64_t* first) noexcept:
        cdef uint32_t id
        count[0] = first[0] = 0
        if filters.literal:
            id = _literal_id(self, filters)
            if id != NO_SUBJECT and self.subjects.at[id].count:
                count[0], first[0] = 1, self.subjects.at[id].last_seq
            return True
        if self.subjects.ids > STEP_ROWS:
            return False
        for id in range(self.subjects.ids):
            if _subject_matches(self, id, filters):
                count[0] += 1
                first[0] = min(first[0] or EVERYTHING, self.subjects.at[id].last_seq)
        return True

    cdef uint64_t lasts_part(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows, uint64_t* first,
                             uint64_t* resume) noexcept:
        cdef uint64_t n = 0
        cdef Walk walk
        walk_begin(self, &walk, from_seq, as_of, rows)
        while walk_on(self, &walk):
            if self._is_last_of(walk.run.subject[walk.row], walk.seq, as_of):
                if matches_id(self, walk.run.subject[walk.row], filters, &walk.verdicts):
                    first[0] = first[0] or walk.seq
                    n += 1
        resume[0] = walk.resume
        return n

    cdef uint64_t search_last(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept:
        cdef Walk walk
        walk_begin(self, &walk, from_seq, as_of, rows)
        while walk_on(self, &walk):
            if self._is_last_of(walk.run.subject[walk.row], walk.seq, as_of):
                if matches_id(self, walk.run.subject[walk.row], filters, &walk.verdicts):
                    break
        resume[0] = walk.resume
        return walk.seq if walk.live else 0

    cdef inline bint _is_last_of(self, uint32_t id, uint64_t seq, uint64_t as_of) noexcept:
        """Of the subject with this id, which has messages."""
        cdef uint64_t last_seq = self.subjects.at[id].last_seq
        return last_seq == seq or (last_seq > as_of and self._next_same(seq, id) > as_of)

    cdef bint is_last(self, uint64_t seq, const char* subject, uint32_t subject_len, uint64_t as_of) noexcept:
        cdef uint32_t id = self.subjects.find(subject, subject_len)
        cdef uint64_t next_seq = 0 if id == NO_SUBJECT else self._next_same(seq, id)
        return next_seq == 0 or next_seq > as_of

    cdef uint64_t before(self, uint64_t seq, const char* subject, uint32_t subject_len) noexcept:
        cdef uint32_t id = self.subjects.find(subject, subject_len)
        return 0 if id == NO_SUBJECT or seq == 0 else self._last_of_id(seq - 1, id)

    # --- lists ---

    cdef tuple deleted_part(self, uint64_t from_seq, uint64_t most):
        cdef list gone = []
        cdef uint64_t at = max(from_seq, self.state.first_seq), live, n, looks = STEP_ROWS
        while self.state.messages and at <= self.state.last_seq:
            if most == 0 or looks == 0:
                return gone, at
            live = self.next_live(at) or self.state.last_seq + 1
            n = min(live - at, most)
            gone.extend(range(at, at + n))
            at, most, looks = at + n, most - n, looks - 1
            at += at == live
        return gone, 0

    # --- care ---

    cdef uint64_t memory_bytes(self) noexcept:
        cdef uint64_t n = <uint64_t>self._runs_max * sizeof(Run*) + self._homes_max * <uint64_t>16
        cdef uint32_t i
        for i in range(self._runs_count):
            n += run_bytes(self._runs[i])
        return n + self._home_of.memory_bytes()

    cdef uint64_t subject_bytes(self) noexcept:
        return self.subjects.memory_bytes()

    cpdef list check(self):
        """Recounts everything slowly; the differences, in words."""
        cdef list wrong = self.subjects.check()
        cdef dict homes = {}, subjects = {}, counted
        cdef uint32_t i, row, id, live
        cdef uint64_t seq = 0, first = 0, messages = 0, size = 0, rows = 0
        cdef Run* run
        for i in range(self._runs_count):
            run = self._runs[i]
            live = 0
            rows += run.rows
            for row in range(run.rows):
                if run_seq(run, row) <= seq or run_seq(run, row) > self.state.last_seq:
                    wrong.append(f"run {i} row {row} is out of order")
                seq = run_seq(run, row)
                if not run_is_live(run, row):
                    continue
                live += 1
                first = first or seq
                size += run.size[row] & SIZE_MASK
                id = self._homes[run.home if run.homes == NULL else run.homes[row]].run_id
                homes[id] = homes.get(id, 0) + 1
                id = run.subject[row]
                subjects[id] = (subjects[id][0] + 1, subjects[id][1], seq) if id in subjects else (1, seq, seq)
            messages += live
            if live != run.live:
                wrong.append(f"run {i}: {run.live} live, {live} counted")
        counted = {
            "messages": messages, "bytes": size, "first_seq": first or self.state.last_seq + 1,
            "num_subjects": len(subjects),
            "num_deleted": self.state.last_seq + 1 - first - messages if messages else 0,
        }
        for name, value in counted.items():
            if (<dict>self.state)[name] != value:
                wrong.append(f"{name}: {(<dict>self.state)[name]}, counted {value}")
        if rows != self._rows:
            wrong.append(f"{self._rows} rows, counted {rows}")
        for id in range(self._homes_count):
            if self._home_of.get(self._homes[id].run_id) == id and \
                    self._homes[id].live != homes.get(self._homes[id].run_id, 0):
                wrong.append(f"segment {self._homes[id].run_id}: {self._homes[id].live} live, {homes}")
        for id in range(self.subjects.ids):
            if self.subjects.at[id].count and subjects.get(id) != (
                    self.subjects.at[id].count, self.subjects.at[id].first_seq, self.subjects.at[id].last_seq):
                wrong.append(f"subject id {id}: {self.subjects.at[id]}, counted {subjects.get(id)}")
        return wrong

    # --- Python's door (tests) ---

    def start_run(self, uint32_t run_id, int64_t base_ts_ns=0):
        """open_run()"""
        self.open_run(run_id, base_ts_ns)

    def add_message(self, uint64_t seq, bytes subject, uint32_t offset=0, uint32_t size=1, int64_t ts_ns=0):
        """add()"""
        self.add(seq, PyBytes_AS_STRING(subject), <uint32_t>len(subject), offset, size, ts_ns)

    def get_message(self, uint64_t seq):
        """get(), as a dict; None when not live."""
        cdef Entry entry
        if not self.get(seq, &entry):
            return None
        return {"seq": entry.seq, "run_id": entry.run_id, "offset": entry.offset, "size": entry.size,
                "ts_ns": entry.ts_ns, "subject": entry.subject[:entry.subject_len]}

    def remove_message(self, uint64_t seq):
        """remove(): the subject of what went, None when nothing did."""
        cdef Entry entry
        return entry.subject[:entry.subject_len] if self.remove(seq, &entry) else None

    def move_message(self, uint64_t seq, uint32_t run_id, uint32_t offset):
        """move()"""
        self.move(seq, run_id, offset)

    def live_in(self, uint32_t run_id):
        """live_in_run()"""
        return self.live_in_run(run_id)

    def release_run(self, uint32_t run_id):
        """drop_run()"""
        self.drop_run(run_id)

    def skip_to(self, uint64_t seq):
        """raise_last()"""
        self.raise_last(seq)

    def next_same(self, uint64_t after_seq):
        """next_for()"""
        return self.next_for(after_seq)

    def previous(self, uint64_t from_seq):
        """prev_live()"""
        return self.prev_live(from_seq)

    def ask_next(self, uint64_t from_seq, Filters filters):
        """next_match()"""
        return self.next_match(from_seq, filters)

    def ask_count(self, uint64_t from_seq, Filters filters):
        """count_match()"""
        return self.count_match(from_seq, filters)

    def ask_last(self, Filters filters, uint64_t up_to_seq):
        """last_match()"""
        return self.last_match(filters, up_to_seq)

    def ask_time(self, int64_t ts_ns):
        """seq_at_time()"""
        return self.seq_at_time(ts_ns)

    def ask_deleted(self, uint64_t from_seq, uint64_t most):
        """deleted_part()"""
        return self.deleted_part(from_seq, most)

    def bytes_held(self):
        """(memory_bytes(), subject_bytes())"""
        return self.memory_bytes(), self.subject_bytes()

    def state_dict(self):
        """`state`, by its field names."""
        return self.state
