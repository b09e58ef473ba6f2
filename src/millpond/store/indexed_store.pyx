"""Stores with an index: the questions, the limits, purge and expiry, written once for file and memory.

Expiry: by age in order of sequence, from where the last walk ended, so that messages marked as lasting are passed
once and not again; by the message's own end from a heap. Both spend one budget.

Order of a removal: the index forgets the message, the subclass gives back its bytes (and logs it), `state` is
brought up to date, the owner hears of it. So an owner that asks the store within removed() sees it gone.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.store.api cimport FOUND, NEVER_EXPIRES, Filters, Limits, Load, Record, Store, SubjectWalk
from millpond.store.expiry_heap cimport Due, ExpiryHeap
from millpond.store.index cimport Entry, Index
from millpond.store.pin cimport Kept, Pin
from millpond.store.subject_walk cimport bounds_part, lasts_down, lasts_of_part

from millpond.base import limits

cdef enum:
    NS_PER_MS = 1_000_000
    SWEEP_ENTRIES = 3                # per change
    LOOKS_PER_EVICTION = 16

cdef uint64_t EVERYTHING = 0xFFFFFFFFFFFFFFFF
cdef uint64_t EVICTED_PER_APPEND = limits.EVICTIONS_PER_APPEND_MAX


cdef class IndexedStore(Store):
    """Base of the stores; abstract."""

    def __cinit__(self):
        self.index = Index()
        self.expiries, self.pins = ExpiryHeap(), []
        self.state = self.index.state
        self.failure = ""

    # --- for subclasses ---

    cdef int erased(self, const Entry* entry, bint secure, bint evicted) except -1:
        raise NotImplementedError

    cdef int floor_raised(self) except -1:
        raise NotImplementedError

    cdef int last_raised(self) except -1:
        raise NotImplementedError

    cdef bint exact_ts(self, const Entry* entry, int64_t* ts_ns) noexcept:
        return False

    cdef int refresh(self) except -1:
        cdef uint64_t first_seq = self.state.first_seq
        cdef int64_t first_ts_ns = self.state.first_ts_ns
        cdef Entry entry
        self.state = self.index.state
        if self.state.messages == 0:
            return 0
        if self.state.first_seq == first_seq and first_ts_ns:
            self.state.first_ts_ns = first_ts_ns
        elif self.index.get(self.state.first_seq, &entry):
            self._is_first_ts_near = not self.exact_ts(&entry, &self.state.first_ts_ns)
        return 0

    cpdef int64_t first_ts_ns(self, bint wait=False) except? -1:
        cdef Record record
        try:
            if self._is_first_ts_near and self.state.messages and self.load(self.state.first_seq, &record, wait) == FOUND:
                self.state.first_ts_ns, self._is_first_ts_near = record.ts_ns, False
        except OSError:                                # no descriptor is left: it is read another time
            return self.state.first_ts_ns
        return self.state.first_ts_ns

    cdef bint drop(self, uint64_t stream_seq, bint secure, bint evicted=False) except *:
        cdef Entry entry
        if not self.index.remove(stream_seq, &entry):
            return False
        if self.pins and not secure:
            self._keep(&entry)
        self.erased(&entry, secure, evicted)
        self.refresh()
        self.expiries.sweep(self.index, SWEEP_ENTRIES)
        if self.owner is not None:
            self.owner.removed(stream_seq, entry.subject, entry.subject_len, entry.size)
        return True

    # --- pins ---

    cdef int add_pin(self, Pin pin) except -1:
        self.pins.append(pin)
        return 0

    cdef int remove_pin(self, Pin pin) except -1:
        self.pins.remove(pin)
        return 0

    cdef int _keep(self, const Entry* entry) except -1:
        cdef Pin pin
        cdef Kept row
        cdef size_t copy_bytes = 0
        for pin in self.pins:
            if pin.wants(entry.seq):
                row = self.kept_of(entry, &copy_bytes)
                pin.keep(row, copy_bytes)
        return 0

    cdef Kept kept_of(self, const Entry* entry, size_t* copy_bytes) except *:
        raise NotImplementedError

    cdef Load load_kept(self, const Kept* kept, Record* out) except *:
        raise NotImplementedError

    cdef int note_expiry(self, uint64_t stream_seq, int64_t expires_ns) except -1:
        if expires_ns == NEVER_EXPIRES:
            return self.index.set_lasting(stream_seq)
        self.expiries.sweep(self.index, SWEEP_ENTRIES)
        return self.expiries.push(stream_seq, expires_ns)

    cdef int enforce(self, const char* subject, uint32_t subject_len) except -1:
        cdef uint64_t most = min(EVICTED_PER_APPEND, self.removals_max)
        if self.limits.per_subject_max:
            while self.index.count_for(subject, subject_len) > self.limits.per_subject_max:
                if most == 0:
                    self._enforce_id, self.over_limits = 0, True
                    return 0
                self.drop(self.index.first_for(subject, subject_len), False, True)
                most -= 1
        return self._enforce_totals(&most)

    cdef bint enforce_part(self, uint64_t most) except *:
        """In the order of an append: what an append evicts is logged late, and after a crash evicted again by this."""
        assert not self.closed
        self.over_limits = False
        if self._totals_first:
            self._enforce_totals(&most)
            self._totals_first = self.over_limits
        if not self.over_limits and self.limits.per_subject_max:
            self.over_limits = self._enforce_subjects(&most)
        if not self.over_limits:
            self._enforce_totals(&most)
        return self.over_limits

    cdef bint _enforce_subjects(self, uint64_t* most) except *:
        """Subject by subject; True: there are more to look at."""
        cdef uint64_t looks = most[0] * LOOKS_PER_EVICTION
        if self._enforce_numbering != self.index.renumbered:
            self._enforce_id, self._enforce_numbering = 0, self.index.renumbered
        while self._enforce_id < self.index.subjects.ids:          # removals neither move ids nor add any
            while self.index.subjects.at[self._enforce_id].count > self.limits.per_subject_max:
                if most[0] == 0:
                    return True
                self.drop(self.index.subjects.at[self._enforce_id].first_seq, False, True)
                most[0] -= 1
            if looks == 0:
                return True
            looks -= 1
            self._enforce_id += 1
        return False

    cdef int _enforce_totals(self, uint64_t* most) except -1:
        while self.state.messages and (
            self.limits.messages_max and self.state.messages > self.limits.messages_max
            or self.limits.bytes_max and self.state.bytes > self.limits.bytes_max
        ):
            if most[0] == 0:
                self.over_limits = True
                return 0
            self.drop(self.state.first_seq, False, True)
            most[0] -= 1
        return 0

    cdef int skip_through(self, uint64_t stream_seq, int64_t ts_ns) except -1:
        assert not self.closed
        if stream_seq <= self.state.last_seq:
            return 0
        self.index.raise_last(stream_seq)
        self.index.state.last_ts_ns = max(self.index.state.last_ts_ns, ts_ns)
        self.refresh()
        return self.last_raised()

    # --- questions ---

    cdef bint exists(self, uint64_t stream_seq) noexcept:
        cdef Entry entry
        return self.index.get(stream_seq, &entry)

    cdef bint subject_of(self, uint64_t stream_seq, const char** subject, uint32_t* subject_len) noexcept:
        cdef Entry entry
        if not self.index.get(stream_seq, &entry):
            return False
        subject[0], subject_len[0] = entry.subject, entry.subject_len
        return True

    cdef uint64_t next_live(self, uint64_t from_seq) noexcept:
        return self.index.next_live(from_seq)

    cdef bint has_headers(self, uint32_t run_id) noexcept:
        return True

    cdef uint64_t next_headed(self, uint64_t from_seq) noexcept:
        cdef uint64_t seq = self.index.next_live(from_seq)
        cdef Entry entry
        while self.index.get(seq, &entry) and not self.has_headers(entry.run_id):
            seq = self.index.next_live(self.index.run_end(seq))
        return seq

    cdef uint64_t next_match(self, uint64_t from_seq, Filters filters) noexcept:
        return self.index.next_match(from_seq, filters)

    cdef uint64_t count_match(self, uint64_t from_seq, Filters filters) noexcept:
        return self.index.count_match(from_seq, filters)

    cdef uint64_t search(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                         uint64_t* resume) noexcept:
        return self.index.search(from_seq, to_seq, filters, rows, resume)

    cdef uint64_t count_part(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                             uint64_t* resume) noexcept:
        return self.index.count_part(from_seq, to_seq, filters, rows, resume)

    cdef uint64_t search_down(self, uint64_t from_seq, uint64_t to_seq, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept:
        return self.index.search_down(from_seq, to_seq, filters, rows, resume)

    cdef uint64_t bounds_part(self, Filters filters, uint64_t from_seq, uint64_t to_seq, SubjectWalk* walk,
                              uint64_t looks, uint64_t* low, uint64_t* high) noexcept:
        return bounds_part(self.index, filters, from_seq, to_seq, walk, looks, low, high)

    cdef bint is_long(self, uint64_t from_seq, Filters filters) noexcept:
        return self.index.is_long(from_seq, filters)

    cdef uint64_t last_for(self, const char* subject, uint32_t subject_len) noexcept:
        return self.index.last_for(subject, subject_len)

    cdef uint64_t count_for(self, const char* subject, uint32_t subject_len) noexcept:
        return self.index.count_for(subject, subject_len)

    cdef uint64_t oldest_size(self, const char* subject, uint32_t subject_len) noexcept:
        cdef Entry entry
        return entry.size if self.index.get(self.index.first_for(subject, subject_len), &entry) else 0

    cdef uint64_t last_match(self, Filters filters, uint64_t up_to_seq) noexcept:
        return self.index.last_match(filters, up_to_seq)

    cdef uint64_t seq_at_time(self, int64_t ts_ns) noexcept:
        cdef uint64_t found = self.index.seq_at_time(ts_ns)
        cdef int64_t exact
        cdef Entry entry
        while self.index.get(found, &entry) and self.exact_ts(&entry, &exact) and exact < ts_ns:
            found = self.index.next_live(found + 1) or self.state.last_seq + 1
        return found

    def subject_ids(self):
        """Numbers of subjects in use and free ones: what subjects_part() goes through. Falls when they change."""
        return self.index.subjects.ids

    def subjects_part(self, Filters filters, uint32_t from_id, uint32_t ids):
        """The subjects with messages under the filters, of `ids` numbers from `from_id` on, in no order."""
        cdef list found = []
        cdef uint32_t id
        for id in range(from_id, min(from_id + ids, self.index.subjects.ids)):
            if self.index.subjects.at[id].count:
                if filters.matches(self.index.subjects.text(id), self.index.subjects.at[id].text_len):
                    found.append(self.index.subjects.text(id)[:self.index.subjects.at[id].text_len])
        return found

    cdef bint lasts_of_part(self, Filters filters, uint64_t up_to_seq, SubjectWalk* walk, uint64_t* looks, set found,
                            set later, uint64_t most) except -1:
        return lasts_of_part(self.index, filters, up_to_seq, walk, looks, found, later, most)

    cdef uint64_t lasts_down(self, set later, uint64_t from_seq, uint64_t rows, set found) except? 0xFFFFFFFFFFFFFFFF:
        return lasts_down(self.index, later, from_seq, rows, found)

    cdef bint count_lasts(self, Filters filters, uint64_t* count, uint64_t* first) noexcept:
        return self.index.count_lasts(filters, count, first)

    cdef uint64_t lasts_part(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows, uint64_t* first,
                             uint64_t* resume) noexcept:
        return self.index.lasts_part(from_seq, as_of, filters, rows, first, resume)

    cdef uint64_t search_last(self, uint64_t from_seq, uint64_t as_of, Filters filters, uint64_t rows,
                              uint64_t* resume) noexcept:
        return self.index.search_last(from_seq, as_of, filters, rows, resume)

    cdef bint is_last(self, uint64_t stream_seq, const char* subject, uint32_t subject_len, uint64_t as_of) noexcept:
        return self.index.is_last(stream_seq, subject, subject_len, as_of)

    cdef uint64_t before(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) noexcept:
        return self.index.before(stream_seq, subject, subject_len)

    cpdef tuple deleted_part(self, uint64_t from_seq, uint64_t most):
        return self.index.deleted_part(from_seq, most)

    # --- removal ---

    cdef bint remove(self, uint64_t stream_seq, bint secure) except *:
        assert not self.closed
        return self.drop(stream_seq, secure)

    cdef uint64_t purge(self, Filters filters, uint64_t below_seq, uint64_t keep) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t most, gone = 0, seq = 0
        assert not self.closed
        most = self.index.count_match(0, filters)
        if keep >= most and keep:
            return 0
        most -= keep
        if filters.all:
            gone = self._purge_oldest(below_seq or EVERYTHING, most)
            if self.state.messages == 0 and below_seq > self.state.first_seq and not keep:
                self.set_first_seq(below_seq)
            return gone
        while gone < most:
            seq = self.index.next_match(seq + 1, filters)
            if seq == 0 or (below_seq and seq >= below_seq):
                break
            self.drop(seq, False)
            gone += 1
        return gone

    cdef uint64_t _purge_oldest(self, uint64_t below_seq, uint64_t most) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t gone = 0
        while gone < most and self.state.messages and self.state.first_seq < below_seq:
            self.drop(self.state.first_seq, False)
            gone += 1
        return gone

    cdef int64_t expire(self, int64_t now_ns, uint32_t budget) except? -1:
        cdef int64_t aged_ns, own_ns
        cdef uint64_t messages
        assert not self.closed
        aged_ns = self._expire_aged(now_ns, &budget)
        messages = self.state.messages
        own_ns = self._expire_own(now_ns, &budget)
        if self.state.messages != messages:        # perhaps the one that aged_ns speaks of
            aged_ns = self._expire_aged(now_ns, &budget)
        return min(aged_ns, own_ns) if aged_ns and own_ns else aged_ns or own_ns

    cdef int64_t _expire_aged(self, int64_t now_ns, uint32_t* budget) except? -1:
        cdef int64_t due_ns, ts_ns
        cdef uint64_t seq
        cdef Entry entry
        if self.limits.age_max_ns == 0:
            return 0
        seq = self.index.next_live(self._lasting_below)
        while self.index.get(seq, &entry):
            if self.index.is_lasting(seq):
                if budget[0] == 0:
                    return now_ns
                self._lasting_below = seq + 1
            else:
                ts_ns = entry.ts_ns + NS_PER_MS    # never early when the exact time is not at hand
                self.exact_ts(&entry, &ts_ns)
                due_ns = ts_ns + self.limits.age_max_ns
                if due_ns > now_ns:
                    return due_ns
                if budget[0] == 0 or not self._may_expire(&entry):
                    return now_ns
                self.drop(seq, False)
            budget[0] -= 1
            seq = self.index.next_live(seq + 1)
        return 0

    cdef int64_t _expire_own(self, int64_t now_ns, uint32_t* budget) except? -1:
        cdef Due due
        cdef bint live
        cdef Entry entry
        while self.expiries.count:
            due = self.expiries.first()
            live = self.index.get(due.seq, &entry)
            if live and due.expires_ns > now_ns:
                return due.expires_ns
            if budget[0] == 0 or (live and not self._may_expire(&entry)):
                return now_ns
            budget[0] -= 1
            if live:
                self.drop(due.seq, False)          # sweeping may take the entry away
            if self.expiries.count and self.expiries.first().seq == due.seq:
                self.expiries.pop()
        return 0

    cdef bint _may_expire(self, const Entry* entry) except *:
        """The owner hears of a subject's end before it comes, and may put a message in the place of the last."""
        if self.owner is None or not self.owner.marks_expiry:
            return True
        if self.index.count_for(entry.subject, entry.subject_len) > 1:
            return True
        return self.owner.expiring(entry.seq, entry.subject, entry.subject_len)

    cdef int set_limits(self, Limits limits) except -1:
        assert not self.closed and limits.age_max_ns >= 0
        if self.limits.per_subject_max == 0 or limits.per_subject_max < self.limits.per_subject_max:
            self._enforce_id = 0                               # else no subject has more than it had
        self._totals_first = self.over_limits
        self.limits = limits
        if not self.over_limits:
            self.enforce_part(self.removals_max)
        return 0

    cdef int set_first_seq(self, uint64_t first_seq) except -1:
        assert not self.closed
        self.index.raise_first(first_seq)
        self.refresh()
        return self.floor_raised()

    cpdef list check(self):
        cdef list wrong = self.index.check()
        if self.state.messages != self.index.state.messages or self.state.bytes != self.index.state.bytes \
                or self.state.first_seq != self.index.state.first_seq \
                or self.state.last_seq != self.index.state.last_seq:
            wrong.append(f"state {self.state} is not the index's {self.index.state}")
        if self.committed_position > self.position or self.committed_seq > self.state.last_seq:
            wrong.append("more is committed than there is")
        return wrong + self._check_expiries()

    cdef list _check_expiries(self):
        cdef list wrong = self.expiries.check()
        cdef uint64_t seq = self.index.next_live(0)
        while 0 < seq < self._lasting_below:
            if not self.index.is_lasting(seq):
                wrong.append(f"message {seq} is passed over by expiry, and not lasting")
            seq = self.index.next_live(seq + 1)
        return wrong

    cdef list check_messages(self, dict live):
        cdef list wrong = []
        cdef uint64_t seq = self.index.next_live(0)
        cdef Entry entry
        cdef Record record
        while seq:
            self.index.get(seq, &entry)
            count, size = live.get(entry.run_id, (0, 0))
            live[entry.run_id] = count + 1, size + entry.size
            if self.load(seq, &record, True) != FOUND:
                wrong.append(f"message {seq} cannot be read")
            elif self.message_size(record.subject_len, record.hdr_len, record.body_len) != entry.size:
                wrong.append(f"message {seq} is not as big as the index says")
            seq = self.index.next_live(seq + 1)
        return wrong
