"""Where a consumer is in its stream.

    1 .. delivered .. position | num_pending under the filters .. last
                        `passed over: nothing there matches`

With deliver policy last_per_subject the messages up to `_resume`, the end of the stream when the consumer was made,
are those that were the last of their subject then; behind it everything counts. Nobody keeps that list, which has as
many messages as there are subjects: the index knows of each message the next one of its subject, so it is asked. The
list never changes: what has left the stream is passed over, and what was before it on its subject is not the last one
for that; such messages are remembered (`_hidden`).

Long streams of many subjects are counted, and searched for where to begin and for what matches, in steps of a turn each.
"""

from libc.stdint cimport uint32_t, uint64_t

from millpond.jetstream.starts cimport start_search, start_seq
from millpond.store.api cimport Filters, Store
from millpond.store.consumer_state cimport ConsumerState
from millpond.store.search cimport Search

from millpond.base import limits
from millpond.subjects.pytokens import is_subset

cdef uint64_t STEP_ROWS = limits.SEARCH_STEP_ROWS


cdef class Cursor:
    """See the head of this file."""

    def __init__(self, Store store, ConsumerState state):
        self._store, self._state = store, state
        self.filters = Filters()

    cdef int set_filters(self, Filters filters) except -1:
        self.filters = filters
        if self._starting is not None:
            self._end_list()
            return self.start(self._starting)
        return self._count()

    cdef int start(self, object config) except -1:
        cdef uint64_t looks = STEP_ROWS
        self._search = None
        if config.deliver_policy == "last_per_subject" and self._store.limits.per_subject_max != 1:
            self._listing, self._resume, self._list_at = self.filters, self._store.state.last_seq, 0
            if self._store.count_lasts(self.filters, &self._listed, &self._first_listed):
                return self._begin(config, self._first_listed)
            self._count_at, self._count_end = 1, self._resume
        else:
            self._search = start_search(config, self._store, self.filters)
            if self._search is None or (self._search.is_short() and not self._search.step(&looks)):
                return self._begin(config, 0 if self._search is None else self._search.found)
            self._count_at = self._count_end = 0
        self.counting, self._starting, self.num_pending = True, config, 0
        return 0

    cdef int _begin(self, object config, uint64_t found) except -1:
        self._search, self._starting = None, None
        self._state.knows_of(self._store.position)
        if self._listed == 0:
            self._end_list()
        self._state.reset(start_seq(config, self._store, self.filters, found) - 1, True)
        self.position = self._list_at = self._state.delivered_stream_seq
        return self._count()

    cdef int go_on(self) except -1:
        self._end_list()
        self._starting, self._search = None, None
        self.position = self._state.delivered_stream_seq
        return self._count()

    cdef int _count(self) except -1:
        cdef uint64_t from_seq = (self.position if self._listing is None else self._resume) + 1
        self._state.knows_of(self._store.position)           # of what is not there it never hears
        self.counting = self._store.is_long(from_seq, self.filters)
        self.num_pending = 0
        if self.counting:
            self._count_at, self._count_end = from_seq, self._store.state.last_seq
        else:
            self.num_pending = self._store.count_match(from_seq, self.filters)
        self.num_pending += self._listed
        return 0

    cdef bint count_on(self) except *:
        if self._starting is not None:
            return self._start_on()
        self.num_pending += self._store.count_part(self._count_at, self._count_end, self.filters, STEP_ROWS,
                                                   &self._count_at)
        self.counting = self._count_at != 0
        return self.counting

    cdef bint _start_on(self) except *:
        """A step towards where to begin. True: there are more, or it is to be counted what comes from there on."""
        cdef uint64_t from_seq = self._count_at, looks = STEP_ROWS
        if self._search is not None:
            if self._search.step(&looks):
                return True
            self.counting = False
            self._begin(self._starting, self._search.found)
            return self.counting
        self._listed += self._store.lasts_part(from_seq, self._resume, self._listing, STEP_ROWS, &self._first_listed,
                                               &self._count_at)
        if self._hidden is not None:
            self._listed -= _between(self._hidden, from_seq, self._count_at or self._resume + 1)
        if self._count_at:
            return True
        self.counting = False
        self._begin(self._starting, self._first_listed if self._listed else 0)
        return self.counting

    cdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t stream_seq, resume = 0
        self.searching = False
        if self._listing is not None:
            if self._listed:
                return self._next_listed()
            self.position = max(self.position, self._resume)
            self._end_list()
        if self.filters.all:
            stream_seq = self._store.next_live(self.position + 1)
        elif self.num_pending:
            stream_seq = self._store.search(self.position + 1, self._store.state.last_seq, self.filters,
                                            self.rows_left, &resume)
            self.rows_left -= min(self.rows_left, (stream_seq or resume or self.position + 1) - self.position - 1)
        else:
            stream_seq = 0
        if resume:
            self.searching, self.position = True, resume - 1
        elif stream_seq == 0:
            self.position = max(self.position, self._store.state.last_seq)
        return stream_seq if stream_seq <= self._store.committed_seq else 0

    cdef uint64_t _next_listed(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t stream_seq, resume = 0
        while True:
            stream_seq = self._store.search_last(self._list_at + 1, self._resume, self._listing, self.rows_left, &resume)
            self.rows_left -= min(self.rows_left, (stream_seq or resume) - self._list_at - 1)
            if resume:
                self.searching, self._list_at = True, resume - 1
                return 0
            assert stream_seq > self._list_at, "what is counted is in the stream"
            self._list_at = stream_seq - 1
            if self._hidden is None or stream_seq not in self._hidden:
                return stream_seq if stream_seq <= self._store.committed_seq else 0
            self._hidden.discard(stream_seq)
            self._list_at = stream_seq

    cdef void step(self, uint64_t stream_seq) noexcept:
        self.position = stream_seq
        self.num_pending -= self.num_pending > 0
        if self._listing is not None:
            self._list_at = stream_seq
            self._listed -= 1
            if self._listed == 0:
                self.position = max(self.position, self._resume)
                self._end_list()

    cdef void _end_list(self) noexcept:
        self._listing = self._hidden = None
        self._listed = self._first_listed = 0

    # --- what happens to the stream ---

    cdef bint is_through(self) noexcept:
        return (self.num_pending == 0 and self.position >= self._store.state.last_seq and self._listing is None
                and not self.counting and not self.searching)

    cdef void pass_over(self, uint64_t stream_seq) noexcept:
        self.position = max(self.position, stream_seq)

    cdef void appended(self, uint64_t stream_seq) noexcept:
        self.num_pending += stream_seq > self.position           # a reset may have gone beyond the end

    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        if stream_seq <= self.position:
            return 0
        if self._listing is not None and stream_seq <= self._resume:
            return self._left_the_list(stream_seq, subject, subject_len)
        if self._counted(stream_seq) and (self.filters.all or self.filters.matches(subject, subject_len)):
            self.num_pending -= self.num_pending > 0
        return 0

    cdef int _left_the_list(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1:
        """If it was on it. The message before it on its subject is not on the list for that."""
        cdef uint64_t earlier
        if stream_seq <= self._list_at or not (self._listing.all or self._listing.matches(subject, subject_len)):
            return 0
        if not self._store.is_last(stream_seq, subject, subject_len, self._resume):
            return 0
        if self._hidden is not None and stream_seq in self._hidden:
            self._hidden.discard(stream_seq)
        elif self._counted(stream_seq):
            self._listed -= 1
            self.num_pending -= self.num_pending > 0
        earlier = self._store.before(stream_seq, subject, subject_len)
        if earlier > self._list_at:
            self._hidden = self._hidden or set()
            self._hidden.add(earlier)
        return 0

    cdef bint _counted(self, uint64_t stream_seq) noexcept:
        """Not when counting has not come to it."""
        return not self.counting or not self._count_at <= stream_seq <= self._count_end

    cdef uint64_t after_purge(self, Filters filters, uint64_t first_left) except? 0xFFFFFFFFFFFFFFFF:
        """Moves the position as nats-server does: to the first message left of what was purged when that is all that
        this consumer sees, to the first of the stream when it sees more, not at all when it sees something else."""
        cdef uint64_t first_seq = self._store.state.first_seq
        cdef list own = self.filters.subjects
        if not filters.all and not self.filters.all:
            if all(_within(subject, filters) for subject in own):
                first_seq = first_left or self._store.state.last_seq + 1
            elif not (_within(filters.subjects[0], self.filters) or any(_within(subject, filters) for subject in own)):
                return 0
        if first_seq > self.position + 1 and self._listing is None:
            self.position = first_seq - 1
        return first_seq


cdef uint64_t _between(set seqs, uint64_t from_seq, uint64_t below_seq) except? 0xFFFFFFFFFFFFFFFF:
    """How many of them are in from_seq..below_seq - 1?"""
    cdef uint64_t n = 0, stream_seq
    for stream_seq in seqs:
        n += from_seq <= stream_seq < below_seq
    return n


cdef bint _within(bytes subject, Filters filters) except *:
    """Is everything that `subject` matches under one of these filters?"""
    return any(is_subset(subject, filter) for filter in filters.subjects)
