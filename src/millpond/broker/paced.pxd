# Who waits for whom: a member with an outbox, which reads no faster than what it sends is taken.
from libc.stdint cimport int64_t, uint64_t
from millpond.broker.member cimport Member
from millpond.broker.outbox cimport Channel, Outbox
from millpond.broker.sink cimport Sink
from millpond.broker.timers cimport Timer

cdef class Paced(Member):
    cdef Outbox outbox
    cdef Channel channel
    cdef uint64_t stalls
    cdef readonly bint stalled       # reading is paused for a moment
    cdef int64_t stall_ns            # how long it pauses before the next look
    cdef int64_t stall_credit        # bytes to go before it can be stalled again
    cdef Timer stall_timer
    # Of the frame that is unfinished, set by the transport: since when (0 = none is), and whether all of it has room.
    cdef int64_t unfinished_ns
    cdef bint has_room

    cdef bint is_anonymous(self) noexcept            # not let in yet, where that is needed
    cdef bint waits_for_readers(self) except -1
    cdef int slow_down(self) except -1               # a receiver of ours is nearly full
    cdef int stall(self) except -1
    cdef int fall_behind(self, Sink source) except -1
    cdef int end_pace(self) except -1
    cdef bint _lacks_room(self) except -1
    cdef int _hurry(self) except -1
    cdef int _stalled_enough(self, int64_t now_ns) except -1
