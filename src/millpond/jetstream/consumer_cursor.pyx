"""Where a consumer is in its stream.

    1 .. delivered .. position | num_pending under the filters .. last
                        `passed over: nothing there matches`

With deliver policy last_per_subject the messages up to `_resume` (the end of the stream when the consumer was
made) are the ones in a list of sequences; behind it everything counts. The list never changes: what has left
the stream meanwhile is passed over.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from millpond.jetstream.starts cimport start_seq
from millpond.store.api cimport Filters, Store
from millpond.store.consumer_state cimport ConsumerState

from millpond.subjects.pytokens import is_subset


cdef class Cursor:
    """See the head of this file."""

    def __init__(self, Store store, ConsumerState state):
        self._store, self._state = store, state
        self.filters = Filters()

    def __dealloc__(self):
        free(self._skip)

    cdef int set_filters(self, Filters filters) except -1:
        self.filters = filters
        return self._count()

    cdef int start(self, object config) except -1:
        cdef uint64_t first_listed = 0
        if config.deliver_policy == "last_per_subject" and self._store.limits.per_subject_max != 1:
            self._skip = self._store.last_of_each(self.filters, &self._skip_count)
            self._skip_at, self._resume = 0, self._store.state.last_seq
            if self._skip_count:
                first_listed = self._skip[0]
            else:
                self._end_skip()
        self._state.reset(start_seq(config, self._store, self.filters, first_listed) - 1, True)
        self.position = self._state.delivered_stream_seq
        return self._count()

    cdef int go_on(self) except -1:
        self._end_skip()
        self.position = self._state.delivered_stream_seq
        return self._count()

    cdef int _count(self) except -1:
        cdef size_t i
        if self._skip == NULL:
            self.num_pending = self._store.count_match(self.position + 1, self.filters)
            return 0
        self.num_pending = self._store.count_match(self._resume + 1, self.filters)
        for i in range(self._skip_at, self._skip_count):
            self.num_pending += self._store.exists(self._skip[i])
        return 0

    cdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t stream_seq
        if self._skip != NULL:
            while self._skip_at < self._skip_count:
                stream_seq = self._skip[self._skip_at]
                if self._store.exists(stream_seq):
                    return stream_seq if stream_seq <= self._store.committed_seq else 0
                self._skip_at += 1
            self.position = max(self.position, self._resume)
            self._end_skip()
        if self.filters.all:
            stream_seq = self._store.next_live(self.position + 1)
        else:
            stream_seq = self._store.next_match(self.position + 1, self.filters)
        if stream_seq == 0:
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
        self._skip_at = self._skip_count = 0

    # --- what happens to the stream ---

    cdef void appended(self, const char* subject, uint32_t subject_len) noexcept:
        if self.filters.all or self.filters.matches(subject, subject_len):
            self.num_pending += 1

    cdef void removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) noexcept:
        if stream_seq <= self.position:
            return
        if self._skip != NULL and stream_seq <= self._resume:
            self.num_pending -= self._to_come(stream_seq)
        elif self.filters.all or self.filters.matches(subject, subject_len):
            self.num_pending -= self.num_pending > 0

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
        if not filters.all:
            if not self.filters.all and all(_within(own, filters) for own in self.filters.subjects):
                first_seq = self._store.next_match(1, filters) or self._store.state.last_seq + 1
            elif not self.filters.all and not any(_within(filters.subjects[0], self.filters) or _within(own, filters)
                                                  for own in self.filters.subjects):
                return 0
        if first_seq > self.position + 1 and self._skip == NULL:
            self.position = first_seq - 1
        return first_seq


cdef bint _within(bytes subject, Filters filters) except *:
    """Is everything that matches `subject` under one of these filters?"""
    return any(is_subset(subject, filter) for filter in filters.subjects)
