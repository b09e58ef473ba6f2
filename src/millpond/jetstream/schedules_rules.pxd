# What a publish may say of schedules (ADR-51): headers checked, and the block that is stored instead.
from libc.stdint cimport int64_t
from millpond.store.api cimport Store
from millpond.wire.message cimport Msg

cdef class ScheduleRules:
    cdef bint _allowed, _may_end             # allow_msg_schedules, allow_msg_ttl
    cdef list _subjects                      # of the stream
    # Outcome of the last check() that did not refuse.
    cdef bint is_schedule
    cdef bytes block                         # the header block to store; None: as it came
    cdef bytes ends                          # the schedule that this message ends; b"" = none
    # None, or the ApiError that is the answer. What `ends` names is still to be checked.
    cdef object check(self, const Msg* msg, int64_t now_ns)
    cdef object _check_schedule(self, const Msg* msg)
    cdef object _check_end(self, const Msg* msg, bytes subject)
    cdef bint _is_ours(self, bytes subject)
    # Is the last message of `ends` a schedule, or is there none? None, the ApiError, or WAIT.
    cdef object check_ended(self, Store store)

# Does the header block hold a key that begins with "Nats-Schedule"? A cheap test before check().
cdef bint speaks_of_schedules(const Msg* msg) noexcept
# The schedule that a message ends which is believed; b"" = none.
cdef bytes ended_by(const Msg* msg)
