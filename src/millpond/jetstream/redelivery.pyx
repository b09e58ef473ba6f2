"""When an unacknowledged message is due again, and what is delivered again next (reference 4.1, 4.4).

A pending message is in one of three places, kept in `Pending.place`:

    TIMED    delivered once and left alone. Such messages are due in the order in which the table of the pending
             holds them, so they need no structure of their own: `_timed_from` is where the first may be.
    MOVED    delivered again, delayed or touched: it has a row in `_heap`. A row that no longer says what the
             message says is skipped when it comes up; the heap is rebuilt when such rows are the most of it.
    QUEUED   due. It has an entry in `_queue`, and is there exactly once however often it was asked for. Entries
             of what was acknowledged meanwhile are skipped.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memmove

from millpond.jetstream.notices cimport Notices
from millpond.store.consumer_state cimport MOVED, QUEUED, TIMED, ConsumerState, Pending

from millpond.base import limits

cdef enum:
    CAPACITY_MIN = 16

cdef uint32_t REDELIVERIES_PER_STEP = limits.REDELIVERIES_PER_STEP
cdef int64_t WAIT_MAX_NS = 1 << 61               # 73 years: sums with a wall clock stay in range


cdef int _ascending(const void* a, const void* b) noexcept nogil:
    cdef uint64_t x = (<const uint64_t*>a)[0], y = (<const uint64_t*>b)[0]
    return -1 if x < y else x > y


cdef class DeadlineHeap:
    """A binary heap in one C array."""

    def __dealloc__(self):
        free(self._rows)

    cdef int push(self, Deadline row) except -1:
        cdef size_t at = self.count, above, capacity
        cdef Deadline* grown
        if self.count == self._capacity:
            capacity = self._capacity * 2 if self._capacity else CAPACITY_MIN
            grown = <Deadline*>realloc(self._rows, capacity * sizeof(Deadline))
            if grown == NULL:
                raise MemoryError()
            self._rows, self._capacity = grown, capacity
        self.count += 1
        while at:
            above = (at - 1) >> 1
            if self._rows[above].due_ns <= row.due_ns:
                break
            self._rows[at] = self._rows[above]
            at = above
        self._rows[at] = row
        return 0

    cdef Deadline first(self) noexcept:
        return self._rows[0]

    cdef void pop(self) noexcept:
        self.count -= 1
        if self.count:
            self._rows[0] = self._rows[self.count]
            self._down(0)
        elif self._capacity > CAPACITY_MIN:
            free(self._rows)
            self._rows, self._capacity = NULL, 0

    cdef void clear(self) noexcept:
        self.count = 0

    cdef void _down(self, size_t at) noexcept:
        cdef Deadline row = self._rows[at]
        cdef size_t below
        while True:
            below = 2 * at + 1
            if below >= self.count:
                break
            if below + 1 < self.count and self._rows[below + 1].due_ns < self._rows[below].due_ns:
                below += 1
            if row.due_ns <= self._rows[below].due_ns:
                break
            self._rows[at] = self._rows[below]
            at = below
        self._rows[at] = row


cdef class SeqQueue:
    """A queue in one C array; it starts over whenever it is empty, and moves down rather than grow."""

    def __dealloc__(self):
        free(self._seqs)

    cdef int push(self, uint64_t stream_seq) except -1:
        cdef size_t capacity
        cdef uint64_t* grown
        if self._count == self._capacity and self._head * 2 > self._capacity:
            self._count -= self._head
            memmove(self._seqs, self._seqs + self._head, self._count * sizeof(uint64_t))
            self._head = 0
        if self._count == self._capacity:
            capacity = self._capacity * 2 if self._capacity else CAPACITY_MIN
            grown = <uint64_t*>realloc(self._seqs, capacity * sizeof(uint64_t))
            if grown == NULL:
                raise MemoryError()
            self._seqs, self._capacity = grown, capacity
        self._seqs[self._count] = stream_seq
        self._count += 1
        return 0

    cdef uint64_t peek(self) noexcept:
        return self._seqs[self._head] if self._head < self._count else 0

    cdef void pop(self) noexcept:
        self._head += 1
        if self._head >= self._count:
            self.clear()

    cdef void remove(self, uint64_t stream_seq) noexcept:
        cdef size_t at
        for at in range(self._head, self._count):
            if self._seqs[at] == stream_seq:
                self._count -= 1
                memmove(self._seqs + at, self._seqs + at + 1, (self._count - at) * sizeof(uint64_t))
                return

    cdef void sort_tail(self, size_t from_size) noexcept:
        qsort(self._seqs + self._head + from_size, self.size() - from_size, sizeof(uint64_t), _ascending)

    cdef size_t size(self) noexcept:
        return self._count - self._head

    cdef void clear(self) noexcept:
        self._head = self._count = 0
        if self._capacity > CAPACITY_MIN:
            free(self._seqs)
            self._seqs, self._capacity = NULL, 0


cdef class Redelivery:
    """Places of the pending messages of one consumer."""

    def __init__(self, ConsumerState state, Notices notices):
        self.state, self._notices = state, notices
        self._queue, self._heap = SeqQueue(), DeadlineHeap()
        self._backoff = []

    cdef int configure(self, object config) except -1:
        waits = (self._ack_wait_ns, self._backoff)
        self._ack_wait_ns = min(config.ack_wait, WAIT_MAX_NS) if config.ack_policy in ("explicit", "all") else 0
        self._backoff = [min(step, WAIT_MAX_NS) for step in config.backoff]
        self._max_deliver = config.max_deliver if config.max_deliver > 0 else 0
        return self.rebuild() if waits != (self._ack_wait_ns, self._backoff) else 0

    cdef int rebuild(self) except -1:
        cdef Pending pending
        cdef size_t slot = 0
        self._heap.clear()
        self._timed_from = 0
        while self.state.next_slot(&slot, &pending):
            if pending.place == MOVED:
                self._heap.push(Deadline(pending.ts_ns + self.wait_ns(pending.deliveries), pending.stream_seq))
        return 0

    cdef int forget(self) except -1:
        self._queue.clear()
        self._heap.clear()
        self._timed_from = 0
        return 0

    cdef int64_t wait_ns(self, uint32_t deliveries) noexcept:
        """How long a message delivered so often may stay unacknowledged."""
        cdef Py_ssize_t steps = len(self._backoff), at = deliveries - 1 if deliveries else 0
        if steps == 0:
            return self._ack_wait_ns
        return self._backoff[at if at < steps else steps - 1]

    # --- going out again ---

    cdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef Pending pending
        cdef uint64_t stream_seq
        while self.state.num_queued:
            stream_seq = self._queue.peek()
            assert stream_seq, "what is queued is in the queue"
            if self.state.get(stream_seq, &pending) and pending.place == QUEUED:
                if not self._max_deliver or pending.deliveries < self._max_deliver:
                    return stream_seq
                self._exceed(stream_seq, pending.deliveries)
            self._queue.pop()
        self._queue.clear()
        return 0

    cdef uint32_t redeliver(self, uint64_t stream_seq, int64_t wall_ns) except 0:
        cdef uint32_t deliveries = 0
        assert self._queue.peek() == stream_seq
        self._queue.pop()
        self.state.redeliver(stream_seq, wall_ns, &deliveries)
        self._due_at(stream_seq, wall_ns + self.wait_ns(deliveries))
        return deliveries

    cdef int skip(self) except -1:
        self.state.ack(self._queue.peek(), self.state.acked_ts_ns)
        self._queue.pop()
        return 0

    cdef int _exceed(self, uint64_t stream_seq, uint32_t deliveries) except -1:
        self.state.exhaust(stream_seq)
        return self._notices.advise("CONSUMER.MAX_DELIVERIES", "max_deliver",
                                    {"stream_seq": stream_seq, "deliveries": deliveries})

    # --- what clients ask for ---

    cdef int again(self, uint64_t stream_seq) except -1:
        cdef Pending pending
        if self.state.get(stream_seq, &pending) and pending.place != QUEUED:
            self.state.move(stream_seq, pending.ts_ns, QUEUED)
            self._queue.push(stream_seq)
        return 0

    cdef int again_all(self) except -1:
        cdef Pending pending
        cdef size_t slot = 0
        while self.state.next_slot(&slot, &pending):
            if pending.place != QUEUED:
                self.state.move_slot(slot, pending.ts_ns, QUEUED)
                self._queue.push(pending.stream_seq)
        return 0

    cdef int later(self, uint64_t stream_seq, int64_t delay_ns, int64_t wall_ns) except -1:
        cdef Pending pending
        if not self.state.get(stream_seq, &pending):
            return 0
        if pending.place == QUEUED:
            self._queue.remove(stream_seq)
        delay_ns = max(0, min(delay_ns, WAIT_MAX_NS))
        self.state.postpone(stream_seq, wall_ns + delay_ns - self.wait_ns(pending.deliveries))
        return self._due_at(stream_seq, wall_ns + delay_ns)

    cdef int in_progress(self, uint64_t stream_seq, int64_t wall_ns) except -1:
        cdef Pending pending
        if self.state.get(stream_seq, &pending) and pending.place != QUEUED:
            self.state.postpone(stream_seq, wall_ns)
            self._due_at(stream_seq, wall_ns + self.wait_ns(pending.deliveries))
        return 0

    cdef int _due_at(self, uint64_t stream_seq, int64_t due_ns) except -1:
        if self._heap.count > 2 * self.state.num_pending_acks + CAPACITY_MIN:
            return self.rebuild()
        return self._heap.push(Deadline(due_ns, stream_seq))

    # --- time ---

    cdef bint _holds(self, Deadline row) noexcept:
        """Does this row of the heap still say when its message is due?"""
        cdef Pending pending
        return (self.state.get(row.stream_seq, &pending) and pending.place == MOVED
                and pending.ts_ns + self.wait_ns(pending.deliveries) == row.due_ns)

    cdef int64_t due_ns(self) noexcept:
        cdef Pending pending
        cdef int64_t due = 0
        if self._ack_wait_ns == 0:
            return 0
        while self._heap.count and not self._holds(self._heap.first()):
            self._heap.pop()
        if self._heap.count:
            due = self._heap.first().due_ns
        while self.state.next_pending(self._timed_from, &pending):
            self._timed_from = pending.stream_seq
            if pending.place == TIMED:
                pending.ts_ns += self.wait_ns(1)
                return pending.ts_ns if due == 0 or pending.ts_ns < due else due
            self._timed_from += 1
        self._timed_from = self.state.delivered_stream_seq + 1
        return due

    cdef bint expire(self, int64_t wall_ns) except *:
        cdef Pending pending
        cdef int64_t due
        cdef bint changed = False
        cdef size_t before = self._queue.size()
        cdef uint32_t left = REDELIVERIES_PER_STEP
        while left:                                  # the rest stays due: the timer comes again
            left -= 1
            due = self.due_ns()
            if due == 0 or due > wall_ns:
                break
            changed = True
            if self._heap.count and self._heap.first().due_ns == due:
                self.state.get(self._heap.first().stream_seq, &pending)
                self._heap.pop()
            else:
                self.state.next_pending(self._timed_from, &pending)
            self._fall_due(&pending)
        self._queue.sort_tail(before)
        return changed

    cdef bint _fall_due(self, Pending* pending) except *:
        if self._max_deliver and pending.deliveries >= self._max_deliver:
            self._exceed(pending.stream_seq, pending.deliveries)
            return False
        self.state.move(pending.stream_seq, pending.ts_ns, QUEUED)
        self._queue.push(pending.stream_seq)
        return True

    cdef int64_t last_due_ns(self) noexcept:
        cdef Pending pending
        cdef size_t slot = 0
        cdef int64_t last = 0
        while self.state.next_slot(&slot, &pending):
            last = max(last, pending.ts_ns + self.wait_ns(pending.deliveries))
        return last
