"""Batches are judged as a whole before any of their messages is stored.

Each message is checked against the stream and against the messages before it, in nats-server's order for
batches, which is not that of single publishes. Nothing here changes the stream: a batch that is refused, or
that must wait for a cold read, has done nothing.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.jetstream.counters cimport Total, check_increment, counted, increment_of, total_of
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.headers cimport header
from millpond.jetstream.host cimport Host
from millpond.jetstream.ingest cimport Ingest, last_of, sequence
from millpond.jetstream.schedules_rules cimport ScheduleRules, speaks_of_schedules
from millpond.store.api cimport Store
from millpond.wire.headers cimport has_nats_key
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_text import quote, text
from millpond.jetstream.message_ttl import INVALID, parse_ttl

cdef uint32_t HEADER_BYTES_MAX = limits.HEADER_BLOCK_BYTES_MAX - 1
cdef uint64_t RECORD_BYTES_MAX = limits.RECORD_BYTES_MAX
cdef int64_t TTL_INVALID = INVALID


cdef object misfit(Host host, const Msg* msg, Ingest rules):
    if rules.sealed:
        return api_error("JSStreamSealedErr")
    refused = host.no_room(msg, 0)
    if refused is not None:
        return refused
    if 0 <= rules.msg_size_max < <int64_t>msg.hdr_len + msg.body_len:
        return api_error("JSStreamMessageExceedsMaximumErr")
    return None


cdef class Staged:
    """Filled in by `Staging`."""


cdef class Staging:
    """One batch on its way: make one, then check its messages in order."""

    def __init__(self, Ingest rules, Store store, Dedupe dedupe):
        self._rules, self._store, self._dedupe = rules, store, dedupe
        self._subjects, self._expected, self._msg_ids = {}, {}, set()

    cdef object check(self, const Msg* msg, int64_t now_ns):
        cdef bytes subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        cdef object increment = None
        cdef bint schedule = False
        cdef Staged staged
        self.msg, self.duplicate_of = msg[0], 0
        if self._store.message_size(msg.subject_len, msg.hdr_len, msg.body_len) > RECORD_BYTES_MAX:
            return api_error("JSStreamStoreFailedF", err="message too large")
        if msg.hdr_len > HEADER_BYTES_MAX:
            return api_error("JSStreamHeaderExceedsMaximumErr")
        named = msg.hdr_len and has_nats_key(msg.hdr, msg.hdr_len)
        if named:
            increment = increment_of(msg)
            refused = check_increment(msg, increment, self._rules.counts) or self._check_headers(msg, now_ns)
            if refused is not None:
                return refused
        if self._rules.counts:
            refused = self._count(msg, subject, increment)
            if refused is not None:
                return refused
        if named:
            refused = self._check_expectations(msg)
            if refused is None and speaks_of_schedules(msg):
                refused = self._check_schedule(msg, now_ns)
                schedule = self._rules.schedules.is_schedule
            if refused is None:
                refused = self._check_rollup(&self.msg, subject)
            if refused is not None:
                return refused
        staged = self._subjects.setdefault(subject, Staged())
        staged.messages += 1
        staged.schedule = schedule
        self._messages += 1
        self.bytes += self._store.message_size(msg.subject_len, self.msg.hdr_len, self.msg.body_len)
        return self._check_room(msg, staged) if self._rules.discard_new else None

    cdef object _check_headers(self, const Msg* msg, int64_t now_ns):
        cdef bytes expected = header(msg, b"Nats-Expected-Stream"), ttl = header(msg, b"Nats-TTL"), msg_id
        cdef int64_t ttl_s = parse_ttl(ttl) if ttl else 0
        if expected and expected != self._rules.name:
            return api_error("JSStreamNotMatchErr")
        if ttl_s != 0 and not self._rules.may_end:
            return api_error("JSMessageTTLDisabledErr")
        if ttl_s == TTL_INVALID:
            return api_error("JSMessageTTLInvalidErr")
        msg_id = header(msg, b"Nats-Msg-Id")
        if msg_id:
            self.duplicate_of = self._dedupe.find(msg_id, now_ns)
            if self.duplicate_of or msg_id in self._msg_ids:
                return api_error("JSAtomicPublishContainsDuplicateMessageErr")
            self._msg_ids.add(msg_id)
        if header(msg, b"Nats-Stream-Source"):
            return api_error("JSMessageSourceHdrNotAllowedErr")
        return None

    cdef object _count(self, const Msg* msg, bytes subject, object increment):
        cdef Staged staged
        if increment is None:
            return api_error("JSMessageIncrMissingErr")
        staged = self._subjects.get(subject)
        before = staged.total if staged is not None else total_of(self._store, msg.subject, msg.subject_len)
        if not isinstance(before, Total):
            return before
        after = counted(msg, before, increment)
        if not isinstance(after, tuple):
            return after
        total, self._hdr, self._body = after
        self.msg.hdr, self.msg.hdr_len = <const char*>self._hdr, <uint32_t>len(self._hdr)
        self.msg.body, self.msg.body_len = <const char*>self._body, <uint32_t>len(self._body)
        if 0 <= self._rules.msg_size_max < <int64_t>self.msg.hdr_len + self.msg.body_len:
            return api_error("JSStreamMessageExceedsMaximumErr")
        if staged is None:
            staged = self._subjects[subject] = Staged()
        staged.total = total
        return None

    cdef object _check_expectations(self, const Msg* msg):
        cdef bytes wanted = header(msg, b"Nats-Expected-Last-Sequence")
        cdef bytes other = header(msg, b"Nats-Expected-Last-Subject-Sequence-Subject"), subject
        cdef uint64_t last = self._store.state.last_seq + self._messages
        cdef Staged staged
        if wanted and sequence(wanted) != last:
            return api_error("JSStreamWrongLastSequenceErrF", seq=last)
        if wanted and self._messages:
            return api_error("JSStreamWrongLastSequenceConstantErr")
        wanted = header(msg, b"Nats-Expected-Last-Subject-Sequence")
        if not wanted:
            return api_error("JSStreamExpectedLastSeqPerSubjectInvalid") if other else None
        subject = other or PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        staged = self._subjects.get(subject)
        if staged is not None and staged.messages:
            return api_error("JSStreamWrongLastSequenceConstantErr")
        last = self._expected[subject] if subject in self._expected else last_of(self._store, subject)
        if last != sequence(wanted):
            return api_error("JSStreamWrongLastSequenceErrF", seq=last)
        self._expected[subject] = last
        return None

    cdef object _check_schedule(self, const Msg* msg, int64_t now_ns):
        cdef ScheduleRules rules = self._rules.schedules
        cdef Staged staged
        refused = rules.check(msg, now_ns)
        if refused is not None:
            return refused
        if rules.block is not None:
            self._hdr = rules.block
            self.msg.hdr, self.msg.hdr_len = <const char*>self._hdr, <uint32_t>len(self._hdr)
        staged = self._subjects.get(rules.ends)
        if staged is not None and staged.messages:
            return None if staged.schedule else api_error("JSMessageSchedulesSchedulerInvalidErr")
        return rules.check_ended(self._store)

    cdef object _check_rollup(self, const Msg* msg, bytes subject):
        cdef bytes rollup = header(msg, b"Nats-Rollup").lower()
        cdef Staged staged = self._subjects.get(subject)
        if not rollup:
            return None
        if not self._rules.may_roll_up:
            return api_error("JSStreamRollupFailedF", err="rollup not permitted")
        if rollup == b"sub":
            refused = "batch rollup sub invalid" if staged is not None and staged.messages else ""
        elif rollup == b"all":
            refused = "batch rollup all invalid" if self._messages else ""
        else:
            refused = f"rollup value invalid: {quote(text(rollup))}"
        return api_error("JSStreamRollupFailedF", err=refused) if refused else None

    cdef object _check_room(self, const Msg* msg, Staged staged):
        cdef Ingest rules = self._rules
        cdef Store store = self._store
        if 0 < rules.messages_max < <int64_t>(store.state.messages + self._messages):
            return api_error("JSStreamStoreFailedF", err="maximum messages exceeded")
        if 0 < rules.bytes_max < <int64_t>(store.state.bytes + self.bytes):
            return api_error("JSStreamStoreFailedF", err="maximum bytes exceeded")
        if rules.new_per_subject and rules.per_subject_max > 0 and not header(&self.msg, b"Nats-Rollup"):
            if <int64_t>(store.count_for(msg.subject, msg.subject_len) + staged.messages) > rules.per_subject_max:
                return api_error("JSStreamStoreFailedF", err="maximum messages per subject exceeded")
        return None
