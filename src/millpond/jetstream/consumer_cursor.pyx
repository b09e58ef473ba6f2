"""Where a consumer is in its stream.

    1 .. delivered .. position | num_pending under the filters .. last
                        `passed over: nothing there matches`

With deliver policy last_per_subject the messages up to `_resume` (the end of the stream when the consumer was
made) are the ones in a list of sequences; behind it everything counts. The list never changes: what has left
the stream meanwhile is passed over.

Long streams of many subjects are counted, and searched for what matches, in steps of a turn each.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from millpond.jetstream.starts cimport start_seq
from millpond.store.api cimport Filters, Store
from millpond.store.consumer_state cimport ConsumerState

from millpond.base import limits
from millpond.subjects.pytokens import is_subset

cdef uint64_t STEP_ROWS = limits.SEARCH_STEP_ROWS


cdef class Cursor:
    """See the head of this file."""

    def __init__(self, Store store, ConsumerState state):
        self._store, self._state = store, state
        self.filters = Filters()

    def __dealloc__(self):
        free(self._skip)

    cdef int set_filters(self, Filters filters) except -1:
        self.filters = filters
        if self._starting is not None:
            self._end_skip()
            return self.start(self._starting)
        return self._count()

    cdef int start(self, object config) except -1:
        if config.deliver_policy != "last_per_subject" or self._store.limits.per_subject_max == 1:
            return self._begin(config)
        self._resume = self._store.state.last_seq
        if self._store.is_long(0, self.filters):
            self.counting, self._starting = True, config
            self.num_pending, self._count_at, self._count_end = 0, 1, self._resume
            return 0
        self._skip = self._store.last_of_each(self.filters, &self._skip_count)
        return self._begin(config)

    cdef int _begin(self, object config) except -1:
        cdef uint64_t first_listed = self._skip[0] if self._skip_count else 0
        if self._skip_count == 0:
            self._end_skip()
        self._state.reset(start_seq(config, self._store, self.filters, first_listed) - 1, True)
        self.position = self._state.delivered_stream_seq
        return self._count()

    cdef int go_on(self) except -1:
        self._end_skip()
        self._starting = None
        self.position = self._state.delivered_stream_seq
        return self._count()

    cdef int _count(self) except -1:
        cdef uint64_t from_seq = (self.position if self._skip == NULL else self._resume) + 1
        self.counting = self._store.is_long(from_seq, self.filters)
        self.num_pending = 0
        if self.counting:
            self._count_at, self._count_end = from_seq, self._store.state.last_seq
        else:
            self.num_pending = self._store.count_match(from_seq, self.filters)
        self.num_pending += self._skip_count - self._skip_at - self._skip_gone
        return 0

    cdef bint count_on(self) except *:
        if self._starting is not None:
            self._list_part()
        else:
            self.num_pending += self._store.count_part(self._count_at, self._count_end, self.filters, STEP_ROWS,
                                                       &self._count_at)
        if self._count_at:
            return True
        self.counting = False
        if self._starting is not None:
            config, self._starting = self._starting, None
            self._begin(config)
        return self.counting

    cdef int _list_part(self) except -1:
        """More of the list. A message that has a later one of its subject by now is not on it: that one comes anyway."""
        cdef size_t room = max(2 * self._skip_count, self._skip_count + STEP_ROWS)
        cdef void* moved
        if self._skip_room < self._skip_count + STEP_ROWS:
            moved = realloc(self._skip, room * sizeof(uint64_t))
            if moved == NULL:
                raise MemoryError
            self._skip, self._skip_room = <uint64_t*>moved, room
        self._skip_count += self._store.last_part(self._count_at, self._count_end, self.filters, STEP_ROWS,
                                                  self._skip + self._skip_count, &self._count_at)
        if self._count_at == 0 and self._skip_count:
            moved = realloc(self._skip, self._skip_count * sizeof(uint64_t))
            if moved != NULL:
                self._skip, self._skip_room = <uint64_t*>moved, self._skip_count
        return 0

    cdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t stream_seq, resume = 0
        self.searching = False
        if self._skip != NULL:
            while self._skip_at < self._skip_count:
                stream_seq = self._skip[self._skip_at]
                if self._store.exists(stream_seq):
                    return stream_seq if stream_seq <= self._store.committed_seq else 0
                self._skip_at += 1
                self._skip_gone -= 1
            self.position = max(self.position, self._resume)
            self._end_skip()
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

    cdef void step(self, uint64_t stream_seq) noexcept:
        self.position = stream_seq
        self.num_pending -= self.num_pending > 0
        if self._skip != NULL:
            self._skip_at += 1
            if self._skip_at == self._skip_count:
                self.position = max(self.position, self._resume)
                self._end_skip()

    cdef void _end_skip(self) noexcept:
        free(self._skip)
        self._skip = NULL
        self._skip_at = self._skip_count = self._skip_room = 0
        self._skip_gone = 0

    # --- what happens to the stream ---

    cdef void appended(self, const char* subject, uint32_t subject_len) noexcept:
        if self.filters.all or self.filters.matches(subject, subject_len):
            self.num_pending += 1

    cdef void removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) noexcept:
        if stream_seq <= self.position or not self._counted(stream_seq):
            return
        if self._skip != NULL and stream_seq <= self._resume:
            if self._to_come(stream_seq):
                self._skip_gone += 1
                self.num_pending -= self.num_pending > 0
        elif self.filters.all or self.filters.matches(subject, subject_len):
            self.num_pending -= self.num_pending > 0

    cdef bint _counted(self, uint64_t stream_seq) noexcept:
        """Not when counting has not come to it."""
        return not self.counting or self._starting is not None or not self._count_at <= stream_seq <= self._count_end

    cdef bint _to_come(self, uint64_t stream_seq) noexcept:
        """Is it in what is left of the list?"""
        cdef size_t low = self._skip_at, high = self._skip_count, middle
        while low < high:
            middle = (low + high) // 2
            if self._skip[middle] < stream_seq:
                low = middle + 1
            else:
                high = middle
        return low < self._skip_count and self._skip[low] == stream_seq

    cdef uint64_t after_purge(self, Filters filters) except? 0xFFFFFFFFFFFFFFFF:
        """Moves the position as nats-server does: to the first message left of what was purged when that is all that
        this consumer sees, to the first of the stream when it sees more, not at all when it sees something else."""
        cdef uint64_t first_seq = self._store.state.first_seq
        cdef list own = self.filters.subjects
        if not filters.all and not self.filters.all:
            if all(_within(subject, filters) for subject in own):
                first_seq = self._store.next_match(1, filters) or self._store.state.last_seq + 1
            elif not (_within(filters.subjects[0], self.filters) or any(_within(subject, filters) for subject in own)):
                return 0
        if first_seq > self.position + 1 and self._skip == NULL:
            self.position = first_seq - 1
        return first_seq


cdef bint _within(bytes subject, Filters filters) except *:
    """Is everything that `subject` matches under one of these filters?"""
    return any(is_subset(subject, filter) for filter in filters.subjects)
