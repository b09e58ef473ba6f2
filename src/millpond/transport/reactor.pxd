# The data plane's own set of descriptors inside whatever asyncio loop runs.
from libc.stdint cimport int64_t, uint64_t
from millpond.broker.broker cimport Broker
from millpond.broker.outbox cimport Channel
from millpond.broker.session cimport Session

cdef class Source:
    # Something with a descriptor in the set.
    cdef Reactor reactor
    cdef int fd
    cdef int wanted                          # POLLER_ bits in force
    cdef uint64_t tag
    cdef bint unfinished                     # in the reactor's list of those
    cdef int ready(self, int what) except -1
    cdef int go_on(self) except -1           # with what was read before, see Reactor.later

cdef class Reactor:
    cdef readonly Broker broker
    cdef readonly object loop
    cdef int poller
    cdef uint64_t last_tag
    cdef dict sources                        # {tag: Source}
    cdef list unfinished                     # [Source] with input that waits for the next turn
    cdef int first                           # which event is heard first, so that each one is heard
    cdef char* read_buffer
    cdef char* _spare
    cdef object timer_handle
    cdef int64_t timer_ns
    cdef bint scheduled, running, turning, held
    cdef int64_t spin_ns
    cdef char* spare(self) except NULL      # SPARE_BYTES for a layer between a socket and read_buffer
    cdef int add(self, Source source, int fd, int want) except -1
    cdef int want(self, Source source, int want) except -1
    cdef int remove(self, Source source) except -1
    cdef int later(self, Source source) except -1    # it read more than this turn has time for
    cdef int turn(self) except -1
    cdef int _guarded_turn(self) except -1
    cdef int _intake(self) except -1
    cdef int _hear(self, Source source, int what) except -1
    cdef bint _time_is_up(self) noexcept
    cdef int _arm(self) except -1
