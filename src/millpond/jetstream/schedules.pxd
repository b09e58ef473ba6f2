# The schedules of one stream (ADR-51): when each falls due, and what it produces then.
from libc.stdint cimport int64_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.timers cimport Timer, Timers
from millpond.jetstream.host cimport Host
from millpond.store.api cimport Load, Record, Store
from millpond.store.expiry_heap cimport ExpiryHeap
from millpond.wire.message cimport Msg

cdef class Schedules(Timer):
    cdef Host _host
    cdef Store _store
    cdef Clock _clock
    cdef Timers _timers
    cdef ExpiryHeap _due                     # by sequence of the schedule
    cdef object _text                        # schedules_message, loaded with the first stream that has schedules
    cdef list _ready                         # [(sequence, due_ns)] that fire now, the last one first
    cdef uint64_t _scan_at, _scan_end        # recovery looks at these; done when _scan_at is 0
    cdef int64_t _fired_until_ns             # of the life before this one
    cdef bint _cold, _stopped
    # Finds the schedules in the store; then they begin to fire.
    cdef int recover(self) except -1
    # A message was stored: it may be a schedule.
    cdef int appended(self, uint64_t stream_seq, const Msg* msg, int64_t ts_ns) except -1
    cdef int warm(self) except -1            # a cold read has arrived
    cdef int stop(self) except -1
    cdef uint64_t memory_bytes(self) noexcept
    # --- private ---
    cdef int _arm(self) except -1
    cdef int _arm_in(self, int64_t delay_ns) except -1
    cdef int _push(self, uint64_t stream_seq, int64_t due_ns) except -1
    cdef int _scan(self) except -1
    cdef int _remember(self, const Record* record) except -1
    cdef int _collect(self) except -1
    cdef bint _fire(self, uint64_t stream_seq, int64_t due_ns) except *
    cdef Load _load_last(self, bytes subject, Record* out) except *
    cdef bint _is_replaced(self, uint64_t stream_seq, bytes subject, bint* cold) except *
