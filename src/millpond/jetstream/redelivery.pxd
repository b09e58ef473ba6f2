# What was delivered and not acknowledged: when each message is due again, and what goes out again next.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.jetstream.notices cimport Notices
from millpond.store.consumer_state cimport ConsumerState, Pending

cdef struct Deadline:
    int64_t due_ns                           # wall clock
    uint64_t stream_seq

cdef class DeadlineHeap:                     # nearest first; entries that no longer hold are the owner's to skip
    cdef Deadline* _rows
    cdef size_t count, _capacity
    cdef int push(self, Deadline row) except -1
    cdef Deadline first(self) noexcept       # not empty
    cdef void pop(self) noexcept             # not empty
    cdef void clear(self) noexcept
    cdef void _down(self, size_t at) noexcept

cdef class SeqQueue:                         # stream sequences, first in first out
    cdef uint64_t* _seqs                     # [_head, _count) of _capacity
    cdef size_t _head, _count, _capacity
    cdef int push(self, uint64_t stream_seq) except -1
    cdef uint64_t peek(self) noexcept        # 0 = empty
    cdef void pop(self) noexcept             # not empty
    cdef void remove(self, uint64_t stream_seq) noexcept     # its first appearance, if any
    cdef void sort_tail(self, size_t from_size) noexcept     # ascending, from the `from_size`-th on
    cdef size_t size(self) noexcept
    cdef void clear(self) noexcept

cdef class Redelivery:
    cdef ConsumerState state
    cdef Notices _notices
    cdef SeqQueue _queue                     # in order; what left the pending or the place QUEUED is skipped
    cdef DeadlineHeap _heap                  # of the place MOVED
    cdef uint64_t _timed_from                # nothing below is TIMED
    cdef int64_t _ack_wait_ns                # 0 = nothing is ever due
    cdef list _backoff
    cdef int64_t _max_deliver                # 0 = no bound
    cdef int configure(self, object config) except -1
    # After recovery or a change of waits: places every pending message anew; what was queued is due now.
    cdef int rebuild(self) except -1
    cdef int forget(self) except -1          # the state was reset
    cdef int64_t wait_ns(self, uint32_t deliveries) noexcept
    # What goes out again next, still at the head of the queue; 0 = nothing.
    cdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF
    # The head of the queue goes out: counts it. Returns its deliveries.
    cdef uint32_t redeliver(self, uint64_t stream_seq, int64_t wall_ns) except 0
    cdef int skip(self) except -1            # the head of the queue is gone from the stream
    # --- what clients ask for ---
    cdef int again(self, uint64_t stream_seq) except -1                        # NAK, lost delivery: now
    cdef int again_all(self) except -1
    cdef int later(self, uint64_t stream_seq, int64_t delay_ns, int64_t wall_ns) except -1    # NAK with a delay
    cdef int in_progress(self, uint64_t stream_seq, int64_t wall_ns) except -1
    # --- time ---
    cdef int64_t due_ns(self) noexcept       # wall clock; 0 = nothing is due
    cdef bint expire(self, int64_t wall_ns) except *         # queues what is due; True: something changed
    cdef int64_t last_due_ns(self) noexcept  # when all that is pending will have been due; 0 = nothing pending
    cdef bint _holds(self, Deadline row) noexcept
    cdef bint _fall_due(self, Pending* pending) except *
    cdef int _due_at(self, uint64_t stream_seq, int64_t due_ns) except -1
    cdef int _exceed(self, uint64_t stream_seq, uint32_t deliveries) except -1
