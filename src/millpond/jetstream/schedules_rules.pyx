"""Judging publishes that are schedules, or end one, in nats-server's order of checks.

A schedule replaces what was on its subject: it is stored with `Nats-Rollup: sub`. Clients may send two of the
headers of fired messages, `Nats-Schedule-Next: purge` with `Nats-Scheduler`, to end the schedule on that subject.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t

from millpond.jetstream.headers cimport has_header, header
from millpond.store.api cimport COLD, FOUND, Load, Record, Store
from millpond.wire.headers cimport find
from millpond.wire.message cimport Msg

from millpond.jetstream.error_table import api_error
from millpond.jetstream.message_ttl import INVALID, parse_ttl
from millpond.jetstream.waiting import WAIT
from millpond.subjects import pytokens
from millpond.wire.headers import with_last

cdef int64_t TTL_INVALID = INVALID

cdef extern from "<string.h>" nogil:
    const void* memmem(const void* where, size_t where_size, const void* what, size_t what_size)


cdef bint speaks_of_schedules(const Msg* msg) noexcept:
    return memmem(msg.hdr, msg.hdr_len, <const char*>b"\nNats-Schedule", 14) != NULL


cdef bytes ended_by(const Msg* msg):
    if header(msg, b"Nats-Schedule-Next") != b"purge":
        return b""
    return header(msg, b"Nats-Scheduler")


cdef class ScheduleRules:
    """Those of one stream under one configuration."""

    def __init__(self, object config):
        self._allowed, self._may_end = config.allow_msg_schedules, config.allow_msg_ttl
        self._subjects = [subject.encode() for subject in config.subjects]

    cdef object check(self, const Msg* msg, int64_t now_ns):
        from millpond.jetstream.schedules_pattern import next_firing, zone_named       # for those who use schedules

        cdef bytes pattern = header(msg, b"Nats-Schedule"), subject
        self.is_schedule, self.block, self.ends = False, None, b""
        try:
            zone = zone_named(header(msg, b"Nats-Schedule-Time-Zone")) if has_header(
                msg, b"Nats-Schedule-Time-Zone") else None
        except ValueError:
            return api_error("JSMessageSchedulesTimeZoneInvalidErr" if self._allowed
                             else "JSMessageSchedulesDisabledErr")
        firing = next_firing(pattern, zone, now_ns, now_ns)
        if firing is None or firing.due_ns:
            if not self._allowed:
                return api_error("JSMessageSchedulesDisabledErr")
            refused = api_error("JSMessageSchedulesPatternInvalidErr") if firing is None else self._check_schedule(msg)
            if refused is not None:
                return refused
            self.is_schedule = True
        subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        return self._check_end(msg, subject)

    cdef object _check_schedule(self, const Msg* msg):
        cdef bytes ttl = header(msg, b"Nats-Schedule-TTL"), rollup = header(msg, b"Nats-Schedule-Rollup")
        cdef bytes target = header(msg, b"Nats-Schedule-Target"), source = header(msg, b"Nats-Schedule-Source")
        cdef bytes subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        if ttl and parse_ttl(ttl) == TTL_INVALID:
            return api_error("JSMessageSchedulesTTLInvalidErr")
        if rollup and rollup != b"sub":
            return api_error("JSMessageSchedulesRollupInvalidErr")
        if ttl and not self._may_end:
            return api_error("JSMessageTTLDisabledErr")
        if target == subject or not pytokens.is_valid_subject(target):
            return api_error("JSMessageSchedulesTargetInvalidErr")
        if source and (source == target or source == subject or not pytokens.is_valid_subject(source)):
            return api_error("JSMessageSchedulesSourceInvalidErr")
        if not self._is_ours(target):
            return api_error("JSMessageSchedulesTargetInvalidErr")
        if source and not self._is_ours(source):
            return api_error("JSMessageSchedulesSourceInvalidErr")
        rollup = header(msg, b"Nats-Rollup").lower()
        if not rollup:
            self.block = with_last(PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), b"Nats-Rollup", b"sub")
        elif rollup != b"sub":
            return api_error("JSMessageSchedulesRollupInvalidErr")
        return None

    cdef bint _is_ours(self, bytes subject):
        for filter in self._subjects:
            if pytokens.overlap(filter, subject):
                return True
        return False

    cdef object _check_end(self, const Msg* msg, bytes subject):
        cdef bytes next = header(msg, b"Nats-Schedule-Next"), scheduler = header(msg, b"Nats-Scheduler")
        if not next and not scheduler:
            return None
        if next != b"purge" or scheduler == subject or not pytokens.is_valid_subject(scheduler):
            return api_error("JSMessageSchedulesSchedulerInvalidErr")
        if not self._allowed:
            return api_error("JSMessageSchedulesDisabledErr")
        self.ends = scheduler
        return None

    cdef object check_ended(self, Store store):
        cdef Record record
        cdef const char* value = NULL
        cdef unsigned int size = 0
        cdef uint64_t last = store.last_for(<const char*>self.ends, <unsigned int>len(self.ends)) if self.ends else 0
        cdef Load found
        if not last:
            return None
        found = store.load(last, &record)
        if found == COLD:
            return WAIT
        if found == FOUND and not (
                record.hdr_len and find(record.hdr, record.hdr_len, b"Nats-Schedule", 13, &value, &size) and size):
            return api_error("JSMessageSchedulesSchedulerInvalidErr")
        return None
