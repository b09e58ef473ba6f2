"""Judging publishes: the checks of nats-server in nats-server's order (the first that fails is the answer).

Nothing here changes the stream. Headers are looked at only when the block can hold a key that begins with
"Nats-".
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.jetstream.counters cimport Total, check_increment, counted, increment_of, sourced, total_of
from millpond.jetstream.dedupe cimport Dedupe
from millpond.jetstream.headers cimport header
from millpond.jetstream.schedules_rules cimport ScheduleRules, ended_by, speaks_of_schedules
from millpond.store.api cimport Filters, Store
from millpond.subjects.tokens cimport has_wildcard
from millpond.wire.headers cimport has_nats_key, parse_decimal
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.jetstream.counters import INVALID as NO_NUMBER
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_text import quote, text
from millpond.jetstream.message_ttl import INVALID, parse_ttl
from millpond.wire.headers import with_last, without

cdef uint32_t HEADER_BYTES_MAX = limits.HEADER_BLOCK_BYTES_MAX - 1
cdef int64_t TTL_INVALID = INVALID
cdef uint32_t RECORD_BYTES_MAX = limits.RECORD_BYTES_MAX

cdef uint64_t sequence(bytes text) noexcept:
    # What is no number becomes the highest sequence, which no stream reaches: a mismatch, as in nats-server.
    return <uint64_t>parse_decimal(<const char*>text, <uint32_t>len(text))


cdef uint64_t last_of(Store store, bytes subject):
    """The last sequence under a subject, which may have wildcards; 0 = none."""
    if has_wildcard(<const char*>subject, <uint32_t>len(subject)):
        return store.last_match(Filters([subject]), 0)
    return store.last_for(<const char*>subject, <uint32_t>len(subject))


cdef class Ingest:
    """The judge of one stream under one configuration."""

    def __init__(self, object config):
        self.config = config
        self.name = config.name.encode()
        self.sealed, self.no_ack = config.sealed, config.no_ack
        self.discard_new = config.discard == "new"
        self.new_per_subject = config.discard_new_per_subject
        self.may_roll_up = config.allow_rollup_hdrs and not config.deny_purge
        self.msg_size_max = config.max_msg_size
        self.messages_max, self.bytes_max = config.max_msgs, config.max_bytes
        self.per_subject_max = config.max_msgs_per_subject
        self.may_end = config.allow_msg_ttl
        self.counts = config.allow_msg_counter
        self.schedules = ScheduleRules(config)
        self.ttl_min_s = 0 if self.per_subject_max == 1 else config.subject_delete_marker_ttl // 1_000_000_000

    cdef int _begin(self, const Msg* msg) except -1:
        self.duplicate_of, self.msg_id, self.rollup = 0, b"", ROLLUP_NONE
        self.ttl_s = 0
        self.increment, self.total, self.ends = None, None, b""
        self.msg = msg[0]
        return 0

    cdef int take_as_it_is(self, const Msg* msg) except -1:
        cdef bytes rollup, ttl
        self._begin(msg)
        if not msg.hdr_len or not has_nats_key(msg.hdr, msg.hdr_len):
            return 0
        self.msg_id = header(msg, b"Nats-Msg-Id")
        rollup = header(msg, b"Nats-Rollup").lower()
        if rollup and self.may_roll_up:
            self.rollup = ROLLUP_ALL if rollup == b"all" else ROLLUP_SUBJECT
        if self.may_roll_up and speaks_of_schedules(msg):
            self.ends = ended_by(msg)
        ttl = header(msg, b"Nats-TTL")
        self.ttl_s = parse_ttl(ttl) if ttl else 0
        return self._raise_ttl()

    cdef int _raise_ttl(self) except -1:
        """What is stored says so, and counts with the length that it has then."""
        cdef bytes others
        if 0 < self.ttl_s < self.ttl_min_s:
            self.ttl_s = self.ttl_min_s
            others = without(PyBytes_FromStringAndSize(self.msg.hdr, self.msg.hdr_len), b"Nats-TTL")
            self._hdr = with_last(others, b"Nats-TTL", str(self.ttl_s).encode())
            self.msg.hdr, self.msg.hdr_len = <const char*>self._hdr, <uint32_t>len(self._hdr)
        return 0

    cdef object judge(self, const Msg* msg, Store store, Dedupe dedupe, int64_t now_ns):
        self._begin(msg)
        if <int64_t>msg.hdr_len + msg.body_len + msg.subject_len > RECORD_BYTES_MAX:
            return api_error("JSStreamStoreFailedF", err="message too large")
        if self.sealed:
            return api_error("JSStreamSealedErr")
        refused = self.check_size(msg)
        if refused is not None:
            return refused
        if msg.hdr_len and has_nats_key(msg.hdr, msg.hdr_len):
            refused = self._judge_headers(msg, store, dedupe, now_ns)
            if refused is not None or self.duplicate_of:
                return refused
        if self.counts:
            refused = self._count(msg, store)
            if refused is not None:
                return refused
        return self.check_size(&self.msg) if self.msg.hdr != msg.hdr else None

    cdef object judge_sourced(self, const Msg* msg, Store store, Dedupe dedupe, int64_t now_ns, bint mirrored):
        self._begin(msg)
        if <int64_t>msg.hdr_len + msg.body_len + msg.subject_len > RECORD_BYTES_MAX:
            return api_error("JSStreamStoreFailedF", err="message too large")
        if self.sealed:
            return api_error("JSStreamSealedErr")
        if msg.hdr_len and has_nats_key(msg.hdr, msg.hdr_len):
            refused = self._sourced_headers(msg, dedupe, now_ns, mirrored)
            if refused is not None or self.duplicate_of:
                return refused
        if self.counts:
            refused = self._count(msg, store)
            if refused is not None:
                return refused
        return self.check_size(&self.msg)

    cdef object _sourced_headers(self, const Msg* msg, Dedupe dedupe, int64_t now_ns, bint mirrored):
        cdef bytes ttl
        self.increment = increment_of(msg)
        if self.increment is NO_NUMBER:
            return api_error("JSMessageIncrInvalidErr")
        self.msg_id = header(msg, b"Nats-Msg-Id")
        if self.msg_id and not mirrored:
            self.duplicate_of = dedupe.find(self.msg_id, now_ns)
            if self.duplicate_of:
                return None
        ttl = header(msg, b"Nats-TTL")
        if ttl:
            self.ttl_s = parse_ttl(ttl)
            if self.ttl_s > 0 and not self.may_end:
                self.ttl_s = 0                     # what never ends stays even beyond max_age
        return self._roll_up(msg, True)

    cdef object admit(self, Store store):
        if self.ttl_s == TTL_INVALID:
            return api_error("JSMessageTTLInvalidErr")
        self._raise_ttl()
        return self._room(&self.msg, store) if self.discard_new else None

    cdef object check_size(self, const Msg* msg):
        if 0 <= self.msg_size_max < <int64_t>msg.hdr_len + msg.body_len:
            return api_error("JSStreamMessageExceedsMaximumErr")
        if msg.hdr_len > HEADER_BYTES_MAX:
            return api_error("JSStreamHeaderExceedsMaximumErr")
        return None

    cdef object _count(self, const Msg* msg, Store store):
        """What is stored of an increment is the subject's new total."""
        if self.increment is None:
            return api_error("JSMessageIncrMissingErr")
        before = total_of(store, msg.subject, msg.subject_len)
        if not isinstance(before, Total):
            return before
        origin = header(msg, b"Nats-Stream-Source")
        if origin:
            grown = sourced(msg, before, origin)
            if not isinstance(grown, tuple):
                return grown
            after = counted(msg, before, grown[0], grown[1])
        else:
            after = counted(msg, before, self.increment)
        if not isinstance(after, tuple):
            return after
        self.total, self._hdr, self._body = after
        self.msg.hdr, self.msg.hdr_len = <const char*>self._hdr, <uint32_t>len(self._hdr)
        self.msg.body, self.msg.body_len = <const char*>self._body, <uint32_t>len(self._body)
        return None

    cdef object _judge_headers(self, const Msg* msg, Store store, Dedupe dedupe, int64_t now_ns):
        refused = self._features(msg)
        if refused is None:
            refused = self._expectations(msg, store)
        if refused is not None:
            return refused
        if speaks_of_schedules(msg):
            refused = self._judge_schedule(msg, store, now_ns)
            if refused is not None:
                return refused
            msg = &self.msg
        if header(msg, b"Nats-Stream-Source"):
            return api_error("JSMessageSourceHdrNotAllowedErr")
        self.msg_id = header(msg, b"Nats-Msg-Id")
        if self.msg_id:
            self.duplicate_of = dedupe.find(self.msg_id, now_ns)
            if self.duplicate_of:
                return None
        refused = self.check_last_msg_id(msg, dedupe)
        return self._roll_up(msg, False) if refused is None else refused

    cdef object check_last_msg_id(self, const Msg* msg, Dedupe dedupe):
        cdef bytes expected = header(msg, b"Nats-Expected-Last-Msg-Id")
        if expected and expected != dedupe.last_msg_id:
            return api_error("JSStreamWrongLastMsgIDErrF", id=dedupe.last_msg_id.decode("utf-8", "replace"))
        return None

    cdef object _roll_up(self, const Msg* msg, bint sourced):
        """A rollup of another stream is stored where it is not permitted, and does nothing there."""
        cdef bytes rollup = header(msg, b"Nats-Rollup").lower()
        if not rollup:
            return None
        if not self.may_roll_up and not sourced:
            return api_error("JSStreamRollupFailedF", err="rollup not permitted")
        if rollup != b"sub" and rollup != b"all":
            return api_error("JSStreamRollupFailedF", err=f"rollup value invalid: {quote(text(rollup))}")
        if self.may_roll_up:
            self.rollup = ROLLUP_SUBJECT if rollup == b"sub" else ROLLUP_ALL
        return None

    cdef object _judge_schedule(self, const Msg* msg, Store store, int64_t now_ns):
        refused = self.schedules.check(msg, now_ns)
        if refused is None:
            refused = self.schedules.check_ended(store)
        if refused is not None:
            return refused
        self.ends = self.schedules.ends
        if self.schedules.block is not None:
            self._hdr = self.schedules.block
            self.msg.hdr, self.msg.hdr_len = <const char*>self._hdr, <uint32_t>len(self._hdr)
        return None

    cdef object _features(self, const Msg* msg):
        """Increments, and headers of features that this stream does not have."""
        self.increment = increment_of(msg)
        refused = check_increment(msg, self.increment, self.counts)
        if refused is not None:
            return refused
        expected = header(msg, b"Nats-Expected-Stream")
        if expected and expected != self.name:
            return api_error("JSStreamNotMatchErr")
        ttl = header(msg, b"Nats-TTL")
        if ttl:
            self.ttl_s = parse_ttl(ttl)
            if self.ttl_s != 0 and self.ttl_s != TTL_INVALID and not self.may_end:
                return api_error("JSMessageTTLDisabledErr")
        return None

    cdef object _expectations(self, const Msg* msg, Store store):
        """The optimistic locks: last sequence of a subject, last sequence of the stream."""
        cdef bytes wanted = header(msg, b"Nats-Expected-Last-Subject-Sequence")
        cdef bytes subject = header(msg, b"Nats-Expected-Last-Subject-Sequence-Subject")
        cdef uint64_t last
        if wanted:
            last = last_of(store, subject) if subject else store.last_for(msg.subject, msg.subject_len)
            if last != sequence(wanted):
                return api_error("JSStreamWrongLastSequenceErrF", seq=last)
        elif subject:
            return api_error("JSStreamExpectedLastSeqPerSubjectInvalid")
        wanted = header(msg, b"Nats-Expected-Last-Sequence")
        if wanted and sequence(wanted) != store.state.last_seq:
            return api_error("JSStreamWrongLastSequenceErrF", seq=store.state.last_seq)
        return None

    cdef object _room(self, const Msg* msg, Store store):
        """Discard new: a subject at its own limit replaces its oldest, which must give enough room."""
        cdef uint64_t size = store.message_size(msg.subject_len, msg.hdr_len, msg.body_len)
        cdef bint replaces = (self.per_subject_max > 0 and
                              <int64_t>store.count_for(msg.subject, msg.subject_len) >= self.per_subject_max)
        if replaces and self.new_per_subject and self.rollup == ROLLUP_NONE:
            return api_error("JSStreamStoreFailedF", err="maximum messages per subject exceeded")
        if self.messages_max > 0 and <int64_t>store.state.messages >= self.messages_max and not replaces:
            return api_error("JSStreamStoreFailedF", err="maximum messages exceeded")
        if self.bytes_max > 0 and <int64_t>(store.state.bytes + size) > self.bytes_max and (
                not replaces or store.oldest_size(msg.subject, msg.subject_len) < size):
            return api_error("JSStreamStoreFailedF", err="maximum bytes exceeded")
        return None
